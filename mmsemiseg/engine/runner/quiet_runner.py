"""mmengine's Runner with a quiet console."""

from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from ...utils.quiet import quiet_console


@RUNNERS.register_module()
class QuietRunner(Runner):
    """Runner of plain configs in the tools, and base of :class:`SemiRunner`."""

    def build_logger(self, *args, **settings):
        """Build mmengine's logger; the long texts go to its file alone."""
        logger = super().build_logger(*args, **settings)
        quiet_console(logger)
        logger.info(f'environment, config and hooks are in the log in {self.log_dir}')
        return logger
