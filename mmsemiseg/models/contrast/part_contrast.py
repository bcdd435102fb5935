"""ESL's contrast: cells with the means of object parts."""

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import PseudoLabel, at_cells, class_mean, info_nce, to_rows
from ...utils.gather import gather_rows
from ...utils.profiling import stage
from ...utils.settings import check_choices, check_integers, check_numbers
from ..data_preprocessor import Batch
from ..heads import split_head
from ..memories import ClassQueueBank, PartPrototypes
from ..parts import build_part
from .base import Contrast, Pass
from .part_anchors import part_anchors
from .part_features import read_parts
from .part_keys import part_logits
from .part_view import Parts, PartView

BANK = dict(type='ClassQueueBank', size=128)
PROTOTYPES = dict(type='PartPrototypes', decay=0.99)
PROJECTOR = dict(type='ConvBlocks', channels=512)


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
        model: Method that has this component, and that gives the features.
        weight: Weight of the loss.
        num_parts: Number K of parts of a class.
        temperature: Temperature sigma > 0.
        threshold: Confidence zeta in [0, 1] above which an unlabeled pixel may be an
            anchor.
        anchor_share: Share, in (0, 1], of the labeled pixels of a class, and of the
            unlabeled ones above ``threshold``, that are anchors.
        anchor_scope: Whether ``anchor_share``, ``max_anchors`` and the mean over the
            anchors of a class are those of the whole ``'batch'``, or of each
            ``'image'``.
        max_anchors: Largest number of anchors of a class; None: no limit.
        num_negatives: Number N of negatives of an anchor.
        negatives: Which anchors share a draw of negatives: ``'part'``, all those of
            one part; or ``'anchor'``, none, which takes several times the time and
            memory.
        exclude_same_class: Whether negatives are taken from queues of other classes
            alone, and not from those of other parts of the anchor's class.
        part_threshold: Confidence in [0, 1] below which an unlabeled pixel is left out
            of the means of parts.
        prototype_grid: Resolution at which features are averaged for the prototypes:
            that of the ``'encoder'``, or that of the ``'embedding'``, for which the
            encoder's features are enlarged.
        enqueue: When a step's means of parts enter the queues: ``'after'`` the loss; or
            ``'before'`` it, those of all processes, so that the positive of an anchor
            may be of its own image.
        projector: Settings of the head that makes embeddings of features, such as
            :class:`ConvBlocks` or :class:`ProjectionHead`. The teacher has an EMA copy
            of it. A head of your own needs an attribute ``channels``, the width of the
            embeddings; as a :class:`~mmsemiseg.models.heads.SplitHead` its end sees
            nothing but the anchors and the means of parts. None: the features are the
            embeddings.
        bank: Settings of the :class:`ClassQueueBank`, which has a queue for each part
            of each class.
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

    # The teacher's view

    @stage('parts')
    @torch.no_grad()
    def read(self, model, *views: PartView) -> Parts:
        """Object parts of the teacher's views.

        What the step enters into queues and prototypes is left for the hook.
        """
        features = [view.features[0] for view in views]
        parts, rows = read_parts(
            views,
            *split_head(self.head('teacher'), features, linear=True),
            self.prototypes,
            self.part_threshold,
            self.threshold,
            self.prototype_grid,
            model.align_corners,
        )
        model.remember(self, **rows)
        return parts

    def head(self, network: str) -> nn.Module | None:
        """The projector of the ``'student'`` or the ``'teacher'``."""
        return getattr(self.head_pairs[0], network) if len(self.head_pairs) else None

    def embed(self, feature: Tensor, network: str) -> Tensor:
        """Embeddings of all cells, by that projector."""
        head = self.head(network)
        return feature if head is None else head(feature)

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
        if first is not None and len(first):
            self.prototypes.begin(first, first_label)

    @torch.no_grad()
    def prototype_features(self, model, batch: Batch) -> tuple[Tensor, Tensor]:
        """Features (n, D) of the teacher's encoder for labeled images, and classes."""
        deep = model.adapter.features(model.teacher, batch.inputs, only=1)
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
        features = [one.features[0] for one in passes[0]]
        anchors = part_anchors(
            *split_head(self.head('student'), features),
            [labeled_map, unlabeled_map],
            self.num_classes,
            self.num_parts,
            self.anchor_share,
            self.max_anchors,
            per_image=self.anchor_scope == 'image',
        )
        bank = self.bank
        if self.enqueue == 'before':
            bank = bank.preview(gather_rows(parts.means), gather_rows(parts.group))
        negatives, positive = part_logits(
            anchors.rows,
            anchors.part,
            bank,
            self.temperature,
            self.num_negatives,
            shared=self.negatives == 'part',
            queues_left_out=self.num_parts if self.exclude_same_class else 1,
        )
        scope = anchors.scope.where(negatives > -torch.inf, -1)
        loss = class_mean(info_nce(negatives, positive), scope, anchors.number)
        return dict(loss_ctr=self.weight * loss)
