"""What enters a memory bank, and when."""

import torch
from mmseg.registry import HOOKS

from ...utils.gather import gather_rows
from ...utils.model import unwrap
from .pending import pending
from .step_hook import StepHook


@HOOKS.register_module()
class MemoryHook(StepHook):
    """``model.update_memory(**rows)`` after each optimizer step.

    ``rows`` are the tensors that the losses of this step left in
    ``model.pending['memory']``: (n, ...) each, n of any size. Those of all batches of
    the step and of all processes are put one after the other, so every process
    enters the same rows in the same order and the banks stay equal.
    """

    priority = 'NORMAL'

    def before_train(self, runner) -> None:
        super().before_train(runner)
        model = unwrap(runner.model)
        if not hasattr(model, 'update_memory'):
            raise ValueError(
                f'MemoryHook fills a memory, but {type(model).__name__} has no '
                'update_memory()'
            )

    def after_step(self, runner) -> None:
        parts = [left['memory'] for left in pending(runner) if 'memory' in left]
        names = parts[0] if parts else ()
        rows = {name: torch.cat([part[name] for part in parts]) for name in names}
        rows = {name: gather_rows(value) for name, value in rows.items()}
        if rows:
            unwrap(runner.model).update_memory(**rows)
