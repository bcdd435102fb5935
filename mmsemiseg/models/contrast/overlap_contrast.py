"""The contrast of CAC: two crops of an image, where they overlap."""

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, get_rank, get_world_size
from mmseg.registry import MODELS
from torch import Tensor

from ...functional import masked_mean, pseudo_label, resize_logits
from ...utils.profiling import stage
from ...utils.settings import check_choices, check_integers, check_numbers
from ..adapter import SegmentorOutput
from ..data_preprocessor import Batch
from ..heads import ProjectionHead, unit_length
from ..losses import DirectionalContrastLoss
from ..memories import StepQueue
from ..parts import build_part
from .base import FeaturePart
from .cells import Cells, Keys, whole_cells
from .overlap import match_crops

LOSSES = ('contrast', 'l2')
PROJECTOR = dict(type='ProjectionHead')
BANK = dict(type='StepQueue')


@MODELS.register_module()
class OverlapContrast(FeaturePart):
    """Contrast of two crops of an image, where they overlap.

    ``loss_dc = weight * (l(1 -> 2) + l(2 -> 1))``

    A cell is one position of a feature map. Where both crops show the same cell, the
    less confident of the two embeddings is pulled to the other one, and pushed away
    from cells with other pseudo labels: ``l(i -> j)`` is the
    :class:`~mmsemiseg.models.losses.DirectionalContrastLoss` of the embeddings of crop
    i that learn from crop j. The classifier runs on the pooled features, so each cell
    has a pseudo label and a confidence of its own.

    Args:
        model: Method that has this component, and that gives the features.
        pool: Side of the average pooling of the features in front of projector and
            classifier; 1: no pooling.
        projector: Settings of the :class:`ProjectionHead` that makes the embeddings;
            None: the features themselves are compared.
        loss: Loss between the two embeddings of a cell: ``'contrast'``, or ``'l2'``,
            their squared distance without any negatives (row I of the paper's
            ablation).
        temperature: Temperature tau of the contrast, above 0.
        threshold: Confidence gamma in [0, 1] that a positive must exceed; None: no
            filter of positives.
        direction: Whether of two embeddings only the less confident one learns; False
            lets both learn.
        negative_filter: Whether keys with the pseudo label of the anchor are left out
            of the negatives; False takes keys of every pseudo label.
        norm: Divisor of the loss: the number of ``'selected'`` cells or of all cells in
            the ``'overlap'``.
        exclude_same_location: Whether cells at the anchor's own location are left out
            of the negatives.
        num_negatives: Number of negatives that each process draws from the batch of
            first crops, and again from that of second crops; None: all cells.
        bank: Settings of the :class:`StepQueue` that keeps the negatives of earlier
            steps (with gradient accumulation each batch counts as one); needs
            ``num_negatives``. None: no bank.
        pseudo_dropout: Whether the dropout in front of the classifier is on when it
            makes pseudo labels.
        weight: Weight lambda of the loss.
        start: First iteration with this loss.
    """

    def __init__(
        self,
        model,
        pool: int = 1,
        projector: dict | None = PROJECTOR,
        loss: str = 'contrast',
        temperature: float = 0.1,
        threshold: float | None = 0.75,
        direction: bool = True,
        negative_filter: bool = True,
        norm: str = 'selected',
        exclude_same_location: bool = False,
        num_negatives: int | None = None,
        bank: dict | None = None,
        pseudo_dropout: bool = True,
        weight: float = 0.1,
        start: int = 0,
    ) -> None:
        super().__init__()
        check_choices(loss=(loss, LOSSES))
        drawn = 1 if num_negatives is None else num_negatives
        check_integers(1, pool=pool, num_negatives=drawn)
        check_integers(0, start=start)
        check_numbers(weight=weight)
        if bank is not None and num_negatives is None:
            raise ValueError(
                'num_negatives must be an integer, the number of cells that a step '
                f'keeps, with bank={bank}, but got None'
            )
        dim = model.feature_channels
        if not isinstance(dim, int):
            raise ValueError(
                f'feature must be a single layer, but gives {dim} channels'
            )
        self.projector = build_part(
            projector,
            'projector',
            default=PROJECTOR,
            base=ProjectionHead,
            in_channels=dim,
        )
        self.directional = DirectionalContrastLoss(
            model.num_classes, temperature, threshold, direction, negative_filter, norm
        )
        self.bank = build_part(
            bank,
            'bank',
            default=BANK,
            base=StepQueue,
            rows=2 * drawn * get_world_size(),
            dim=dim if self.projector is None else self.projector.channels,
        )
        self.loss_type = loss
        self.pool = pool
        self.exclude_same_location = exclude_same_location
        self.num_negatives = num_negatives
        self.pseudo_dropout = pseudo_dropout
        self.weight = weight
        self.start = start

    @stage('contrast')
    def cells(self, model, crop: Batch, output: SegmentorOutput) -> Cells:
        """Embeddings, confidences and pseudo labels of the cells of one crop.

        Args:
            model: Method that has this component.
            crop: Images of the crop.
            output: Output of the student for them.
        """
        features = self._pooled(output.features)
        size = tuple(features.shape[2:])
        embedding = (self.projector or unit_length)(features)
        with torch.no_grad():
            valid = whole_cells(crop.valid, size)
            pseudo = pseudo_label(self._logits(model, output, features), valid)
        return Cells(
            embedding.flatten(2).transpose(1, 2),
            pseudo.confidence.flatten(1),
            pseudo.label.flatten(1),
            valid.flatten(1),
            size,
        )

    def _logits(self, model, output: SegmentorOutput, features: Tensor) -> Tensor:
        """Logits of the pooled features, with a dropout of their own.

        Where the classifier reads other features, its logits are pooled instead.
        """
        adapter = model.adapter
        if self.pool > 1 and adapter.classifies_features:
            return adapter.classify(model.student, features, self.pseudo_dropout)
        logits = resize_logits(output.logits.float(), output.features.shape[2:])
        return self._pooled(logits)

    def _pooled(self, maps: Tensor) -> Tensor:
        if any(side % self.pool for side in maps.shape[2:]):
            raise ValueError(
                f'pool={self.pool} must divide the size of the features, which is '
                f'{tuple(maps.shape[2:])} for these crops'
            )
        return F.avg_pool2d(maps, self.pool)

    def forward(self, model, crops: list[Batch], cells: list[Cells]) -> dict:
        """The loss, and as ``dc_selected`` the share of the overlap that learns.

        Args:
            model: Method that has this component.
            crops: Both crops of the images.
            cells: What :meth:`cells` gives for each of them.
        """
        first, second = cells
        there, back = match_crops(*crops, first.size)
        if self.loss_type == 'l2':
            return dict(loss_dc=self.weight * _l2(first, second, *there))
        own = self.draw(cells)
        model.remember(self, features=own.features, labels=own.label)
        negatives = self.negatives(own)
        loss12, share12 = self.consistency(first, second, *there, negatives, 0)
        loss21, share21 = self.consistency(second, first, *back, negatives, 1)
        share = share12 + share21
        both = 1 if self.directional.direction else 2
        model.step_outputs['coverage'] = share / both
        return dict(loss_dc=self.weight * (loss12 + loss21), dc_selected=share)

    def zero(self, like: Tensor) -> dict:
        """A loss of 0 with the projector in the graph, for distributed training."""
        params = self.projector.parameters() if self.projector else ()
        zero = like.new_zeros(()) + sum(0 * param.sum() for param in params)
        return dict(loss_dc=zero)

    @torch.no_grad()
    def draw(self, cells: list[Cells]) -> Keys:
        """Draw the negatives of this process from the cells of both crops."""
        features, labels, places = zip(*map(self._draw, cells), strict=True)
        return Keys(
            torch.cat(features),
            torch.cat(labels),
            [places[0], _moved(places[1], len(features[0]))],
        )

    def _draw(self, cells: Cells) -> tuple[Tensor, Tensor, Tensor]:
        """Drawn features and labels, and where each cell is among them, -1 for none."""
        features = cells.embedding.flatten(0, 1)
        label = torch.where(cells.valid, cells.label, -1).flatten()
        total, device = len(features), features.device
        number = total if self.num_negatives is None else self.num_negatives
        if number > total:
            raise ValueError(
                f'num_negatives={number}, but one crop of each image has {total} cells '
                'in this batch: lower it, or set None to take all'
            )
        drawn = torch.randperm(total)[:number].to(device)
        place = torch.full((total,), -1, device=device)
        place[drawn] = torch.arange(number, device=device)
        return features[drawn], label[drawn], place

    @torch.no_grad()
    def negatives(self, own: Keys) -> Keys:
        """Keys of all processes, and those of earlier steps from the bank."""
        places = [_moved(place, len(own.label) * get_rank()) for place in own.places]
        # The same number everywhere: no need to ask the others how many
        features, labels = (torch.cat(all_gather(rows)) for rows in own[:2])
        if self.bank is not None:
            kept_features, kept_labels = self.bank.keys()
            features = torch.cat([features, kept_features])
            labels = torch.cat([labels, kept_labels])
        return Keys(features, labels, places)

    def consistency(
        self,
        anchor: Cells,
        other: Cells,
        index: Tensor,
        found: Tensor,
        negatives: Keys,
        side: int,
    ) -> tuple[Tensor, Tensor]:
        """Loss of crop ``side`` (0 or 1) that learns from the other one.

        Args:
            anchor: Cells of the crop that learns.
            other: Cells of the crop that it learns from.
            index: For each cell of the first the index (N, M) of the same cell in the
                second.
            found: Whether there is such a cell, (N, M) bool.
            negatives: Keys that are candidates for negatives.
            side: Number of the crop that learns.

        Returns:
            The loss, and the share of the overlap that learns.
        """
        overlap = found & anchor.valid & other.valid.gather(1, index)
        images = torch.arange(len(index), device=index.device)
        cells = (index + index.shape[1] * images[:, None]).flatten()
        places = None
        if self.exclude_same_location:
            places = negatives.places[side], negatives.places[1 - side][cells]
        return self.directional(
            anchor.embedding.flatten(0, 1),
            other.embedding.flatten(0, 1)[cells],
            (anchor.confidence.flatten(), other.confidence.flatten()[cells]),
            anchor.label.flatten(),
            overlap,
            negatives.features,
            negatives.label,
            places,
        )

    @property
    def filters(self) -> dict[str, float]:
        """The threshold gamma of the positives, for hooks that name what filters."""
        gamma = self.directional.threshold
        return {} if gamma is None else dict(threshold=gamma)

    @property
    def has_memory(self) -> bool:
        return self.bank is not None

    def update_memory(self, features: Tensor, labels: Tensor) -> None:
        """Keep the negatives of a step."""
        if self.bank is not None:
            self.bank.enqueue(features, labels)


def _moved(place: Tensor, number: int) -> Tensor:
    """Indices (n,) further on by a number; -1 stays."""
    return torch.where(place < 0, -1, place + number)


def _l2(first: Cells, second: Cells, index: Tensor, found: Tensor) -> Tensor:
    """Mean squared distance of the two embeddings of a cell, over the overlap."""
    overlap = found & first.valid & second.valid.gather(1, index)
    dim = first.embedding.shape[2]
    other = second.embedding.gather(1, index[..., None].expand(-1, -1, dim))
    distance = (first.embedding - other).square().sum(2)
    return masked_mean(distance.flatten(), overlap.flatten())
