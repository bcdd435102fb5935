"""Advice during a run, and a last line on what the unlabeled images were worth."""

import re
import shlex
from os import path as osp

import torch
from mmengine.device import get_device
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmseg.registry import HOOKS
from torch import Tensor

from ...functional.schedules import ema_decay
from ...utils.cpu import has_bfloat16
from ...utils.model import unwrap
from .mean_teacher import MeanTeacherHook
from .pending import pending
from .words import BFLOAT16, LITTLE, Lag, lagging, low_coverage, verdict

STATE = 'advice'  # of the message hub, which checkpoints hold


@HOOKS.register_module()
class AdviceHook(Hook):
    """Say in plain words when unlabeled images or a teacher do not do their work.

    - A line at the start when the CPU has instructions for bfloat16 that the run does
      not use.
    - A warning when fewer than 1 % of the unlabeled pixels teach anything; once until
      there are more again. It names the setting that keeps them out
      (``model.filters``) and its value. Not before an eighth of the run.
    - A warning after a validation of both, when a teacher is ``gap`` behind its
      student; once until it has caught up again. It says whether the decay is too slow
      for the length of the run.
    - The last line of the run: how many pixels taught, the scores at the end, and the
      command of the baseline that alone can tell whether they helped.

    A method leaves :class:`~mmsemiseg.functional.PseudoLabelStats` as
    ``pending['pseudo']``, or the share of the pixels as ``pending['coverage']``.
    :class:`~mmsemiseg.engine.runner.SemiRunner` adds this hook;
    ``default_hooks=dict(advice=None)`` leaves it out.

    Args:
        gap: mIoU by which a teacher may be behind, in percent.
        period: Iterations between two looks at the pixels, at most; a quarter of a
            short run.
    """

    priority = 'LOW'  # after the log, before a checkpoint is saved

    def __init__(self, gap: float = 5.0, period: int = 500) -> None:
        if not gap > 0:
            raise ValueError(f'gap must be above 0, but got {gap}')
        if period < 1:
            raise ValueError(f'period must be at least 1, but got {period}')
        self.gap = gap
        self.period = period
        self._state: dict | None = None  # None outside of training

    def before_train(self, runner) -> None:
        # sums of kept and valid pixels and of confidences, as of now and the last look
        start = dict(sums=torch.zeros(3).double(), seen=torch.zeros(3).double())
        self._state = dict(start, **runner.message_hub.get_info(STATE, {}))
        runner.message_hub.update_info(STATE, self._state)
        full_precision = type(runner.optim_wrapper) is OptimWrapper
        if full_precision and get_device() == 'cpu' and has_bfloat16():
            runner.logger.info(BFLOAT16)
        self._low = False
        self._behind: set[str] = set()
        self._scores: dict[str, float] = {}

    def after_train_iter(
        self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None
    ) -> None:
        for left in pending(runner):
            found = _sums(left)
            if found is not None:
                self._state['sums'] = self._state['sums'].to(found) + found
        step, total = runner.iter + 1, runner.max_iters
        period = max(1, min(self.period, total // 4))
        if step % period == 0:
            self._look(runner, period, soon=step * 8 < total)

    def _look(self, runner, period: int, soon: bool) -> None:
        sums = self._state['sums'].clone()
        new = sums - self._state['seen'].to(sums)
        self._state['seen'] = sums
        all_reduce(new)
        kept, valid, _ = new.tolist()
        low = valid > 0 and kept / valid < LITTLE
        if low and not self._low and not soon:
            model = unwrap(runner.model)
            runner.logger.warning(low_coverage(kept / valid, period, model))
        self._low = low and not soon

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        if self._state is None:
            return
        scores = {
            name: float(value)
            for key, value in (metrics or {}).items()
            for name, _, metric in [key.rpartition('/')]
            if metric == 'mIoU' and re.fullmatch(r'(student|teacher)\d*', name)
        }
        self._scores = scores
        for name, score in scores.items():
            student = name.replace('teacher', 'student')
            if name != student and student in scores:
                self._compare(runner, (name, student), (score, scores[student]))

    def _compare(self, runner, names: tuple[str, str], scores: tuple) -> None:
        if scores[1] - scores[0] < self.gap:
            self._behind.discard(names[0])
            return
        text = lagging(_lag(runner, names, scores))
        if text and names[0] not in self._behind:
            self._behind.add(names[0])
            runner.logger.warning(text)

    def after_run(self, runner) -> None:
        if self._state is None:
            return
        sums = self._state['sums'].clone()
        all_reduce(sums)
        kept, valid, confidence = sums.tolist()
        self._state = None
        model = unwrap(runner.model)
        text = verdict(
            model,
            kept / valid if valid else None,
            confidence / valid if confidence else None,
            self._scores,
            baseline_command(runner),
            _first_stage(runner, model),
        )
        runner.logger.info(text)


def _sums(left: dict) -> Tensor | None:
    """Kept and valid pixels, and the sum of their confidences where it is known."""
    if 'pseudo' in left:
        stats = left['pseudo']
        parts = stats.count, stats.total, stats.confidence
        return torch.stack([part.sum().double() for part in parts])
    if 'coverage' in left:
        share = left['coverage'].double()
        return torch.stack([share, torch.ones_like(share), torch.zeros_like(share)])
    return None


def _lag(runner, names: tuple[str, str], scores: tuple[float, float]) -> Lag:
    model, total = unwrap(runner.model), runner.max_iters
    hooks = [hook for hook in runner.hooks if isinstance(hook, MeanTeacherHook)]
    lag = Lag(names, scores, runner.iter, total)
    lag = lag._replace(predict_with=getattr(model, 'predict_with', ''))
    if not hooks:
        return lag
    hook, done = hooks[0], model.teacher_updates
    decay = ema_decay(done, total, hook.decay, None, hook.anneal)
    return lag._replace(updates=done, hook=hook, decay=decay)


def baseline_command(runner) -> str:
    """How to train on the same labels alone, from the config that the run wrote."""
    name = osp.basename(runner.cfg.filename or f'{runner.timestamp}.py')
    path = shlex.quote(osp.join(runner.work_dir, name))
    return f'mim train mmsemiseg {path} --sup-only'


def _first_stage(runner, model) -> str | None:
    """Self-training's own run on the labels alone, beside its second stage."""
    parent, name = osp.split(osp.abspath(runner.work_dir))
    folder = osp.join(parent, 'teacher')
    second = name == 'student' and 'pseudo' in getattr(model, 'extra_streams', ())
    return folder if second and osp.isdir(folder) else None
