"""CAC with image-level labels: a second classifier for coarse masks."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from mmengine.model import Sequential
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import masked_mean, ramp_up
from ...utils.settings import check_numbers
from ..adapter import SegmentorAdapter, SegmentorOutput, resize_logits
from ..data_preprocessor import Batch
from .cac import CAC


@MODELS.register_module()
class CACWeak(CAC):
    """CAC that also learns from pseudo masks made of image-level labels (section 3.5).

    A second classifier C_w reads the same features as the main one and learns the
    coarse masks, which so never reach the main classifier. It is not used in testing:

    ``loss = sup + dc + weak_weight * ramp(t) * mean over crops of CE(C_w(f), mask)``

    The cross entropy is taken at the size of the images, as the mean over the pixels
    that are not 255; it is 0 if there are none. It has no warm-up: ``start_iter``
    delays the contrast alone.

    Args:
        weak_stream: Stream whose images have masks. Any other than ``'unlabeled'`` is a
            stream of its own (images with masks, or views of them), with a forward pass
            of its own. ``'unlabeled'``: the two crops that are compared bring their
            masks, as in the paper; see
            :class:`~mmsemiseg.datasets.transforms.LabeledOverlapCrops`.
        weak_weight: Weight lambda_w of the loss on the masks.
        weak_ramp: Ramp-up of ``weak_weight``,
            ``dict(kind='exp'|'linear'|'cosine'|'step', length=iterations)``; None: the
            full weight at once.
        weak_dropout: Dropout ratio of C_w; None: the ratio of the student's head. It
            drops channels or elements, as the head does.
        cac: All other settings are those of :class:`CAC`.
    """

    def __init__(
        self,
        student: dict,
        *,
        weak_stream: str = 'weak',
        weak_weight: float = 0.4,
        weak_ramp: dict | None = None,
        weak_dropout: float | None = None,
        **cac,
    ) -> None:
        _check_settings(weak_stream, weak_weight, weak_ramp, weak_dropout)
        super().__init__(student, **cac)
        feature = cac.get('feature', 'pre_cls')
        self.adapter = _KeepingAdapter(self.student, feature)
        head = self._main_head()
        if weak_dropout is None:
            weak_dropout = getattr(head, 'dropout_ratio', 0)
        elements = isinstance(getattr(head, 'dropout', None), nn.Dropout)
        dropout = nn.Dropout if elements else nn.Dropout2d
        dim = self.adapter.feature_channels(self.student)
        self.weak_classifier = Sequential(
            dropout(weak_dropout),
            nn.Conv2d(dim, self.num_classes, 1),
            init_cfg=dict(type='Normal', layer='Conv2d', std=0.01),
        )
        self.weak_stream = weak_stream
        self.weak_weight = weak_weight
        self.weak_ramp = weak_ramp

    @property
    def reads_streams(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        names = ('labeled', 'unlabeled', self.weak_stream)
        return tuple(dict.fromkeys(names)), ()

    def unsupervised_loss(self, inputs: dict) -> dict:
        with self.adapter.keeping() as features:
            losses = super().unsupervised_loss(inputs)
        batches = self._weak_batches(inputs)
        if self.weak_stream != 'unlabeled' or not features:  # not yet forwarded
            features = [
                self.adapter(self.student, batch.inputs).features for batch in batches
            ]
        pairs = zip(features, batches, strict=True)
        terms = [self.weak_loss(f, _masks(batch)) for f, batch in pairs]
        weight = self.weak_weight * self.ramp(self.weak_ramp)
        return dict(losses, loss_weak=weight * torch.stack(terms).mean())

    def weak_loss(self, features: Tensor, masks: Tensor) -> Tensor:
        """Mean cross entropy of C_w on features (N, D, h, w), masks (N, H, W) int64."""
        logits = self.weak_classifier(features).float()
        logits = resize_logits(logits, masks.shape[1:], self.align_corners)
        ignore = self.ignore_index
        loss = F.cross_entropy(logits, masks, ignore_index=ignore, reduction='none')
        return masked_mean(loss.flatten(), masks.flatten() != ignore)

    def _weak_batches(self, inputs: dict) -> list[Batch]:
        if self.weak_stream == 'unlabeled':
            return self._views(inputs['unlabeled'])
        if self.weak_stream not in inputs:
            raise ValueError(
                f'weak_stream={self.weak_stream!r} must be a stream of '
                f'train_dataloader, but it has {sorted(inputs)}'
            )
        part = inputs[self.weak_stream]
        return [part] if isinstance(part, Batch) else list(part.values())


class _KeepingAdapter(SegmentorAdapter):
    """Keeps the features of its calls, so that two losses share one forward pass."""

    kept: list[Tensor] | None = None

    @contextmanager
    def keeping(self) -> Iterator[list[Tensor]]:
        """Fills the list with the features of each call."""
        self.kept = kept = []
        try:
            yield kept
        finally:
            self.kept = None

    def __call__(self, *args, **settings) -> SegmentorOutput:
        output = super().__call__(*args, **settings)
        if self.kept is not None:
            self.kept.append(output.features)
        return output


def _masks(batch: Batch) -> Tensor:
    """The masks of a batch, (N, H, W) int64."""
    missing = [s.img_path for s in batch.data_samples if 'gt_sem_seg' not in s]
    if missing:
        raise ValueError(
            f'CACWeak needs masks of weakly labeled images, but {missing[0]} comes '
            'without: see LabeledOverlapCrops and tools/cam_masks.py'
        )
    return batch.labels


def _check_settings(stream, weight, ramp, dropout) -> None:
    if not isinstance(stream, str) or stream in ('', 'labeled'):
        raise ValueError(
            "weak_stream must be the name of a stream other than 'labeled', "
            f'but got {stream!r}'
        )
    check_numbers(weak_weight=weight)
    if ramp is not None:
        unknown = set(ramp) - {'kind', 'length'}
        if unknown or 'length' not in ramp:
            raise ValueError(
                'weak_ramp must be None or dict(kind=..., length=iterations), '
                f'but got {ramp}'
            )
        ramp_up(0, **ramp)
    if dropout is not None and not 0 <= dropout < 1:
        raise ValueError(f'weak_dropout must be in [0, 1) or None, but got {dropout}')
