"""A second classifier, which learns coarse masks."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..functional import masked_mean, ramp_up, resize_logits
from ..functional.schedules import check_ramp_up
from ..utils.profiling import stage
from ..utils.settings import check_numbers
from .recording import heads_of


@MODELS.register_module()
class WeakClassifier(BaseModule):
    """Second classifier C_w beside that of the student, for coarse masks.

    ``loss_weak = weight * ramp(t) * mean over batches of CE(C_w(f), mask)``

    Coarse masks, which are made of image-level labels, have many errors. With a
    classifier of their own they teach the student's features f, but not its classifier.
    C_w is not used in testing. CE is the cross entropy at the size of the images, the
    mean over the pixels that are not ignored; it is 0 if there are none.

    Args:
        model: Method that has this component, and whose features C_w reads.
        stream: Stream whose images have coarse masks. ``'unlabeled'``: the two crops
            that the contrast compares come with masks, as in the paper; see
            :class:`~mmsemiseg.datasets.transforms.LabeledOverlapCrops`. Another name is
            that of a further stream, which takes a forward pass of its own.
        weight: Weight lambda_w of the loss.
        ramp_up: Ramp-up of the weight,
            ``dict(kind='exp'|'linear'|'cosine'|'step', length=iterations)``; None: the
            full weight at once.
        dropout: Dropout ratio of C_w; None: the ratio of the student's head. It drops
            channels or elements, as the head does.
    """

    def __init__(
        self,
        model,
        stream: str = 'weak',
        weight: float = 0.4,
        ramp_up: dict | None = None,
        dropout: float | None = None,
    ) -> None:
        super().__init__(dict(type='Normal', layer='Conv2d', std=0.01))
        _check_settings(stream, weight, ramp_up, dropout)
        head = heads_of(model.student)[-1]
        if dropout is None:
            dropout = getattr(head, 'dropout_ratio', 0)
        elements = isinstance(getattr(head, 'dropout', None), nn.Dropout)
        self.dropout = (nn.Dropout if elements else nn.Dropout2d)(dropout)
        self.classifier = nn.Conv2d(model.feature_channels, model.num_classes, 1)
        self.align_corners = head.align_corners
        self.ignore_index = head.ignore_index
        self.stream = stream
        self.weight = weight
        self.ramp_up = ramp_up

    @stage('weak label loss')
    def forward(
        self, features: list[Tensor], masks: list[Tensor], iteration: int = 0
    ) -> Tensor:
        """Weighted loss of batches of features (N, D, h, w) and masks (N, H, W)."""
        pairs = zip(features, masks, strict=True)
        loss = torch.stack([self.cross_entropy(*pair) for pair in pairs]).mean()
        ramp = 1.0 if self.ramp_up is None else ramp_up(iteration, **self.ramp_up)
        return self.weight * ramp * loss

    def cross_entropy(self, features: Tensor, masks: Tensor) -> Tensor:
        """Mean over the pixels that count; features (N, D, h, w), masks (N, H, W)."""
        logits = self.classifier(self.dropout(features)).float()
        logits = resize_logits(logits, masks.shape[1:], self.align_corners)
        ignore = self.ignore_index
        loss = F.cross_entropy(logits, masks, ignore_index=ignore, reduction='none')
        return masked_mean(loss.flatten(), masks.flatten() != ignore)


def _check_settings(stream, weight, ramp_up, dropout) -> None:
    if not isinstance(stream, str) or stream in ('', 'labeled'):
        raise ValueError(
            "stream must be the name of a stream other than 'labeled', "
            f'but got {stream!r}'
        )
    check_numbers(weight=weight)
    check_ramp_up(ramp_up=ramp_up)
    if dropout is not None and not 0 <= dropout < 1:
        raise ValueError(f'dropout must be in [0, 1) or None, but got {dropout}')
