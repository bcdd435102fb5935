"""ESL's contrast: cells with the means of object parts."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Generator, Tensor, nn

from ...functional import (
    PseudoLabel,
    assign_parts,
    at_cells,
    class_mean,
    draw_anchors,
    draw_own_negatives,
    draw_positives,
    draw_shared_negatives,
    info_nce,
    paired_logit,
    part_sums,
    sampled_logsumexp,
    select_per_group,
    shared_logsumexp,
    take_rows,
    to_rows,
    valid_indices,
    valid_labels,
)
from ...utils.profiling import stage
from ...utils.settings import check_choices, check_integers, check_numbers
from ..adapter import SegmentorOutput
from ..data_preprocessor import Batch
from ..memories import ClassQueueBank, PartPrototypes
from ..parts import build_part
from .base import Contrast, Pass

BANK = dict(type='ClassQueueBank', size=128)
PROTOTYPES = dict(type='PartPrototypes', decay=0.99)
PROJECTOR = dict(type='ConvBlocks', channels=512)
BEGINNING = 256  # features of a step for classes that have no prototypes yet


class PartView(NamedTuple):
    """What a teacher says of a batch of images.

    Args:
        output: Logits, and features for embeddings and for parts.
        label: Class (N, H, W) int64 of each pixel, -1 where it has none.
        confidence: Confidence (N, H, W) of that class; None: it is given.
    """

    output: SegmentorOutput
    label: Tensor
    confidence: Tensor | None = None

    @classmethod
    def of_labels(cls, model, output: SegmentorOutput, labeled: Batch) -> 'PartView':
        label = valid_labels(labeled.labels, model.num_classes, model.ignore_index)
        return cls(output, label)

    @classmethod
    def of_pseudo(cls, model, output: SegmentorOutput, pseudo: PseudoLabel):
        label = valid_labels(pseudo.label, model.num_classes, model.ignore_index)
        return cls(output, label.where(pseudo.valid, -1), pseudo.confidence)


class Parts(NamedTuple):
    """Parts of the cells of a step, and what of them enters the queues.

    Args:
        maps: Part c * K + k (N, h, w) int64 of each cell, -1 where it has none; one map
            for each view.
        means: Mean embeddings (n, D) of the parts of each image.
        group: Part (n,) int64 of each mean, -1 where there is none.
    """

    maps: list[Tensor]
    means: Tensor
    group: Tensor

    def mixed(self, source: Tensor) -> 'Parts':
        """The last map mixed as the images were.

        Args:
            source: Number (N, H, W) of the image that each pixel was taken from.
        """
        *others, last = self.maps
        source = at_cells(source, last.shape[1:])
        return self._replace(maps=[*others, last.gather(0, source)])


@MODELS.register_module()
class PartContrast(Contrast):
    r"""Pixel-to-part contrast (ESL: Ma et al., ICCV 2023, equations 7 to 12).

    The pixels of a class are grouped into K parts by the most similar of the K
    prototypes of their class. The mean embedding of each part of each image enters the
    queue of its class and part. An anchor v of class c and part k is compared with one
    random key of its queue and with N random ones of other queues:

    .. math:: L = \frac1C \sum_c \frac1{|A_c|} \sum_{v \in A_c} -\log
              \frac{e^{\cos(v, v^+) / \sigma}}
              {e^{\cos(v, v^+) / \sigma} + \sum_n e^{\cos(v, v^-_n) / \sigma}}

    Queues of other parts of the same class are negatives too. An anchor without a
    positive or without any negative adds 0.

    It is the contrast of :class:`~mmsemiseg.models.segmentors.ESL`, which gives it the
    teacher's view. ``feature`` is a pair of layers: that of the embeddings, and that of
    the parts.

    Args:
        weight: Weight of the loss.
        num_parts: Number K of parts of a class.
        temperature: Temperature sigma > 0.
        threshold: Confidence zeta in [0, 1] above which an unlabeled pixel may be an
            anchor.
        anchor_share: Share of these pixels of a class that are anchors, in (0, 1].
        anchor_scope: Pixels that the share and the mean of a class are over: those of
            the ``'batch'``, or of each ``'image'``.
        max_anchors: Largest number of anchors of a class in its scope; None: no limit.
        num_negatives: Number N of negatives of an anchor.
        negatives: Whether the anchors of a ``'part'`` share one draw of negatives in a
            step, or each ``'anchor'`` has a draw of its own, which takes several times
            the time and memory.
        exclude_same_class: Whether other parts of the anchor's class are no negatives.
        part_threshold: Least confidence, in [0, 1], of the unlabeled pixels in the
            means of parts.
        prototype_grid: Cells over which the means for the prototypes are taken: those
            of the ``'encoder'``, or those of the ``'embedding'``, to which the features
            are enlarged.
        enqueue: When the means of a step enter the queues: ``'after'`` the loss, or
            ``'before'`` it, so that a positive may be of the anchor's own image.
        projector: Head that makes embeddings of features, such as :class:`ConvBlocks`
            or :class:`ProjectionHead`, with an EMA copy for the teacher; one of your
            own has an attribute ``channels``. None: the features are the
            embeddings.
        bank: Settings of the :class:`ClassQueueBank`.
        prototypes: Settings of the :class:`PartPrototypes`.
    """

    def __init__(
        self,
        model,
        weight: float = 0.1,
        num_parts: int = 5,
        temperature: float = 0.5,
        threshold: float = 0.95,
        anchor_share: float = 0.1,
        anchor_scope: str = 'batch',
        max_anchors: int | None = None,
        num_negatives: int = 255,
        negatives: str = 'part',
        exclude_same_class: bool = False,
        part_threshold: float = 0.0,
        prototype_grid: str = 'encoder',
        enqueue: str = 'after',
        projector: dict | None = PROJECTOR,
        bank: dict = BANK,
        prototypes: dict = PROTOTYPES,
    ) -> None:
        super().__init__()
        check_numbers(weight=weight)
        check_integers(1, num_parts=num_parts, num_negatives=num_negatives)
        if max_anchors is not None:
            check_integers(1, max_anchors=max_anchors)
        if not temperature > 0:
            raise ValueError(f'temperature must be > 0, but got {temperature}')
        if not 0 < anchor_share <= 1:
            raise ValueError(f'anchor_share must be in (0, 1], but got {anchor_share}')
        check_numbers(1, threshold=threshold, part_threshold=part_threshold)
        check_choices(
            anchor_scope=(anchor_scope, ('batch', 'image')),
            negatives=(negatives, ('part', 'anchor')),
            prototype_grid=(prototype_grid, ('encoder', 'embedding')),
            enqueue=(enqueue, ('after', 'before')),
        )
        widths = model.feature_channels
        if not isinstance(widths, tuple) or len(widths) != 2:
            raise ValueError(
                'feature must be a pair of layers, of the embeddings and of the parts, '
                "such as ('pre_cls', -1)"
            )
        if not getattr(model, 'views_parts', False):
            raise ValueError(
                "type='PartContrast' needs a method that shows it the teacher's view: "
                f'ESL, but got {type(model).__name__}'
            )
        self.num_classes = model.num_classes
        self.num_parts = num_parts
        self.weight = weight
        self.temperature = temperature
        self.threshold = threshold
        self.anchor_share = anchor_share
        self.anchor_scope = anchor_scope
        self.max_anchors = max_anchors
        self.num_negatives = num_negatives
        self.negatives = negatives
        self.exclude_same_class = exclude_same_class
        self.part_threshold = part_threshold
        self.prototype_grid = prototype_grid
        self.enqueue = enqueue
        width, part_width = widths
        if projector is not None:
            head = build_part(
                projector, 'projector', width, default=PROJECTOR, base=nn.Module
            )
            self.head_pairs.append(model.make_pair(head))
            width = head.channels
        self.bank = build_part(
            bank,
            'bank',
            default=BANK,
            base=ClassQueueBank,
            groups=self.num_classes * num_parts,
            dim=width,
        )
        self.prototypes = build_part(
            prototypes,
            'prototypes',
            default=PROTOTYPES,
            base=PartPrototypes,
            classes=self.num_classes,
            parts=num_parts,
            dim=part_width,
        )

    @property
    def has_memory(self) -> bool:
        return True

    def unready_classes(self) -> list[int]:
        """Classes of which no queue has a key."""
        some = self.bank.count.view(self.num_classes, -1).any(1)
        return (~some).nonzero()[:, 0].tolist()

    # Parts

    @stage('parts')
    @torch.no_grad()
    def read(self, model, *views: PartView) -> Parts:
        """Parts of the cells of the teacher's views.

        What the step enters into queues and prototypes is left for the hook.
        """
        maps, rows, groups, sums, counts, begin = [], [], [], [], [], []
        for view in views:
            feature, deep = view.output.features
            embedding = self._embed(feature, 'teacher')
            group = self._parts(model, deep, view.label, embedding.shape[2:])
            maps.append(group)
            trusted = _trusted(view, self.part_threshold)
            means, count = part_sums(
                embedding, group.where(at_cells(trusted, group.shape[1:]), -1), self._g
            )
            numbers = torch.arange(self._g, device=group.device)
            rows.append((means / count.clamp(min=1)[..., None]).flatten(0, 1))
            groups.append(numbers.where(count > 0, -1).flatten())
            if self.prototype_grid == 'encoder':
                cells = deep.shape[2:]
                part = self._parts(model, deep, view.label, cells)
                total, count = part_sums(
                    deep, part.where(at_cells(trusted, cells), -1), self._g
                )
                total, count = total.sum(0), count.sum(0)
            else:
                total, count = self._enlarged_sums(
                    model, deep, group.where(at_cells(trusted, group.shape[1:]), -1)
                )
            sums.append(total)
            counts.append(count)
            begin.append(self._beginning(view, deep))
        kept = dict(
            features=F.normalize(torch.cat(rows), dim=1),
            group=torch.cat(groups),
            sums=torch.stack(sums).sum(0, keepdim=True),
            counts=torch.stack(counts).sum(0, keepdim=True),
        )
        if begin[0] is not None:
            first, label = zip(*begin, strict=True)
            kept.update(first=torch.cat(first), first_label=torch.cat(label))
        model.remember(self, **kept)
        return Parts(maps, kept['features'], kept['group'])

    @property
    def _g(self) -> int:
        return self.num_classes * self.num_parts

    def _embed(self, feature: Tensor, network: str) -> Tensor:
        if not len(self.head_pairs):
            return feature
        return getattr(self.head_pairs[0], network)(feature)

    def _parts(self, model, deep: Tensor, label: Tensor, cells) -> Tensor:
        return assign_parts(
            deep,
            self.prototypes.vectors,
            at_cells(label, cells),
            label.shape[1:],
            self.prototypes.known,
            model.align_corners,
        )

    def _enlarged_sums(self, model, deep: Tensor, group: Tensor):
        """Sums and numbers of parts over cells to which the features are enlarged."""
        total = deep.new_zeros(self._g, deep.shape[1], dtype=torch.float32)
        number = total.new_zeros(self._g)
        for image, of in zip(deep.split(1), group.split(1), strict=True):
            image = model.upsampled(image, of)  # memory of one image
            sums, count = part_sums(image, of, self._g)
            total += sums[0]
            number += count[0]
        return total, number

    def _beginning(self, view: PartView, deep: Tensor):
        """Some features of classes that have no prototypes yet; None: there are none.

        Of unlabeled images only confident pixels.
        """
        if self.prototypes.complete:
            return None
        label = view.label.where(_trusted(view, self.threshold), -1)
        label = at_cells(label, deep.shape[2:]).flatten()
        begun = self.prototypes.known.any(1)
        label = label.masked_fill(begun[label.clamp(min=0)], -1)
        generator = Generator().manual_seed(0)  # the random numbers of a step stay
        score = torch.rand(len(label), generator=generator).to(label.device)
        index, label = select_per_group(label, self.num_classes, BEGINNING, score)
        places = valid_indices(label >= 0)
        index, label = take_rows(index, places), take_rows(label, places)
        return to_rows(deep.float())[index], label

    def update_memory(
        self,
        features: Tensor,
        group: Tensor,
        sums: Tensor,
        counts: Tensor,
        first: Tensor | None = None,
        first_label: Tensor | None = None,
    ) -> None:
        """Enter what all batches and processes left in :meth:`read`."""
        self.bank.enqueue(features, group)
        self.prototypes.update(sums.sum(0), counts.sum(0))
        if first is not None:
            self.prototypes.begin(first, first_label)

    @torch.no_grad()
    def prototype_features(self, model, batch: Batch) -> tuple[Tensor, Tensor]:
        """Features (n, D) of the teacher's encoder for labeled images, and classes."""
        deep = model.adapter(model.teacher, batch.inputs).features[1]
        label = PartView.of_labels(model, None, batch).label
        return to_rows(deep), at_cells(label, deep.shape[2:]).flatten()

    # Loss

    def forward(
        self,
        model,
        labeled: Batch,
        passes: list[Pass],
        pseudo: list[PseudoLabel],
        parts: Parts,
    ) -> dict[str, Tensor]:
        """The weighted loss ``loss_ctr``.

        Args:
            parts: Parts of the labeled images, and of the unlabeled ones as they were
                mixed.
        """
        labeled_map, unlabeled_map = parts.maps
        confidence = at_cells(pseudo[0].confidence, unlabeled_map.shape[1:])
        unlabeled_map = unlabeled_map.where(confidence > self.threshold, -1)
        anchors, group, scope, scopes = self._anchors(
            passes[0], [labeled_map, unlabeled_map]
        )
        bank = self.bank
        if self.enqueue == 'before':
            bank = bank.preview(parts.means, parts.group)
        negatives, positive = self._logits(anchors, group, bank)
        scope = scope.where(negatives > -torch.inf, -1)
        loss = class_mean(info_nce(negatives, positive), scope, scopes)
        return dict(loss_ctr=self.weight * loss)

    def _anchors(self, outputs: Pass, maps: list[Tensor]):
        """Anchors (A, D), their part and class in its scope, and number of these."""
        embeddings = [self._embed(one.features[0], 'student') for one in outputs]
        group = torch.cat([one.flatten() for one in maps])
        label = torch.div(group, self.num_parts, rounding_mode='floor')
        scopes = self.num_classes
        if self.anchor_scope == 'image':
            number = sum(map(len, maps))
            images = torch.arange(number, device=group.device)
            cells = [images.new_full((len(m),), m[0].numel()) for m in maps]
            image = images.repeat_interleave(torch.cat(cells), output_size=len(group))
            label = torch.where(label < 0, -1, image * scopes + label)
            scopes *= number
        index, scope = draw_anchors(label, scopes, self.anchor_share, self.max_anchors)
        places = valid_indices(scope >= 0)
        index, scope = take_rows(index, places), take_rows(scope, places)
        rows = F.normalize(_cells(embeddings, index).float(), dim=1)
        return rows, group[index].where(scope >= 0, -1), scope, scopes

    def _logits(self, anchors: Tensor, group: Tensor, bank: ClassQueueBank):
        """Logsumexp (A,) over negatives, and the logit (A,) of the positive.

        The former is -inf where there is no positive or no negative.
        """
        keys, filled = bank.features.flatten(0, 1), bank.filled()
        left_out = self.num_parts if self.exclude_same_class else 1
        positive = draw_positives(filled, group)
        if self.negatives == 'part':
            index = draw_shared_negatives(filled, self.num_negatives, left_out)
            negatives = shared_logsumexp(anchors, group, keys, index, self.temperature)
        else:
            index = draw_own_negatives(filled, group, self.num_negatives, left_out)
            negatives = sampled_logsumexp(anchors, keys, index, self.temperature)
        logit = paired_logit(anchors, keys[positive.clamp(min=0)], self.temperature)
        return negatives.where(positive >= 0, -torch.inf), logit


def _trusted(view: PartView, threshold: float) -> Tensor:
    """Mask (N, H, W) of the pixels whose class is given or confident."""
    if view.confidence is None:
        return torch.ones_like(view.label, dtype=torch.bool)
    return view.confidence >= threshold


def _cells(maps: list[Tensor], index: Tensor) -> Tensor:
    """Rows of the cells of all maps (N, D, h, w), numbered one map after the other."""
    sizes = [len(one) * one[0, 0].numel() for one in maps]
    found, start = None, 0
    for one, size in zip(maps, sizes, strict=True):
        inside = (index >= start) & (index < start + size)
        place = (index - start) % size  # others spread out, for the backward pass
        area = size // len(one)
        rows = one.flatten(2).transpose(1, 2)[place // area, place % area]
        found = rows if found is None else torch.where(inside[:, None], rows, found)
        start += size
    return found
