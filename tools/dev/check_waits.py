"""Where a step waits for the GPU: in its losses, their gradients, the state updates."""

import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from check_rows import INFO, Rows
from check_setup import LITE, chosen_methods, iterate, method_config, run_method
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

import mmsemiseg
from mmsemiseg.engine.hooks import MeanTeacherHook, MemoryHook
from mmsemiseg.engine.optim_wrapper import Bf16OptimWrapper
from mmsemiseg.utils.model import unwrap

OURS = str(Path(mmsemiseg.__file__).parent)
STOCK = ('mmseg', 'mmcv', 'mmengine', 'mmdet')
MESSAGE = 'called a synchronizing'  # of PyTorch's warning
WARM_UP = 3
WRAPPERS = dict(fp32=OptimWrapper, bf16=Bf16OptimWrapper)


class Waits:
    """Places that waited, by the part of the step.

    Attributes:
        ours: Places in this package, or called from it, by part of the step.
        stock: Places in the packages below this one, by part of the step.
    """

    def __init__(self) -> None:
        self.ours: dict[str, list[str]] = {}
        self.stock: dict[str, list[str]] = {}

    @contextmanager
    def watched(self, part: str) -> Iterator[None]:
        """What waits inside is noted, and goes on."""
        with warnings.catch_warnings():
            warnings.simplefilter('always')
            warnings.showwarning = lambda *args, **_: self._note(part, args[0])
            mode = torch.cuda.get_sync_debug_mode() if _has_cuda() else None
            try:
                if mode is not None:
                    torch.cuda.set_sync_debug_mode('warn')
                yield
            finally:
                if mode is not None:
                    torch.cuda.set_sync_debug_mode(mode)

    def _note(self, part: str, message) -> None:
        if MESSAGE not in str(message):
            return
        place, ours = _place(traceback.extract_stack())
        found = (self.ours if ours else self.stock).setdefault(part, [])
        found.append(place)

    def text(self) -> str:
        counts = [f'{_count(self.ours)} of ours, {_count(self.stock)} of mmseg']
        shown = dict(self.ours)
        if 'backward' in self.stock:  # whose they are is not known there
            shown['backward'] = self.stock['backward'] + shown.get('backward', [])
        for part, places in shown.items():
            counts.append(f'{part}: {", ".join(dict.fromkeys(places))}')
        return '; '.join(counts)


def _count(places: dict[str, list]) -> int:
    return sum(map(len, places.values()))


def _has_cuda() -> bool:
    return torch.cuda.is_available()


def _place(stack: traceback.StackSummary) -> tuple[str, bool]:
    """The innermost place in this package or below, and whether it is ours."""
    for frame in reversed(stack):
        path = Path(frame.filename)
        if frame.filename.startswith(OURS):
            return f'{path.name}:{frame.lineno}', True
        if any(f'/{name}/' in path.as_posix() for name in STOCK):
            return f'{path.name}:{frame.lineno}', False
    return 'elsewhere', True


def run(rows: Rows, args) -> None:
    with rows.guarded('what waits is seen'):
        check_watch(rows, args.device)
    for method in chosen_methods(args, LITE):
        with rows.guarded(f'{method}: build'):
            if rows.has_time(method, 10):
                check_method(rows, method)


def check_watch(rows: Rows, device: str) -> None:
    """The watch itself: an item() is seen, a sum is not."""
    waits = Waits()
    values = torch.ones(8, device=device)
    with waits.watched('sum'):
        total = values.sum()
    with waits.watched('item'):
        total.item()
    found = sorted(waits.ours)
    expected = ['item'] if device == 'cuda' else []
    rows.passed('what waits is seen', found == expected, f'in {found}')


def check_method(rows: Rows, method: str) -> None:
    """After some steps one that is watched, in fp32 and under bf16 autocast."""
    left = dict(WRAPPERS)
    state = dict(step=0)

    def step(runner: Runner, batches: list) -> bool:
        state['step'] += 1
        if state['step'] <= WARM_UP:
            iterate(runner, batches)
            return False
        name = next(iter(left))
        runner.optim_wrapper = left.pop(name)(optimizer=runner.optim_wrapper.optimizer)
        check = f'{method}, {name}'
        with rows.guarded(check):
            iterate(runner, batches)  # kernels of this precision
            waits = Waits()
            watched_step(runner, batches[0], waits)
            rows.passed(
                check,
                not waits.ours,
                waits.text(),
                ours=waits.ours,
                stock=waits.stock,
            )
        with rows.guarded(f'{check}, whole iteration'):
            waits = Waits()
            with waits.watched('iteration'):
                iterate(runner, batches)
            rows.add(
                f'{check}, whole iteration',
                INFO,
                waits.text(),
                ours=waits.ours,
                stock=waits.stock,
            )
        return not left

    with method_config(method, small=True) as cfg:
        run_method(cfg, step)


def watched_step(runner: Runner, batch: dict, waits: Waits) -> None:
    """One step in its parts; moving the batch and the optimizer may wait."""
    model, loop, wrapper = unwrap(runner.model), runner.train_loop, runner.optim_wrapper
    data = model.data_preprocessor(batch, True)
    with wrapper.optim_context(runner.model), waits.watched('loss'):
        losses = runner.model(**data, mode='loss')
        total, _ = model.parse_losses(losses)
    with waits.watched('backward'):
        wrapper.backward(total)
    wrapper.step()
    wrapper.zero_grad()
    loop.step_outputs = [model.step_outputs]
    for hook in runner.hooks:
        if isinstance(hook, (MeanTeacherHook, MemoryHook)):
            with waits.watched(type(hook).__name__):
                hook.after_train_iter(runner, runner.iter, batch, {})
