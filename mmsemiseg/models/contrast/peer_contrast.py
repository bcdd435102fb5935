"""Contrast of pairs: with the bank of a pair, and with a surer student (CTT)."""

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import PseudoLabel
from ...utils.profiling import stage
from ...utils.settings import check_choices, check_integers, check_numbers
from ..adapter import SegmentorOutput
from ..data_preprocessor import Batch
from ..heads import ProjectionHead
from ..losses import Anchors, Keys, PeerContrastLoss, ready_together
from ..memories import ClassQueueBank
from ..parts import build_part
from .base import Contrast, Pass
from .peer_banks import PeerBanks
from .peer_cells import PeerCells

BANK = dict(type='ClassQueueBank', size=128)
PROJECTOR = dict(type='ProjectionHead')


@MODELS.register_module()
class PeerContrast(Contrast):
    """High- and low-level contrast (Xiao et al., Neurocomputing 2022).

    ``loss_hc = hc_weight * high_level`` and ``loss_lc = lc_weight * low_level`` of each
    student (see :class:`~mmsemiseg.models.losses.PeerContrastLoss`). Each pair has a
    bank with features of labeled cells that its teacher, or its student, predicts
    correctly. Confident cells of a student are compared with the bank of its pair, an
    unsure cell with the same cell of another student that is more confident.

    Args:
        model: Method that has this component, and that gives the features.
        hc_weight: Weight of the high-level contrast.
        lc_weight: Weight of the low-level contrast, which needs a second student; 0
            with one pair.
        temperature: Temperature tau, above 0.
        threshold: Confidence phi in [0, 1] between the levels: cells (positions of the
            feature map) above it are at the high level, all others at the low level.
        lc_direction: Whether a low-level cell learns only from a more confident peer;
            False lets it learn from less confident ones too.
        lc_class: Class whose keys are no negatives of a low-level cell: the cell's
            ``'own'`` one, or that of the same cell of the ``'peer'``. In the mean over
            the classes the cell always counts for its own class.
        lc_reduce: Reduction, ``'mean'`` or ``'sum'``, over the other students.
        norm: Divisor of each class: the number of ``'all'`` its anchors, or of the
            ``'masked'`` ones, those that contribute to the loss.
        read_at: Where a network's class and confidence for a cell are read. A cell has
            the label of one pixel, the nearest. ``'pixel'`` reads the logits, enlarged
            to the image, at that same pixel; ``'cell'`` reads them at the position of
            the cell.
        anchor_label: Class of a cell. ``'label'``: the label, or the student's own
            argmax where there is no label; ``'self'``: always the student's argmax;
            ``'pseudo'``: the label, or where there is none the pseudo label that the
            student learns (of several the first).
        normalize: Whether features are scaled to unit length before they are compared;
            a projector's output always is.
        projector: Settings of a :class:`ProjectionHead` in front of the contrast; None:
            the features themselves are compared.
        max_anchors: Number of cells that are drawn for the contrast; None: all cells.
        bank: Settings of the :class:`ClassQueueBank` of each pair: its ``size``, the
            number N of features of each class.
        ready: When the contrast with a bank may begin: ``'all'``, for all classes when
            every queue of the bank is full; ``'any'``, for all classes when one queue
            is full; ``'class'``, for each class when its own queue is full.
        levels_begin: Which banks a level waits for. ``'together'``: both levels of all
            students wait for the banks of all pairs. ``'apart'``: the high level of a
            student waits for the bank of its pair, the low level for those of both
            students.
        enqueue_number: Number k of features of a class that enter a bank in a step, of
            all batches and processes together. ``'labeled/size'``: the number of
            labeled images / N; ``'size/labeled'``: N / that number; both rounded down
            and at least 1.
        enqueue_select: Correctly predicted features that enter a bank: ``'top'``, the
            most confident ones, or ``'random'`` ones.
        keys_from: Network of a pair whose features enter its bank: the ``'teacher'``,
            in a pass of its own, or the ``'student'``, in the pass that it learns.
    """

    def __init__(
        self,
        model,
        hc_weight: float = 0.1,
        lc_weight: float = 0.1,
        temperature: float = 0.5,
        threshold: float = 0.75,
        lc_direction: bool = True,
        lc_class: str = 'own',
        lc_reduce: str = 'mean',
        norm: str = 'all',
        read_at: str = 'pixel',
        anchor_label: str = 'label',
        normalize: bool = True,
        projector: dict | None = None,
        max_anchors: int | None = None,
        bank: dict = BANK,
        ready: str = 'all',
        levels_begin: str = 'together',
        enqueue_number: int | str = 'labeled/size',
        enqueue_select: str = 'top',
        keys_from: str = 'teacher',
    ) -> None:
        super().__init__()
        check_choices(
            lc_class=(lc_class, ('own', 'peer')),
            lc_reduce=(lc_reduce, ('mean', 'sum')),
            levels_begin=(levels_begin, ('together', 'apart')),
            keys_from=(keys_from, ('teacher', 'student')),
        )
        check_integers(1, max_anchors=1 if max_anchors is None else max_anchors)
        if projector is not None and not normalize:
            raise ValueError(
                'normalize must be True with a projector, whose vectors have unit '
                f'length, but got {normalize}'
            )
        if keys_from == 'teacher' and model.teacher is None:
            raise ValueError(
                "keys_from must be 'student' in a method without teachers, but got "
                "'teacher'"
            )
        self.loss = PeerContrastLoss(
            model.num_classes, temperature, threshold, lc_direction, norm
        )
        _check_levels(len(model.pairs), threshold, hc_weight, lc_weight)
        self.hc_weight = hc_weight
        self.lc_weight = lc_weight
        self.lc_class = lc_class
        self.lc_reduce = lc_reduce
        self.cells = PeerCells(model, read_at, anchor_label, normalize)
        self.max_anchors = max_anchors
        self.levels_begin = levels_begin
        self.keys_from = keys_from
        self.banks = PeerBanks(
            [self._make_bank(model, bank, projector) for _ in model.pairs],
            ready,
            enqueue_number,
            enqueue_select,
        )

    def _make_bank(self, model, bank: dict, projector: dict | None) -> ClassQueueBank:
        """A bank, and the projector in front of it."""
        width = model.feature_channels
        if not isinstance(width, int):
            raise ValueError(
                'feature must be one layer, but several were given, with the widths '
                f'{width}'
            )
        head = build_part(
            projector,
            'projector',
            default=PROJECTOR,
            base=ProjectionHead,
            in_channels=width,
        )
        if head is not None:
            self.head_pairs.append(model.make_pair(head))
            width = head.channels
        sizes = dict(groups=model.num_classes, dim=width)
        return build_part(bank, 'bank', default=BANK, base=ClassQueueBank, **sizes)

    def forward(
        self,
        model,
        labeled: Batch,
        passes: list[Pass],
        pseudo: list[PseudoLabel],
        target: Batch | None = None,
    ) -> dict[str, Tensor]:
        rows = [
            self.candidates(model, index, labeled, one.labeled)
            if target is None
            else self.candidates(model, index, target)
            for index, one in enumerate(passes)
        ]
        for index, new in enumerate(rows):
            names = {f'{name}{index}': value for name, value in new.items()}
            model.remember(self, **names)
        keys = [self.banks.keys(index, new) for index, new in enumerate(rows)]
        if self.levels_begin == 'together':
            keys = ready_together(keys)
        anchors = [
            self.anchors(index, labeled, *both)
            for index, both in enumerate(zip(passes, pseudo, strict=True))
        ]
        anchors = self.drawn(anchors)
        losses = {}
        for index, mine in enumerate(anchors):
            if self.hc_weight:
                high = self.loss.high_level(mine, keys[index])
                name = model.pairs.numbered('loss_hc', index)
                losses[name] = self.hc_weight * high
            if self.lc_weight:
                name = model.pairs.numbered('loss_lc', index)
                losses[name] = self.lc_weight * self.low_level(index, anchors, keys)
        return losses

    def low_level(self, index: int, anchors: list[Anchors], keys: list[Keys]) -> Tensor:
        """Low-level contrast of one student with all others."""
        terms = [
            self.loss.low_level(
                anchors[index],
                peer,
                [keys[index], keys[other]],
                peer.label if self.lc_class == 'peer' else None,
            )
            for other, peer in enumerate(anchors)
            if other != index
        ]
        total = sum(terms)
        return total / len(terms) if self.lc_reduce == 'mean' else total

    # Anchors

    def anchors(
        self, index: int, labeled: Batch, one: Pass, pseudo: PseudoLabel
    ) -> Anchors:
        """Anchors of a student: cells of the labeled, then of the unlabeled images."""
        return self.cells.anchors(self._head(index, 'student'), labeled, one, pseudo)

    def drawn(self, anchors: list[Anchors]) -> list[Anchors]:
        """At most ``max_anchors`` random cells, the same ones for all students."""
        number = len(anchors[0].label)
        if self.max_anchors is None or self.max_anchors >= number:
            return anchors
        index = torch.randperm(number)[: self.max_anchors]
        index = index.to(anchors[0].label.device, non_blocking=True)
        return [Anchors(*(x[index] for x in one)) for one in anchors]

    def _head(self, index: int, network: str) -> nn.Module | None:
        """The projector of a pair's student or teacher, if there are projectors."""
        return getattr(self.head_pairs[index], network) if self.head_pairs else None

    # Banks

    @torch.no_grad()
    @stage('candidates')
    def candidates(
        self,
        model,
        index: int,
        labeled: Batch,
        learned: SegmentorOutput | None = None,
    ) -> dict[str, Tensor]:
        """Features of correctly predicted labeled cells, their label (or -1), score.

        Args:
            model: Method that has this component.
            index: Number of the pair.
            labeled: Labeled images.
            learned: Output of the student for them, in the pass that it learns; None:
                the student does not learn them.
        """
        output = learned
        if self.keys_from == 'teacher' or learned is None:
            network = getattr(model.pairs[index], self.keys_from)
            output = model.adapter(network, labeled.inputs)
        head = self._head(index, self.keys_from)
        return self.banks.chosen(*self.cells.correct(head, labeled, output))

    def set_stream_sizes(
        self, images: dict[str, int], batch_sizes: dict[str, int]
    ) -> None:
        """Called before training with the images and the batch size of each stream."""
        self.banks.num_labeled = images['labeled']

    @property
    def reads_pseudo(self) -> bool:
        return self.cells.anchor_label == 'pseudo'

    @property
    def has_memory(self) -> bool:
        return True

    def update_memory(self, **rows: Tensor) -> None:
        self.banks.enqueue(**rows)

    def unready_classes(self) -> list[int]:
        return self.banks.unready_classes()


def _check_levels(
    pairs: int, threshold: float, hc_weight: float, lc_weight: float
) -> None:
    """Each level that is weighted needs cells, the low one a second student."""
    check_numbers(hc_weight=hc_weight, lc_weight=lc_weight)
    if not hc_weight and not lc_weight:
        raise ValueError(
            'hc_weight must be above 0 with lc_weight=0, but got 0: for no contrast '
            'set contrast=None'
        )
    if pairs == 1 and lc_weight:
        raise ValueError(
            'lc_weight must be 0 with one student, as the low level needs a second '
            f'one, but got {lc_weight}'
        )
    if not lc_weight and threshold >= 1:
        raise ValueError(
            'threshold must be below 1 with lc_weight=0, or no cell is contrasted: the '
            f'high level has those above it, but got {threshold}'
        )
    if not hc_weight and threshold <= 0:
        raise ValueError(
            'threshold must be above 0 with hc_weight=0, or no cell is contrasted: the '
            f'low level has those up to it, but got {threshold}'
        )
