"""Fill memory banks after each optimizer step."""

import torch
from mmengine.dist import all_gather, get_world_size
from mmseg.registry import HOOKS

from ...utils.gather import gather_rows
from ...utils.model import unwrap
from ...utils.profiling import stage
from ...utils.settings import check_integers
from .classes import describe_unready
from .step_hook import StepHook
from .step_outputs import step_outputs


@HOOKS.register_module()
class MemoryHook(StepHook):
    """Fill the memory banks of a method after each optimizer step.

    :class:`~mmsemiseg.engine.runner.SemiRunner` adds this hook where the model has a
    memory; name it in ``custom_hooks`` to change its setting.

    A step collects what is to enter, one row for each entry, in
    ``model.step_outputs['memory']``: tensors (n, ...) by name, with any n. The hook
    concatenates the rows of all batches of the step and of all processes and calls
    ``model.update_memory(**rows)``, so every process enters the same rows in the same
    order and the memories stay equal. A process without rows must have tensors of 0
    rows under the same names.

    Every ``interval`` iterations it writes ``train/bank_fill``, the share of the places
    of a memory bank that hold a row, and where each class has places of its own
    ``train/bank_least``, that of the class with the fewest (``train/bank_fill0``, ...
    for several banks). The model tells it by ``bank_fill()``.

    Once, after iteration ``warn_after`` or at the half of a shorter run, it warns of
    the classes of which a memory still has too few rows to learn from, which the model
    tells by ``unready_classes()``.

    Args:
        warn_after: Iteration after which to warn of classes with too few rows, at least
            1; None: never.
        interval: Number of iterations between two values of the fill.
    """

    priority = 'NORMAL'
    why_once = 'every row would enter the memory bank twice'

    def __init__(self, warn_after: int | None = 10000, interval: int = 50) -> None:
        check_integers(1, interval=interval)
        if warn_after is not None:
            check_integers(1, warn_after=warn_after)
        self.warn_after = warn_after
        self.interval = interval
        self._asked = False

    def before_train(self, runner) -> None:
        super().before_train(runner)
        model = unwrap(runner.model)
        if not hasattr(model, 'update_memory'):
            raise ValueError(
                f'MemoryHook fills a memory, but {type(model).__name__} has none '
                '(no update_memory())'
            )
        if not getattr(model, 'has_memory', True):
            runner.logger.warning(
                f'MemoryHook has nothing to do: {type(model).__name__} has no memory'
            )

    @stage('memory update')
    def after_step(self, runner) -> None:
        parts = [left['memory'] for left in step_outputs(runner) if 'memory' in left]
        names = parts[0] if parts else ()
        _check_equal(len(names))
        rows = {name: torch.cat([part[name] for part in parts]) for name in names}
        rows = {name: gather_rows(value) for name, value in rows.items()}
        if rows:
            unwrap(runner.model).update_memory(**rows)

    def after_train_iter(
        self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None
    ) -> None:
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        if self.every_n_train_iters(runner, self.interval):
            self._write_fill(runner)
        if self.warn_after is None or self._asked:
            return
        if runner.iter + 1 >= min(self.warn_after, runner.max_iters // 2):
            self._asked = True
            self._warn(runner)

    def _write_fill(self, runner) -> None:
        model = unwrap(runner.model)
        banks = model.bank_fill() if hasattr(model, 'bank_fill') else []
        if not banks:
            return
        shares = torch.stack([torch.stack([b.mean(), b.min()]) for b in banks]).tolist()
        for i, (bank, (mean, least)) in enumerate(zip(banks, shares, strict=True)):
            number = i if len(banks) > 1 else ''
            runner.message_hub.update_scalar(f'train/bank_fill{number}', mean)
            if len(bank) > 1:
                runner.message_hub.update_scalar(f'train/bank_least{number}', least)

    def _warn(self, runner) -> None:
        missing = describe_unready(runner)
        if missing:
            runner.logger.warning(
                f'after {runner.iter + 1} iterations {missing}; losses that wait for '
                'them are 0. See docs/monitoring.md'
            )


def _check_equal(count: int) -> None:
    """Processes that gather unequal numbers of tensors would wait without end."""
    if get_world_size() == 1:
        return
    counts = torch.cat(all_gather(torch.tensor([count]))).tolist()
    if len(set(counts)) > 1:
        raise RuntimeError(
            "step_outputs['memory'] must have the same names on all processes, with "
            'tensors of 0 rows where there is nothing to enter, but has this many on '
            f'them: {counts}'
        )
