"""When state may move: after a real optimizer step, and only then."""

from abc import abstractmethod

from mmengine.hooks import Hook


class StepHook(Hook):
    """A hook that runs once per optimizer step.

    mmengine calls ``after_train_iter`` for every micro-batch of an accumulation, and
    also when fp16 training has skipped a step because of an overflow. Subclasses
    implement :meth:`after_step`, which sees neither.
    """

    def before_train(self, runner) -> None:
        self._scale = None

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        scaler = _loss_scaler(runner)
        self._scale = scaler.get_scale() if scaler is not None else None

    def after_train_iter(
        self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None
    ) -> None:
        if runner.optim_wrapper.should_update() and not self._was_skipped(runner):
            self.after_step(runner)

    def _was_skipped(self, runner) -> bool:
        """A loss scaler lowers its scale exactly when it skips a step."""
        scaler = _loss_scaler(runner)
        return scaler is not None and scaler.get_scale() < self._scale

    @abstractmethod
    def after_step(self, runner) -> None:
        """Called after each optimizer step that was taken."""


def _loss_scaler(runner):
    scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
    return scaler if scaler is not None and scaler.is_enabled() else None
