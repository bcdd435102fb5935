"""Checks of what a checkpoint holds, before it is saved."""

from mmengine.hooks import Hook

from ..checkpoints import describe_broken, describe_way_on, plain_values


class SavedContentHook(Hook):
    """Let a checkpoint hold only finite numbers, in tensors and plain containers.

    A gradient that is not a number breaks the weights, while the loss of the same step
    was still finite. So all networks, banks, statistics and optimizer moments are
    checked at each save, and if one is broken the run ends before a file is written.
    :class:`~mmsemiseg.engine.runner.SemiRunner` adds this hook.
    """

    priority = 'LOWEST'

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        broken = describe_broken(checkpoint)
        if broken:
            raise FloatingPointError(
                f'after iteration {checkpoint["meta"]["iter"]} {broken}, so nothing '
                'was saved: a gradient of this or an earlier iteration was not a '
                f'finite number. {describe_way_on(runner.work_dir)}'
            )
        content = plain_values(checkpoint)
        checkpoint.clear()
        checkpoint.update(content)
