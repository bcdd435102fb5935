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
from .step_outputs import step_outputs
from .words import BFLOAT16, LITTLE, Lag, lagging, low_coverage, verdict

STATE = 'advice'  # of the message hub, which checkpoints hold


@HOOKS.register_module()
class AdviceHook(Hook):
    """Warn when pseudo labels or a teacher do not help, and say what to change.

    :class:`~mmsemiseg.engine.runner.SemiRunner` adds this hook;
    ``default_hooks=dict(advice=None)`` leaves it out. It writes to the log:

    - at the start a note, if the CPU has instructions for bfloat16 that the run does
      not use;
    - a warning when fewer than 1 % of the unlabeled pixels have a pseudo label that is
      learned. It names the setting that keeps the others out, with its value. It is
      repeated only if the share has risen in between, and does not come in the first
      eighth of the run;
    - a warning when a validation finds a teacher far behind its student. It says
      whether the decay is too slow for the length of the run, and is repeated only if
      the teacher has caught up in between;
    - at the end the share of the unlabeled pixels that were learned, the last scores,
      and the command that trains the supervised baseline to compare with.

    The shares come from the method, which leaves
    :class:`~mmsemiseg.functional.PseudoLabelStats` as ``step_outputs['pseudo']``, or
    one number as ``step_outputs['coverage']``.

    Args:
        max_lag: Largest mIoU, in percent, by which a teacher may be behind its student
            without a warning.
        period: Iterations between two checks of the share of learned pixels; at most a
            quarter of the run.
        baseline: Folder of the supervised baseline's run, where there is one; it is
            named at the end in place of the command.
    """

    priority = 'LOW'  # after the log, before a checkpoint is saved

    def __init__(
        self, max_lag: float = 5.0, period: int = 500, baseline: str | None = None
    ) -> None:
        if not max_lag > 0:
            raise ValueError(f'max_lag must be above 0, but got {max_lag}')
        if period < 1:
            raise ValueError(f'period must be at least 1, but got {period}')
        self.max_lag = max_lag
        self.period = period
        self.baseline = baseline
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
        for left in step_outputs(runner):
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
        if scores[1] - scores[0] < self.max_lag:
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
            self.baseline or _first_stage(runner, model),
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
    """Command that trains on the same labels alone, with the config of this run."""
    name = osp.basename(runner.cfg.filename or f'{runner.timestamp}.py')
    path = shlex.quote(osp.join(runner.work_dir, name))
    return f'mim train mmsemiseg {path} --sup-only'


def _first_stage(runner, model) -> str | None:
    """Folder of the first stage of self-training, which learned labels alone."""
    parent, name = osp.split(osp.abspath(runner.work_dir))
    folder = osp.join(parent, 'teacher')
    second = name == 'student' and 'pseudo' in getattr(model, 'extra_streams', ())
    return folder if second and osp.isdir(folder) else None
