"""mmengine's Runner for runs with named streams."""

from mmengine.registry import RUNNERS
from mmengine.runner import Runner


@RUNNERS.register_module()
class SemiRunner(Runner):
    """Runner whose batch size is the sum over its training streams.

    ``auto_scale_lr`` scales by the images of one iteration, all streams and processes
    together; mmengine's own Runner knows one train dataloader only.
    """

    def scale_lr(self, optim_wrapper, auto_scale_lr: dict | None = None) -> None:
        streams = getattr(self.train_loop, 'streams', None)
        if streams is None:
            return super().scale_lr(optim_wrapper, auto_scale_lr)
        summed = sum(loader.batch_size for loader in streams.values())
        loaders, self._train_dataloader = (
            self._train_dataloader,
            dict(batch_size=summed),
        )
        try:
            super().scale_lr(optim_wrapper, auto_scale_lr)
        finally:
            self._train_dataloader = loaders
