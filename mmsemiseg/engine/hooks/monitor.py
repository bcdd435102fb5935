"""Which pseudo labels are kept, by class, and which classes starve."""

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmseg.registry import HOOKS
from torch import Tensor

from ...functional import PseudoLabelStats
from ...utils.model import unwrap
from ...utils.settings import check_integers
from .classes import class_names
from .step_outputs import step_outputs
from .words import starving_class


@HOOKS.register_module()
class PseudoLabelMonitorHook(Hook):
    """Log which share of the pseudo labels is kept, overall and by class.

    A pseudo label is kept if it is learned: of a pixel that is not padding, and not
    below the threshold. Every ``interval`` iterations, over all processes, the hook
    writes:

    - ``train/pseudo_coverage``, the kept share of the pixels that are not padding, and
      ``train/pseudo_confidence``, the mean confidence of all that are not padding, kept
      or not, both in [0, 1];
    - a log line with the share of each class among the pseudo labels, and how many of
      them are kept;
    - a warning for each class without a kept pixel in the last ``window`` iterations,
      repeated only if there were some in between.

    The numbers are the :class:`~mmsemiseg.functional.PseudoLabelStats` that a method
    leaves in ``model.step_outputs['pseudo']``. The package's base runtime
    (``configs/_base_/default_runtime.py``) has this hook; a config without it needs it
    in ``custom_hooks``.

    Args:
        interval: Number of iterations between two reports.
        window: Number of iterations without a kept pseudo label of a class before the
            warning, which comes with the next report; in shorter runs half of the run.
    """

    priority = 'NORMAL'

    def __init__(self, interval: int = 50, window: int = 500) -> None:
        check_integers(1, interval=interval, window=window)
        self.interval = interval
        self.window = window

    def before_train(self, runner) -> None:
        self._sums: Tensor | None = None  # (3, C) float64, as the stats
        self._last_seen: Tensor | None = None  # (C,) iteration of the last kept pixel
        self._starving: set[int] = set()
        self._window = min(self.window, max(1, runner.max_iters // 2))

    def after_train_iter(
        self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None
    ) -> None:
        for left in step_outputs(runner):
            if 'pseudo' in left:
                self._add(left['pseudo'], runner.iter)
        if self._sums is not None and self.every_n_train_iters(runner, self.interval):
            self._report(runner)

    def _add(self, stats: PseudoLabelStats, iteration: int) -> None:
        if self._last_seen is None:
            self._last_seen = torch.full_like(stats.count, iteration - 1)
        self._last_seen = self._last_seen.masked_fill(stats.count > 0, iteration)
        sums = torch.stack([row.double() for row in stats])
        self._sums = sums if self._sums is None else self._sums + sums

    def _report(self, runner) -> None:
        all_reduce(self._sums)
        all_reduce(self._last_seen, op='max')
        total, count, confidence = sums = self._sums.cpu()
        self._sums = None
        pixels = total.sum()
        if pixels > 0:
            coverage, mean = (count.sum() / pixels).item(), confidence.sum() / pixels
            runner.message_hub.update_scalar('train/pseudo_coverage', coverage)
            runner.message_hub.update_scalar('train/pseudo_confidence', mean.item())
            runner.logger.info(self._line(runner, total, count))
        self._warn(runner, sums)

    def _line(self, runner, total: Tensor, count: Tensor) -> str:
        share, kept = 100 * total / total.sum(), 100 * count / total.clamp(min=1)
        rows = zip(class_names(runner, len(total)), share, kept, strict=True)
        cells = [f'{name} {s:.1f}% ({k:.0f}% kept)' for name, s, k in rows]
        return f'pseudo labels: {", ".join(cells)}'

    def _warn(self, runner, sums: Tensor) -> None:
        unseen = runner.iter - self._last_seen.cpu()
        starving = set((unseen >= self._window).nonzero().flatten().tolist())
        names = class_names(runner, len(unseen))
        for k in sorted(starving - self._starving):
            total, _, confidence = sums[:, k].tolist()
            mean = confidence / total if total else None
            name, model = f'{names[k]!r} ({k})', unwrap(runner.model)
            runner.logger.warning(starving_class(name, int(unseen[k]), mean, model))
        self._starving = starving
