"""A step that the loss scale skips moves nothing."""

from contextlib import contextmanager

import torch
from check_rows import INFO, Rows
from check_setup import chosen_methods, iterate, method_config, run_method
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.runner import Runner
from torch import nn

from mmsemiseg.utils.model import unwrap

MOST_STEPS = 20  # until a loss scale of 65536 has come down
STATISTICS = ('running_mean', 'running_var', 'num_batches_tracked')


class ScaledOnCPU(OptimWrapper):
    """fp32 with a loss scale, where mmengine's own wrapper asks for a GPU."""

    def __init__(self, **settings) -> None:
        super().__init__(**settings)
        self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=2.0)

    def backward(self, loss: torch.Tensor, **settings) -> None:
        self.loss_scaler.scale(loss).backward(**settings)
        self._inner_count += 1

    def step(self, **settings) -> None:
        self.loss_scaler.step(self.optimizer, **settings)
        self.loss_scaler.update()


def run(rows: Rows, args) -> None:
    for method in chosen_methods(args):
        if rows.has_time(method, 5):
            with rows.guarded(method):
                check_method(rows, method, args.device)


def wrapped(runner: Runner, device: str) -> OptimWrapper:
    optimizer = runner.optim_wrapper.optimizer
    if device == 'cpu':
        return ScaledOnCPU(optimizer=optimizer)
    return AmpOptimWrapper(dtype='float16', optimizer=optimizer)


def check_method(rows: Rows, method: str, device: str) -> None:
    state = dict(step=0)

    def step(runner: Runner, batches: list) -> bool:
        state['step'] += 1
        model = unwrap(runner.model)
        if state['step'] == 1:
            runner.optim_wrapper = wrapped(runner, device)
        before = snapshot(model)
        iterate(runner, batches)
        moved = differing(before, model)
        students = [key for key in moved if '.student.' in key]
        if not students and state['step'] < MOST_STEPS:
            return False  # skipped by the scale that it starts with
        state['moved'] = moved
        scale = runner.optim_wrapper.loss_scaler.get_scale()
        before = snapshot(model)
        with infinite_gradient(model):
            iterate(runner, batches)
        state['skipped'] = differing(before, model)
        state['scales'] = scale, runner.optim_wrapper.loss_scaler.get_scale()
        before = snapshot(model)
        iterate(runner, batches)
        state['after'] = differing(before, model)
        return True

    with method_config(method, small=True) as cfg:
        run_method(cfg, step)
    moved, skipped, scales = state['moved'], state['skipped'], state['scales']
    value = (
        f'{len(moved)} tensors move in a step, {len(skipped)} in a skipped one; '
        f'scale {scales[0]:g} -> {scales[1]:g}'
    )
    good = bool(moved) and not skipped and scales[1] < scales[0]
    rows.passed(method, good, value, skipped=skipped, steps=state['step'])
    kept = [key for key in moved if '.student.' not in key]
    rows.add(f'{method}: moved besides students', INFO, ', '.join(_roots(kept)) or '-')


def _roots(keys: list[str]) -> list[str]:
    parts = (key.split('.') for key in keys)
    return list(dict.fromkeys('.'.join(part[:3]) for part in parts))


def snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    """State but for the statistics of BatchNorm, which a forward pass moves."""
    return {
        key: value.clone()
        for key, value in model.state_dict().items()
        if not key.endswith(STATISTICS)
    }


def differing(before: dict, model: nn.Module) -> list[str]:
    now = model.state_dict()
    return [key for key, value in before.items() if not torch.equal(value, now[key])]


@contextmanager
def infinite_gradient(model: nn.Module):
    """Inside, a parameter of the first student gets an infinite gradient."""
    parameter = next(p for p in model.student.parameters() if p.requires_grad)
    handle = parameter.register_hook(lambda grad: torch.full_like(grad, torch.inf))
    try:
        yield
    finally:
        handle.remove()
