"""CAC: directional context-aware consistency."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, get_rank, get_world_size
from mmseg.registry import MODELS
from torch import Tensor

from ...functional import masked_mean, pseudo_label
from ...utils.settings import check_choices, check_integers, check_numbers
from ..adapter import SegmentorOutput, resize_logits
from ..data_preprocessor import Batch
from ..heads import ProjectionHead, unit_length
from ..losses import DirectionalContrastLoss
from ..memories import StepQueue
from ..overlap import match_crops, whole_cells
from .base import SemiSegmentor

LOSSES = ('contrast', 'l2')


class Crops(NamedTuple):
    """One crop of each of N images, as M = h * w cells of its feature map."""

    embedding: Tensor  # (N, M, D) of unit length
    confidence: Tensor  # (N, M)
    label: Tensor  # (N, M) int64
    valid: Tensor  # (N, M) bool, False where a pixel of the cell is padding
    size: tuple[int, int]  # (h, w)


class Negatives(NamedTuple):
    """K keys, and the index among them of each cell of this process's two crops."""

    keys: Tensor  # (K, D)
    label: Tensor  # (K,) int64, -1: never a negative
    places: list[Tensor]  # two (N * M,) int64, -1 where a cell was not drawn


@MODELS.register_module()
class CAC(SemiSegmentor):
    """Directional context-aware consistency (Lai et al., CVPR 2021).

    Two overlapping crops of an unlabeled image are two contexts of the same pixels. In
    the overlap the embedding of the less confident crop is pulled to that of the more
    confident one, and pushed from cells with other pseudo labels, by
    :class:`~mmsemiseg.models.losses.DirectionalContrastLoss`:

    ``loss = sup + unsup_weight * (l(1 -> 2) + l(2 -> 1))``

    There is no teacher. The unlabeled stream comes from
    :class:`~mmsemiseg.datasets.transforms.OverlapCrops`.

    Args:
        feature: Layer whose features are compared (see :class:`SegmentorAdapter`).
        pool: Kernel size of an average pooling of the features, which are then
            projected and classified.
        projector: Whether features are projected before they are compared.
        proj_channels: Dimension D of the embeddings.
        proj_hidden: Width of the projector's hidden layer; None: the width of the
            features.
        loss: Loss between the two embeddings of a cell: ``'contrast'``, or ``'l2'``
            (ablation I of the paper).
        temperature: Temperature tau of the contrast, above 0.
        threshold: Confidence gamma in [0, 1] that a positive must exceed; None: no
            filter of positives.
        direction: Whether only the less confident crop learns; False lets both learn.
        negative_filter: Whether keys with the pseudo label of the anchor are left out
            of the negatives; False takes keys of every pseudo label.
        norm: Divisor of the loss: the number of ``'selected'`` cells or of all cells in
            the ``'overlap'``.
        exclude_same_location: Whether cells at the anchor's own location are left out
            of the negatives.
        num_negatives: Negatives drawn from each crop's batch in a process; None: all
            cells.
        bank_steps: Earlier steps whose negatives are kept (with gradient accumulation
            each batch counts as one); needs ``num_negatives``.
        unsup_weight: Weight of the unsupervised loss.
        start_iter: First iteration with the unsupervised loss.
        pseudo_dropout: Whether pseudo labels come from the classifier with dropout.
        views: Names of the two crops in the unlabeled stream.
    """

    reads_streams = (('labeled', 'unlabeled'), ())

    def __init__(
        self,
        student: dict,
        feature: str | int = 'pre_cls',
        pool: int = 1,
        projector: bool = True,
        proj_channels: int = 128,
        proj_hidden: int | None = None,
        loss: str = 'contrast',
        temperature: float = 0.1,
        threshold: float | None = 0.75,
        direction: bool = True,
        negative_filter: bool = True,
        norm: str = 'selected',
        exclude_same_location: bool = False,
        num_negatives: int | None = None,
        bank_steps: int = 0,
        unsup_weight: float = 0.1,
        start_iter: int = 0,
        pseudo_dropout: bool = True,
        views: tuple[str, str] = ('view1', 'view2'),
        data_preprocessor: dict | None = None,
    ) -> None:
        settings = dict(pool=pool, num_negatives=num_negatives, bank_steps=bank_steps)
        _check_settings(loss, feature, views, unsup_weight, start_iter, **settings)
        super().__init__(student, feature=feature, data_preprocessor=data_preprocessor)
        dim = self.adapter.feature_channels(self.student)
        self.projector = None
        if projector:
            self.projector = ProjectionHead(dim, proj_channels, proj_hidden)
            dim = proj_channels
        self.contrast = DirectionalContrastLoss(
            self.num_classes, temperature, threshold, direction, negative_filter, norm
        )
        self.queue = None
        if bank_steps:
            rows = 2 * num_negatives * get_world_size()
            self.queue = StepQueue(bank_steps * rows, dim)
        self.loss_type = loss
        self.pool = pool
        self.exclude_same_location = exclude_same_location
        self.num_negatives = num_negatives
        self.unsup_weight = unsup_weight
        self.start_iter = start_iter
        self.pseudo_dropout = pseudo_dropout
        self.views = tuple(views)

    def unsupervised_loss(self, inputs: dict) -> dict:
        if self.iteration < self.start_iter:
            return dict(loss_dc=self._zero())
        batches = self._views(inputs['unlabeled'])
        first, second = crops = [self.crops(batch) for batch in batches]
        there, back = match_crops(*batches, first.size)
        if self.loss_type == 'l2':
            return dict(loss_dc=self.unsup_weight * _l2(first, second, *there))
        negatives = self.negatives(crops)
        loss12, share12 = self.consistency(first, second, *there, negatives, 0)
        loss21, share21 = self.consistency(second, first, *back, negatives, 1)
        share = share12 + share21
        self.step_outputs['coverage'] = share / (1 if self.contrast.direction else 2)
        return dict(loss_dc=self.unsup_weight * (loss12 + loss21), dc_selected=share)

    @property
    def filters(self) -> dict:
        """The confidence threshold gamma of the positives."""
        gamma = self.contrast.threshold
        return {} if gamma is None else dict(threshold=gamma)

    def crops(self, batch: Batch) -> Crops:
        """Embeddings, confidences and pseudo labels of one crop of each image."""
        dropout = self.pseudo_dropout
        output = self.adapter(self.student, batch.inputs, dropout=dropout)
        features = self._pooled(output.features)
        size = tuple(features.shape[2:])
        embedding = (self.projector or unit_length)(features)
        with torch.no_grad():
            valid = whole_cells(batch.valid, size)
            pseudo = pseudo_label(self._cell_logits(output, features), valid)
        return Crops(
            embedding.flatten(2).transpose(1, 2),
            pseudo.confidence.flatten(1),
            pseudo.label.flatten(1),
            valid.flatten(1),
            size,
        )

    def _cell_logits(self, output: SegmentorOutput, features: Tensor) -> Tensor:
        """Logits of the pooled features, with a dropout of their own.

        Where the classifier reads other features, its logits are pooled instead.
        """
        if self.pool > 1 and self.adapter.classifies_features:
            return self.adapter.classify(self.student, features, self.pseudo_dropout)
        logits = resize_logits(output.logits.float(), output.features.shape[2:])
        return self._pooled(logits)

    def _pooled(self, maps: Tensor) -> Tensor:
        if any(side % self.pool for side in maps.shape[2:]):
            raise ValueError(
                f'pool={self.pool} must divide the size of the features, which is '
                f'{tuple(maps.shape[2:])} for these crops'
            )
        return F.avg_pool2d(maps, self.pool)

    @torch.no_grad()
    def negatives(self, crops: list[Crops]) -> Negatives:
        """Keys from both crops of all processes, and from the bank of earlier steps."""
        features, labels, places = zip(*map(self._draw, crops), strict=True)
        start = 2 * len(features[0]) * get_rank()
        starts = (start, start + len(features[0]))
        places = [
            torch.where(place < 0, -1, place + begin)
            for place, begin in zip(places, starts, strict=True)
        ]
        features, labels = torch.cat(features), torch.cat(labels)
        self.step_outputs['memory'] = dict(features=features, labels=labels)
        # The same number everywhere: no need to ask the others how many
        features, labels = (torch.cat(all_gather(rows)) for rows in (features, labels))
        if self.queue is not None:
            kept_features, kept_labels = self.queue.keys()
            features = torch.cat([features, kept_features])
            labels = torch.cat([labels, kept_labels])
        return Negatives(features, labels, places)

    def _draw(self, crops: Crops) -> tuple[Tensor, Tensor, Tensor]:
        """Drawn features and labels, and each cell's index among the drawn, or -1."""
        features = crops.embedding.flatten(0, 1)
        label = torch.where(crops.valid, crops.label, -1).flatten()
        cells, device = len(features), features.device
        number = cells if self.num_negatives is None else self.num_negatives
        if number > cells:
            raise ValueError(
                f'num_negatives={number}, but one crop of each image has {cells} cells '
                'in this batch: lower it, or set None to take all'
            )
        drawn = torch.randperm(cells)[:number].to(device)
        place = torch.full((cells,), -1, device=device)
        place[drawn] = torch.arange(number, device=device)
        return features[drawn], label[drawn], place

    def consistency(
        self,
        anchor: Crops,
        other: Crops,
        index: Tensor,
        found: Tensor,
        negatives: Negatives,
        side: int,
    ) -> tuple[Tensor, Tensor]:
        """Loss of the crops ``side`` against the others, and its share of the cells."""
        overlap = found & anchor.valid & other.valid.gather(1, index)
        images = torch.arange(len(index), device=index.device)
        cells = (index + index.shape[1] * images[:, None]).flatten()
        places = None
        if self.exclude_same_location:
            places = negatives.places[side], negatives.places[1 - side][cells]
        return self.contrast(
            anchor.embedding.flatten(0, 1),
            other.embedding.flatten(0, 1)[cells],
            (anchor.confidence.flatten(), other.confidence.flatten()[cells]),
            anchor.label.flatten(),
            overlap,
            negatives.keys,
            negatives.label,
            places,
        )

    @property
    def has_memory(self) -> bool:
        return self.queue is not None

    def update_memory(self, features: Tensor, labels: Tensor) -> None:
        """Keep the negatives of a step; :class:`MemoryHook` calls it."""
        if self.queue is not None:
            self.queue.enqueue(features, labels)

    def _zero(self) -> Tensor:
        """A loss of 0 with the projector in the graph, for distributed training."""
        params = self.projector.parameters() if self.projector else ()
        zero = next(self.student.parameters()).new_zeros(())
        return zero + sum(0 * param.sum() for param in params)

    def _views(self, unlabeled: dict) -> list[Batch]:
        if isinstance(unlabeled, Batch) or not set(self.views) <= set(unlabeled):
            raise ValueError(
                f'CAC needs the views {self.views} in the unlabeled stream: see '
                'OverlapCrops'
            )
        return [unlabeled[name] for name in self.views]


def _l2(first: Crops, second: Crops, index: Tensor, found: Tensor) -> Tensor:
    """Mean squared distance of the two embeddings of a cell, over the overlap."""
    overlap = found & first.valid & second.valid.gather(1, index)
    dim = first.embedding.shape[2]
    other = second.embedding.gather(1, index[..., None].expand(-1, -1, dim))
    distance = (first.embedding - other).square().sum(2)
    return masked_mean(distance.flatten(), overlap.flatten())


def _check_settings(
    loss, feature, views, unsup_weight, start_iter, pool, num_negatives, bank_steps
) -> None:
    check_choices(loss=(loss, LOSSES))
    if feature is None:
        raise ValueError('feature must not be None: CAC compares features')
    if isinstance(views, str) or len(views) != 2 or views[0] == views[1]:
        raise ValueError(f'views must be two different names, but got {views!r}')
    check_integers(
        1, pool=pool, num_negatives=1 if num_negatives is None else num_negatives
    )
    check_integers(0, bank_steps=bank_steps, start_iter=start_iter)
    check_numbers(unsup_weight=unsup_weight)
    if bank_steps and num_negatives is None:
        raise ValueError(
            f'bank_steps={bank_steps} needs num_negatives, the number of cells that a '
            'step keeps'
        )
