"""A student and the teacher that follows it."""

import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import nn

from ...utils.copying import copy_network
from ...utils.settings import check_choices

BUFFERS = ('copy', 'average', 'own')
MODES = ('eval', 'train')


class Pair(BaseModule):
    """A student and its teacher, an exponential moving average (EMA) of the student.

    An update sets teacher = d * teacher + (1 - d) * student, with the decay d.

    Args:
        student: Config of any segmentor of MMSegmentation, or a module itself.
        with_teacher: Whether there is a teacher; False makes a lone student.
        mode: Mode in which the teacher runs while the student trains: ``'eval'`` (no
            dropout, running BatchNorm statistics) or ``'train'``.
        buffers: What an update does with the BatchNorm statistics of the teacher:
            ``'copy'`` takes the student's, ``'average'`` averages them as parameters
            are, ``'own'`` leaves those of the teacher's own forward passes, which needs
            ``mode='train'``. Counters (integer buffers) are copied by the first two.

    Attributes:
        student: Module that is trained.
        teacher: Module that follows it; None: there is none.
        steps: Number of updates, in the checkpoint. It is a Python number, so that
            reading it never waits for a device.
    """

    def __init__(
        self,
        student: dict | nn.Module,
        with_teacher: bool = True,
        mode: str = 'eval',
        buffers: str = 'copy',
    ) -> None:
        super().__init__()
        check_choices(mode=(mode, MODES), buffers=(buffers, BUFFERS))
        if with_teacher and buffers == 'own' and mode == 'eval':
            raise ValueError(
                "mode must be 'train' with buffers='own', as in eval mode the "
                "teacher's BatchNorm statistics would never change, but got 'eval'"
            )
        self.student = MODELS.build(student) if isinstance(student, dict) else student
        self.mode = mode
        self.buffers_policy = buffers
        self.teacher = None
        if with_teacher:
            self.teacher = copy_network(self.student).requires_grad_(False)
            self.teacher.train(mode == 'train')
        self.steps = 0

    @property
    def labeler(self) -> nn.Module:
        """The network that labels: the teacher, or a lone student."""
        return self.student if self.teacher is None else self.teacher

    def init_weights(self) -> None:
        """Initialise the student; the teacher becomes its full copy."""
        self.student.init_weights()
        if self.teacher is not None:
            self.copy_to_teacher()

    @torch.no_grad()
    def copy_to_teacher(self, restart: bool = True) -> None:
        """Teacher = student, buffers included.

        With ``restart`` the updates count from 0 again.
        """
        self.teacher.load_state_dict(self.student.state_dict())
        if restart:
            self.steps = 0

    @torch.no_grad()
    def update_teacher(self, decay: float) -> None:
        """One EMA update; ``decay`` d in [0, 1] is the weight of the old teacher."""
        _lerp(self.teacher.parameters(), self.student.parameters(), 1 - decay)
        if self.buffers_policy != 'own':
            self._update_buffers(decay)
        self.steps += 1

    def _update_buffers(self, decay: float) -> None:
        pairs = list(zip(self.teacher.buffers(), self.student.buffers(), strict=True))
        if self.buffers_policy == 'average':
            floats = [p for p in pairs if p[0].is_floating_point()]
            _lerp([t for t, _ in floats], [s for _, s in floats], 1 - decay)
            pairs = [p for p in pairs if not p[0].is_floating_point()]
        for mine, source in pairs:
            mine.copy_(source)

    def _save_to_state_dict(self, destination, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f'{prefix}steps'] = torch.tensor(self.steps)

    def _load_from_state_dict(
        self, state_dict, prefix: str, metadata, strict, missing: list, *args
    ) -> None:
        key = f'{prefix}steps'
        if key in state_dict:
            self.steps = int(state_dict.pop(key))
        else:
            missing.append(key)
        super()._load_from_state_dict(
            state_dict, prefix, metadata, strict, missing, *args
        )

    def train(self, mode: bool = True) -> 'Pair':
        super().train(mode)
        if self.teacher is not None:
            self.teacher.train(mode and self.mode == 'train')
        return self


def _lerp(old, new, weight: float) -> None:
    """old += weight * (new - old), all tensors in one fused call."""
    old, new = list(old), list(new)
    if old:
        torch._foreach_lerp_(old, new, weight)
