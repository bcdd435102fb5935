"""FixMatch: the student learns pseudo labels of its own weak view."""

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...functional import PseudoLabel
from .mean_teacher import MeanTeacher


@MODELS.register_module()
class FixMatch(MeanTeacher):
    """:class:`MeanTeacher` without EMA (Sohn et al., 2020): the student labels itself.

    The student predicts the pseudo labels of the weak view in eval mode (no dropout,
    running BatchNorm statistics) and learns them on the strong view. The settings are
    those of :class:`MeanTeacher`, but there is no ``teacher``, and ``predict_with`` is
    ``'student'``.
    """

    with_teacher = False
    default_network = 'student'

    @torch.no_grad()
    def pseudo_labels(self, images: Tensor, valid: Tensor) -> PseudoLabel:
        return self.pseudo_label(self.adapter.inference(self.student, images), valid)
