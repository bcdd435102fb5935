"""Contrast with positives alone, from a class-wise memory bank (CMB)."""

import torch
from mmengine.model import ModuleList
from mmseg.registry import MODELS
from torch import Tensor

from ...functional import PseudoLabel, drop_unlabeled, weighted_cosine
from ...utils.profiling import stage
from ...utils.settings import check_choices, check_integers, check_numbers
from ..data_preprocessor import Batch
from ..heads import BankContrastHead
from ..memories import ClassQueueBank
from ..parts import build_part
from .bank_candidates import Candidates, LabeledCandidates, labeled_cells
from .base import Contrast, Pass

BANK = dict(type='ClassQueueBank', size=256)
CANDIDATES = dict(type='LabeledCandidates')


@MODELS.register_module()
class BankContrast(Contrast):
    """Pulls features to features of their class in a bank (Alonso et al., ICCV 2021).

    ``loss_contrast = weight * (contrast(labeled) + contrast(unlabeled))``

    The bank holds projected features of well predicted labeled pixels. The student's
    features go through a projector and a predictor; the loss is the cosine distance of
    the result to the bank's rows of the same class, weighted by attention on both
    sides. There are no negatives. In a method with several pairs of student and teacher
    each pair i has heads, a bank and a ``loss_contrast<i>`` of its own.

    Args:
        model: Method that has this component, and that gives the features.
        weight: Weight of each contrastive term.
        start: First iteration with the contrast.
        joint: Whether labeled and unlabeled features share one contrastive term, a mean
            over all of them; False makes one term of each.
        attention: Whether attention modules weigh the student's features; False weighs
            all alike, and the bank's rows too.
        memory_attention: Whether attention modules weigh the bank's rows; False weighs
            all rows alike.
        attention_input: What the attention on the bank's rows sees: the rows as they
            are stored, ``'raw'``, or scaled to length 1, ``'unit'``.
        proj_hidden: Width of the hidden layers of projector and predictor.
        proj_channels: Width of the vectors that are compared, which the bank stores.
        bank: Settings of the :class:`ClassQueueBank`: its ``size``, the number of rows
            of each class, at least 2.
        candidates: Settings of the :class:`LabeledCandidates`, which chooses what
            enters the bank.
        init_cfg: Initialisation in MMEngine's form.
    """

    def __init__(
        self,
        model,
        weight: float = 0.1,
        start: int = 2000,
        joint: bool = False,
        attention: bool = True,
        memory_attention: bool = True,
        attention_input: str = 'raw',
        proj_hidden: int = 256,
        proj_channels: int = 256,
        bank: dict = BANK,
        candidates: dict = CANDIDATES,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_numbers(weight=weight)
        check_integers(0, start=start)
        check_integers(1, proj_hidden=proj_hidden, proj_channels=proj_channels)
        check_choices(attention_input=(attention_input, ('raw', 'unit')))
        self.candidates = build_part(
            candidates, 'candidates', default=CANDIDATES, base=LabeledCandidates
        )
        _check_candidates(self.candidates, attention, model.teacher is not None)
        if not isinstance(model.feature_channels, int):
            raise ValueError(
                'feature must be one layer, but several were given, of the widths '
                f'{model.feature_channels}'
            )
        self.weight = weight
        self.start = start
        self.joint = joint
        self.attention = attention
        self.memory_attention = attention and memory_attention
        self.banks = ModuleList()
        for _ in model.pairs:
            head = BankContrastHead(
                model.feature_channels,
                model.num_classes,
                proj_hidden,
                proj_channels,
                self._selectors(),
                unit_keys=attention_input == 'unit',
            )
            if not self.memory_attention and 'projection' in head.attention:
                head.attention['projection'].requires_grad_(False)  # only ranks
            self.head_pairs.append(model.make_pair(head))
            sizes = dict(groups=model.num_classes, dim=proj_channels)
            queues = build_part(
                bank, 'bank', default=BANK, base=ClassQueueBank, **sizes
            )
            check_integers(2, **{'bank.size': queues.size})
            self.banks.append(queues)

    def _selectors(self) -> tuple[str, ...]:
        """Names of the attention modules that these settings use."""
        ranked = self.attention and self.candidates.rank != 'random'
        used = dict(
            prediction=self.attention,
            projection=self.memory_attention
            or (ranked and self.candidates.rank_by == 'projection'),
        )
        return tuple(name for name, is_used in used.items() if is_used)

    def forward(
        self,
        model,
        labeled: Batch,
        passes: list[Pass],
        pseudo: list[PseudoLabel],
        target: Batch | None = None,
    ) -> dict[str, Tensor]:
        target = labeled if target is None else target
        losses = {}
        for i, (one, own) in enumerate(zip(passes, pseudo, strict=True)):
            heads, bank = self.head_pairs[i], self.banks[i]
            new = self.candidates(model, i, heads, target, bank)
            names = {f'{name}{i}': rows for name, rows in new._asdict().items()}
            model.remember(self, **names)
            loss = self.compared(
                i,
                labeled_cells(model, one.labeled.features, labeled.labels),
                labeled_cells(model, one.unlabeled.features, own.label),
                new=new,
                started=model.iteration >= self.start,
            )
            losses[model.pairs.numbered('loss_contrast', i)] = self.weight * loss
        return losses

    def compared(
        self,
        index: int,
        *cells: tuple[Tensor, Tensor],
        new: Candidates,
        started: bool = True,
    ) -> Tensor:
        """Contrast of features with the bank of a pair, as it will be after this step.

        The ``new`` candidates of this step are entered into a copy of the bank, which
        the features are compared with.
        """
        head = self.head_pairs[index].student
        if not started:
            return _zero(head, cells[0][0])
        bank = self.banks[index].preview(new.features, new.label)
        keys, filled = bank.features, bank.filled()
        key_weights = head.key_weights(keys, filled) if self.memory_attention else None
        if self.joint:
            cells = (tuple(map(torch.cat, zip(*cells, strict=True))),)
        loss = 0
        for part in cells:
            (rows, label), mask = drop_unlabeled(*part)
            vectors = head(rows, mask)
            weights = None
            if self.attention:
                weights = head.attention['prediction'](vectors, label)
            with stage('contrast loss'):
                loss = loss + weighted_cosine(
                    vectors, label, keys, filled, weights, key_weights
                )
        return loss

    @property
    def has_memory(self) -> bool:
        return True

    def unready_classes(self) -> list[int]:
        """Classes with fewer than two rows in a bank: their contrast is 0."""
        few = torch.stack([bank.count < 2 for bank in self.banks]).any(0)
        return few.nonzero().flatten().tolist()

    def update_memory(self, **rows: Tensor) -> None:
        """Enter the candidates of all batches of a step, the best of a class last."""
        for i, bank in enumerate(self.banks):
            new = Candidates(*(rows[f'{name}{i}'] for name in Candidates._fields))
            order = new.rank.sort(stable=True, descending=True).indices
            bank.enqueue(new.features[order], new.label[order])


def _check_candidates(
    candidates: LabeledCandidates, attention: bool, with_teacher: bool
) -> None:
    if not attention and candidates.rank != 'random':
        raise ValueError(
            "attention=False leaves nothing to rank by: set candidates.rank='random', "
            f'but got {candidates.rank!r}'
        )
    if candidates.network == 'teacher' and not with_teacher:
        raise ValueError(
            "candidates.network must be 'student' in a method without teacher, but "
            "got 'teacher'"
        )


def _zero(head: BankContrastHead, rows: Tensor) -> Tensor:
    """A loss of 0 with the parameters in the graph, for distributed training."""
    return rows.sum() * 0 + sum(0 * param.sum() for param in head.parameters())
