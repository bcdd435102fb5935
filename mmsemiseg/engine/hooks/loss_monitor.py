"""Stop at a broken loss, and say so when an unsupervised one does nothing."""

import math
import re

import torch
from mmengine.hooks import Hook
from mmseg.registry import HOOKS
from torch import Tensor

from ...utils.model import unwrap
from ...utils.settings import check_integers
from ..checkpoints import describe_way_on
from .classes import describe_unready
from .words import silent


@HOOKS.register_module()
class LossMonitorHook(Hook):
    """Stop a run whose loss is not finite, and warn of an unsupervised loss of 0.

    - If a loss is not a finite number, the run ends with a ``FloatingPointError`` that
      names the loss and the newest checkpoint that is whole and finite. No checkpoint
      is saved before this check. (A gradient can be broken though the loss is not:
      :class:`~mmsemiseg.engine.runner.SemiRunner` saves no broken weights.)
    - If an unsupervised loss is exactly 0 in ``streak`` iterations in a row, there is
      one warning for that time. It names the classes of which the memory bank has too
      few rows, as a loss may wait for them. Unsupervised is each ``loss`` whose key
      does not begin with ``sup.``, or with ``sup0.``, ``sup1.``, ... of several
      students.

    The package's base runtime (``configs/_base_/default_runtime.py``) has this hook; a
    config without it needs it in ``custom_hooks``.

    Args:
        streak: Number of iterations in a row with a loss of 0 before the warning, at
            least 1.
    """

    priority = 'NORMAL'

    def __init__(self, streak: int = 100) -> None:
        check_integers(1, streak=streak)
        self.streak = streak
        self._zeros: dict[str, int] = {}

    def after_train_iter(
        self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None
    ) -> None:
        terms = {k: v for k, v in (outputs or {}).items() if 'loss' in k}
        losses = dict(zip(terms, _as_floats(list(terms.values())), strict=True))
        broken = {k: v for k, v in losses.items() if not math.isfinite(v)}
        if broken:
            raise FloatingPointError(_describe_broken(runner, broken))
        zero = []
        for name, value in losses.items():
            if name != 'loss' and not re.match(r'sup\d*\.', name):
                self._zeros[name] = self._zeros.get(name, 0) + 1 if value == 0 else 0
                if self._zeros[name] == self.streak:
                    zero.append(name)
        if zero:
            self._warn(runner, zero)

    def _warn(self, runner, names: list[str]) -> None:
        missing, model = describe_unready(runner), unwrap(runner.model)
        text = silent(names, self.streak, runner.iter + 1, missing, model)
        runner.logger.warning(text)


def _as_floats(values: list) -> list[float]:
    """Wait for the device once, not once for each value."""
    if values and all(isinstance(value, Tensor) for value in values):
        return torch.stack([value.detach().float() for value in values]).tolist()
    return [float(value) for value in values]


def _describe_broken(runner, broken: dict[str, float]) -> str:
    terms = {k: v for k, v in broken.items() if k != 'loss'} or broken
    named = ', '.join(f'{key} = {value}' for key, value in terms.items())
    way_on = describe_way_on(runner.work_dir)
    return f'{named} at iteration {runner.iter + 1}. {way_on}'
