"""Base of hooks that update state after a real optimizer step, and only then."""

from abc import abstractmethod

from mmengine.hooks import Hook
from torch.optim import Optimizer


class StepHook(Hook):
    """Base of hooks that act after each iteration in which the optimizer stepped.

    With fp16 an overflow makes the optimizer skip its step, and then teachers and banks
    must not be updated either. So this hook asks the optimizer whether it stepped.
    Subclasses implement :meth:`after_step`.
    """

    def before_train(self, runner) -> None:
        self._stepped = False
        self._handles = [
            optimizer.register_step_post_hook(self._note_step)
            for optimizer in _optimizers(runner.optim_wrapper)
        ]

    def after_train_iter(
        self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None
    ) -> None:
        stepped, self._stepped = self._stepped, False
        if stepped:
            self.after_step(runner)

    def after_train(self, runner) -> None:
        for handle in self._handles:
            handle.remove()

    def _note_step(self, optimizer: Optimizer, args, kwargs) -> None:
        # A fused optimizer is always called, and skips inside when told of an overflow
        overflow = getattr(optimizer, 'found_inf', None)
        self._stepped |= overflow is None or not overflow.item()

    @abstractmethod
    def after_step(self, runner) -> None:
        """Called after each iteration whose optimizer step was taken."""


def _optimizers(optim_wrapper) -> list[Optimizer]:
    wrappers = getattr(optim_wrapper, 'optim_wrappers', {'': optim_wrapper})
    return [wrapper.optimizer for wrapper in wrappers.values()]
