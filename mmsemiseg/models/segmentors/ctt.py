"""CTT: pairs of student and teacher that teach each other."""

from itertools import combinations
from typing import NamedTuple

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...functional import (
    PseudoLabel,
    PseudoLabelStats,
    at_cells,
    classmix_masks,
    cutmix_masks,
    logits_at_cells,
    mix,
    partners,
    pixel_weights,
    pseudo_label,
    pseudo_label_loss,
    pseudo_label_stats,
    schedules,
    select_per_group,
    to_rows,
    valid_labels,
)
from ...utils.settings import check_choices, check_integers, check_numbers
from ..adapter import SegmentorOutput, resize_logits
from ..checkpointing import recomputed
from ..data_preprocessor import Batch
from ..heads import ProjectionHead, unit_length
from ..losses import Anchors, Keys, PeerContrastLoss, ready_together
from ..memories import ClassQueueBank
from ..streams import Streams
from .base import SemiSegmentor
from .ctt_settings import (
    ENQUEUE_RULES,
    check_enqueue_number,
    check_levels,
    check_mutual,
)

TEACHING = ('cross', 'own', 'dual', 'ensemble', 'mutual')
MIXES = (None, 'cutmix', 'classmix')


class Pass(NamedTuple):
    """Outputs of one student for the labeled and for the unlabeled images."""

    labeled: SegmentorOutput
    unlabeled: SegmentorOutput


@MODELS.register_module()
class CTT(SemiSegmentor):
    """Cross teacher training (Xiao et al., Neurocomputing 2022).

    Each student learns the labels and the pseudo labels of the *other* pairs' teachers.
    A contrast of features is added
    (:class:`~mmsemiseg.models.losses.PeerContrastLoss`): confident cells learn from the
    bank of their own pair, unsure cells from another student where that is more
    confident:

    ``loss = sum over pairs of sup_weight * sup + ct_weight * ramp(t) * ct
    + hc_weight * hc + lc_weight * lc``

    Teachers and students may see different views of one geometry. Needs a
    :class:`~mmsemiseg.engine.hooks.MeanTeacherHook` where there are teachers.

    Args:
        num_pairs: Number n of pairs of student and teacher. One pair is a mean teacher.
        teaching: Networks whose pseudo labels a student learns: ``'cross'``, the
            teachers of the other pairs; ``'own'``, the teacher of its own pair, so that
            the pairs are separate; ``'dual'``, all teachers; ``'ensemble'``, the mean
            of all teachers; ``'mutual'``, the other students, without any teacher.
        feature: Layer whose features are compared (see :class:`SegmentorAdapter`).
        mix: Mixing of the unlabeled images, ``'cutmix'`` or ``'classmix'``; None: no
            mixing.
        sup_weight: Weight of the students' supervised losses.
        ct_weight: Weight of the cross entropy with pseudo labels.
        ct_reduce: Reduction, ``'mean'`` or ``'sum'``, over the networks that label for
            a student and, at the low level, over the other students.
        ramp_up: Ramp-up of ``ct_weight``, ``dict(kind='exp'|'linear'|'cosine'|'step',
            length=iterations)``; None: the full weight at once.
        hc_weight: Weight of the high-level contrast.
        lc_weight: Weight of the low-level contrast.
        temperature: Temperature tau of the contrast, above 0.
        threshold: Confidence phi in [0, 1] that parts the levels: cells above it are at
            the high level, all others at the low level.
        lc_direction: Whether a low-level cell learns only from a more confident peer;
            False lets it learn from less confident ones too.
        lc_class: Class whose keys are not negatives of a low-level cell: its ``'own'``,
            or the ``'peer'``'s. Either way the cell counts for its own class in the
            mean over the classes.
        norm: Divisor of each class: ``'all'`` its anchors, or the ``'masked'`` ones
            alone, those that contribute to the loss (see :class:`PeerContrastLoss`).
        read_at: Place where a network's class and confidence for a cell are read.
            ``'pixel'``: in the logits enlarged to the image, at the pixel whose label
            the cell has, so that they belong together. ``'cell'``: in the logits at the
            resolution of the features.
        anchor_label: Class of a cell in the contrast. ``'label'``: the label, or the
            student's own argmax where there is no label; ``'self'``: always the
            student's argmax; ``'teacher'``: the label, or where there is none the
            pseudo label that the student learns from (of several the first).
        normalize: Whether features are scaled to unit length before they are compared;
            a projector's output always is.
        proj_channels: Width of the output of a projector in front of the contrast;
            None: no projector.
        max_anchors: Number of cells that are drawn for the contrast; None: all cells.
        bank_size: Number N of features that the bank of a pair keeps of each class.
        bank_ready: When a bank is ready: when ``'all'`` its queues are full, or
            ``'any'`` one; ``'class'``: for each class when the queue of that class is
            full.
        levels_begin: When the contrast begins. ``'together'``: both levels of all
            students when the banks of all pairs are ready. ``'apart'``: the high level
            of a student when the bank of its own pair is ready, the low level when the
            banks of both students are.
        enqueue_number: Number k of features of a class that enter the bank in a step,
            of all batches and processes together. ``'ratio'``: the number of labeled
            images / N, ``'inverse'``: N / that number, rounded down and at least 1.
        enqueue_select: Correctly predicted features that enter the bank: ``'top'``, the
            most confident ones, or ``'random'`` ones.
        checkpointing: Whether the students' activations are computed again in the
            backward pass instead of being kept, one student after the other.
        load_heads: Whether a checkpoint fills the heads of the first pair; the heads of
            the others always keep their own initial weights.
        views: Names of the teachers' and the students' view in the unlabeled stream.
    """

    reads_streams = (('labeled', 'unlabeled'), ())

    def __init__(
        self,
        student: dict,
        num_pairs: int = 2,
        teaching: str = 'cross',
        feature: str | int = 'pre_cls',
        mix: str | None = None,
        sup_weight: float = 1.0,
        ct_weight: float = 1.0,
        ct_reduce: str = 'mean',
        ramp_up: dict | None = None,
        hc_weight: float = 0.1,
        lc_weight: float = 0.1,
        temperature: float = 0.5,
        threshold: float = 0.75,
        lc_direction: bool = True,
        lc_class: str = 'own',
        norm: str = 'all',
        read_at: str = 'pixel',
        anchor_label: str = 'label',
        normalize: bool = True,
        proj_channels: int | None = None,
        max_anchors: int | None = None,
        bank_size: int = 128,
        bank_ready: str = 'all',
        levels_begin: str = 'together',
        enqueue_number: int | str = 'ratio',
        enqueue_select: str = 'top',
        checkpointing: bool = False,
        load_heads: bool = False,
        views: tuple[str, str] = ('weak', 'strong'),
        teacher: dict | None = None,
        predict_with: str | None = None,
        data_preprocessor: dict | None = None,
    ) -> None:
        check_choices(
            teaching=(teaching, TEACHING),
            mix=(mix, MIXES),
            ct_reduce=(ct_reduce, ('mean', 'sum')),
            lc_class=(lc_class, ('own', 'peer')),
            read_at=(read_at, ('pixel', 'cell')),
            anchor_label=(anchor_label, ('label', 'self', 'teacher')),
            bank_ready=(bank_ready, ('all', 'any', 'class')),
            levels_begin=(levels_begin, ('together', 'apart')),
            enqueue_select=(enqueue_select, ('top', 'random')),
        )
        check_numbers(
            sup_weight=sup_weight,
            ct_weight=ct_weight,
            hc_weight=hc_weight,
            lc_weight=lc_weight,
        )
        check_integers(
            1,
            bank_size=bank_size,
            max_anchors=1 if max_anchors is None else max_anchors,
            proj_channels=1 if proj_channels is None else proj_channels,
        )
        if proj_channels is not None and not normalize:
            raise ValueError(
                'normalize must be True with a projector, whose vectors have unit '
                f'length, but got {normalize}'
            )
        if isinstance(views, str) or len(views) != 2:
            raise ValueError(f'views must be (weak, strong), but got {views!r}')
        if ramp_up is not None:
            schedules.ramp_up(0, **ramp_up)
        if enqueue_number not in ENQUEUE_RULES:
            check_enqueue_number(enqueue_number, bank_size)
        if feature is None:
            raise ValueError('feature must not be None: CTT compares features')
        contrast = hc_weight > 0 or lc_weight > 0
        if teaching == 'mutual':
            check_mutual(num_pairs, teacher, hc_weight, lc_weight)
        if lc_weight > 0 and num_pairs == 1:
            raise ValueError(
                'the low level needs a second student: with num_pairs=1 set '
                f'lc_weight=0, but got {lc_weight}'
            )
        check_levels(threshold, hc_weight, lc_weight)
        first = 'student' if num_pairs == 1 else 'student0'
        super().__init__(
            student,
            teacher=None if teaching == 'mutual' else teacher or {},
            feature=feature,
            predict_with=predict_with or first,
            data_preprocessor=data_preprocessor,
            num_pairs=num_pairs,
            load_heads=load_heads,
        )
        self.teaching = teaching
        self.mix = mix
        self.sup_weight = sup_weight
        self.ct_weight = ct_weight
        self.ct_reduce = ct_reduce
        self.ramp_up = ramp_up
        self.hc_weight = hc_weight
        self.lc_weight = lc_weight
        self.lc_class = lc_class
        self.read_at = read_at
        self.anchor_label = anchor_label
        self.normalize = normalize
        self.max_anchors = max_anchors
        self.bank_ready = bank_ready
        self.levels_begin = levels_begin
        self.enqueue_number = enqueue_number
        self.enqueue_select = enqueue_select
        self.checkpointing = checkpointing
        self.views = tuple(views)
        self.banks = torch.nn.ModuleList()
        self.threshold = threshold
        self.contrast_loss = PeerContrastLoss(
            self.num_classes, temperature, threshold, lc_direction, norm
        )
        if contrast:
            self._make_banks(bank_size, proj_channels, teacher or {})
        self._distinct = self._warned = False

    def _make_banks(self, size: int, proj_channels: int | None, teacher: dict) -> None:
        dim = self.adapter.feature_channels(self.student)
        for _ in self.pairs:
            if proj_channels is not None:
                head = ProjectionHead(dim, proj_channels)
                self.head_pairs.append(self.make_pair(head))
            width = proj_channels or dim
            self.banks.append(ClassQueueBank(self.num_classes, size, width))

    def loss(self, inputs: 'dict | Tensor', data_samples: list | None = None) -> dict:
        if isinstance(inputs, Tensor):
            return super().loss(inputs, data_samples)
        self._check_distinct()
        self.step_outputs = {}
        labeled = inputs['labeled']
        if not self.learns_unlabeled:
            return self.supervised_loss(labeled)
        weak, strong = Streams(inputs).unlabeled(self.views)
        said = self.labels(weak, strong)
        images, said = self.mixed(strong, said)

        losses, passes = {}, []
        for index, pair in enumerate(self.pairs):
            sup, output = self._run(pair.student, self.adapter.loss, *labeled)
            passes.append(Pass(output, self._run(pair.student, self.adapter, images)))
            losses.update(self._named(sup, index))
        if said is None:  # mutual teaching by the passes themselves
            valid = weak.valid & strong.valid
            said = [self._read(one.unlabeled, images, valid) for one in passes]
        weight = self.ct_weight * self.ramp(self.ramp_up)
        for index, one in enumerate(passes if self.ct_weight else ()):
            taught = self.taught(one.unlabeled.logits, self.sources(index, said))
            losses[self._key('loss_ct', index)] = weight * taught
        if self.reads_labels:
            self.step_outputs['pseudo'] = self._stats(said)
        if len(self.banks):
            losses.update(self.contrast(labeled, passes, said))
        return losses

    def supervised_loss(self, labeled: Batch) -> dict:
        """The supervised losses of all students."""
        losses = {}
        for index, pair in enumerate(self.pairs):
            sup, _ = self._run(pair.student, self.adapter.loss, *labeled)
            losses.update(self._named(sup, index))
        return losses

    def unsupervised_loss(self, inputs: dict) -> dict:
        """All losses but the supervised ones."""
        losses = self.loss(inputs)
        return {k: v for k, v in losses.items() if not k.startswith('sup')}

    def _run(self, network: torch.nn.Module, function, *args):
        if self.checkpointing:
            return recomputed(network, function, network, *args)
        return function(network, *args)

    # Pseudo labels

    @property
    def learns_unlabeled(self) -> bool:
        """Whether any loss sees the unlabeled images."""
        return self.ct_weight > 0 or len(self.banks) > 0

    @property
    def filters(self) -> dict:
        """Empty: all pseudo labels are used; ``threshold`` only parts the contrast."""
        return {}

    @property
    def reads_labels(self) -> bool:
        """Whether pseudo labels are used at all, so that a pass for them is needed."""
        anchors = len(self.banks) > 0 and self.anchor_label == 'teacher'
        return self.ct_weight > 0 or anchors or self.mix == 'classmix'

    @torch.no_grad()
    def labels(self, weak: Batch, strong: Batch) -> list[PseudoLabel] | None:
        """One pseudo label per pair; None if mutual teaching reuses training logits."""
        valid = weak.valid & strong.valid
        if not self.reads_labels:
            return [_nothing_said(valid)] * len(self.pairs)
        if self.teaching == 'mutual' and self.mix is None and weak is strong:
            return None
        kind = 'student' if self.teaching == 'mutual' else 'teacher'
        outputs = [self.adapter(getattr(p, kind), weak.inputs) for p in self.pairs]
        if self.teaching != 'ensemble':
            return [self._read(output, weak.inputs, valid) for output in outputs]
        probs = [self._upsampled(one.logits, weak.inputs).softmax(1) for one in outputs]
        mean = torch.stack(probs).mean(0)
        return [pseudo_label(mean.log(), valid)] * len(self.pairs)

    @torch.no_grad()
    def _read(self, output: SegmentorOutput, images: Tensor, valid: Tensor):
        return pseudo_label(self._upsampled(output.logits, images), valid)

    def _upsampled(self, logits: Tensor, images: Tensor) -> Tensor:
        return resize_logits(logits.float(), images.shape[-2:], self.align_corners)

    def mixed(
        self, strong: Batch, said: list[PseudoLabel] | None
    ) -> tuple[Tensor, list[PseudoLabel] | None]:
        """Mixed images for all pairs alike; ClassMix uses the first pseudo label."""
        if self.mix is None:
            return strong.inputs, said
        n, _, height, width = strong.inputs.shape
        if n == 1:
            if not self._warned:
                pass
            self._warned = True
            return strong.inputs, said
        device = strong.inputs.device
        partner = partners(n, device)
        if self.mix == 'cutmix':
            mask = cutmix_masks(n, height, width, device=device)
        else:
            mask = classmix_masks(said[0].label[partner], self.num_classes)
        return mix(mask, partner, strong.inputs, said)

    def sources(self, index: int, said: list[PseudoLabel]) -> list[PseudoLabel]:
        """The pseudo labels that student ``index`` learns from."""
        if self.teaching == 'ensemble' or len(said) == 1:
            return said[:1]
        if self.teaching == 'dual':
            return said
        if self.teaching == 'own':
            return said[index : index + 1]
        return said[:index] + said[index + 1 :]

    def taught(self, logits: Tensor, sources: list[PseudoLabel]) -> Tensor:
        """Cross entropy with each pseudo label, averaged over the pixels."""
        logits = self._upsampled(logits, sources[0].label)
        terms = [
            pseudo_label_loss(logits, source, pixel_weights(source))
            for source in sources
        ]
        return self._reduced(terms)

    def _reduced(self, terms: list[Tensor]) -> Tensor:
        total = sum(terms)
        return total / len(terms) if self.ct_reduce == 'mean' else total

    def _stats(self, said: list[PseudoLabel]) -> PseudoLabelStats:
        """Statistics of the pseudo labels, summed over all pairs."""
        stats = [
            pseudo_label_stats(one, pixel_weights(one), self.num_classes)
            for one in said
        ]
        return PseudoLabelStats(*map(sum, zip(*stats, strict=True)))

    # Contrast

    def contrast(
        self, labeled: Batch, passes: list[Pass], said: list[PseudoLabel]
    ) -> dict[str, Tensor]:
        """High- and low-level contrast of each student, with the banks of all pairs."""
        rows = [self.candidates(index, labeled) for index in range(len(self.pairs))]
        self.step_outputs['memory'] = {
            f'{name}{index}': value
            for index, new in enumerate(rows)
            for name, value in new.items()
        }
        keys = [self._keys(*both) for both in zip(self.banks, rows, strict=True)]
        if self.levels_begin == 'together':
            keys = ready_together(keys)
        anchors = [
            self.anchors(index, labeled, one, self.sources(index, said)[0])
            for index, one in enumerate(passes)
        ]
        anchors = self._drawn(anchors)
        losses = {}
        for index, mine in enumerate(anchors):
            if self.hc_weight:
                high = self.contrast_loss.high_level(mine, keys[index])
                losses[self._key('loss_hc', index)] = self.hc_weight * high
            if self.lc_weight:
                terms = [
                    self.contrast_loss.low_level(
                        mine,
                        peer,
                        [keys[index], keys[other]],
                        peer.group if self.lc_class == 'peer' else None,
                    )
                    for other, peer in enumerate(anchors)
                    if other != index
                ]
                losses[self._key('loss_lc', index)] = self.lc_weight * self._reduced(
                    terms
                )
        return losses

    def _keys(self, bank: ClassQueueBank, new: dict) -> Keys:
        """Keys of the bank as it will be with the rows of this step."""
        bank = bank.preview(**new, per_group=self.number_to_enqueue())
        if self.bank_ready == 'class':
            full = bank.ready('each')
            return Keys(bank.features, bank.filled() & full[:, None], full)
        begun = bank.ready(self.bank_ready).expand(self.num_classes)
        return Keys(bank.features, bank.filled(), begun)

    def anchors(
        self, index: int, labeled: Batch, one: Pass, source: PseudoLabel
    ) -> Anchors:
        """Anchors of a student: cells of the labeled, then of the unlabeled images."""
        head = self.head_pairs[index].student if len(self.head_pairs) else None
        label = valid_labels(labeled.labels, self.num_classes, self.ignore_index)
        parts = []
        for output, given, there, own in (
            (one.labeled, label, label >= 0, self.anchor_label == 'self'),
            (one.unlabeled, source.label, source.valid, self.anchor_label != 'teacher'),
        ):
            size = output.features.shape[2:]
            with torch.no_grad():
                seen = self._seen(output, given.shape[1:])
                group = seen.label if own else at_cells(given, size)
                group = torch.where(at_cells(there, size), group, -1)
            rows = self._embedded(head, output.features)
            parts.append((rows, group.flatten(), seen.confidence.flatten()))
        return Anchors(*map(torch.cat, zip(*parts, strict=True)))

    def _embedded(self, head: torch.nn.Module | None, features: Tensor) -> Tensor:
        """Features (N, D, h, w) -> the embeddings to compare, (N * h * w, D')."""
        if head is not None:
            return to_rows(head(features))
        rows = to_rows(features)
        return unit_length(rows) if self.normalize else rows.float()

    def _seen(self, output: SegmentorOutput, pixels: tuple[int, int]) -> PseudoLabel:
        """Prediction at each cell of the features; ``pixels``: image size (H, W)."""
        size, align_corners = output.features.shape[2:], self.align_corners
        if self.read_at == 'pixel':
            logits = logits_at_cells(output.logits, pixels, size, align_corners)
        else:
            logits = resize_logits(output.logits.float(), size, align_corners)
        return pseudo_label(logits)

    def _drawn(self, anchors: list[Anchors]) -> list[Anchors]:
        """At most ``max_anchors`` random cells, the same ones for all students."""
        number = len(anchors[0].group)
        if self.max_anchors is None or self.max_anchors >= number:
            return anchors
        index = torch.randperm(number)[: self.max_anchors]
        index = index.to(anchors[0].group.device, non_blocking=True)
        return [Anchors(*(x[index] for x in one)) for one in anchors]

    @torch.no_grad()
    def candidates(self, index: int, labeled: Batch) -> dict[str, Tensor]:
        """Features of correctly predicted labeled cells, their class (or -1), score."""
        output = self.adapter(self.pairs[index].teacher, labeled.inputs)
        head = self.head_pairs[index].teacher if len(self.head_pairs) else None
        label = valid_labels(labeled.labels, self.num_classes, self.ignore_index)
        seen = self._seen(output, label.shape[1:])
        label = at_cells(label, output.features.shape[2:])
        group = torch.where(seen.label == label, label, -1).flatten()
        score = seen.confidence.flatten()
        if self.enqueue_select == 'random':
            score = torch.rand(len(score)).to(score.device, non_blocking=True)
        number, classes = self.number_to_enqueue(), self.num_classes
        place, group = select_per_group(group, classes, number, score)
        rows = self._embedded(head, output.features)
        return dict(features=rows[place], group=group, score=score[place])

    # Memory

    def number_to_enqueue(self) -> int:
        """k as an integer; a rule takes it from the number of labeled images."""
        if self.enqueue_number not in ENQUEUE_RULES:
            return self.enqueue_number
        labels, size = self.num_labeled, self.banks[0].size
        if labels is None:
            raise RuntimeError(
                f'enqueue_number={self.enqueue_number!r} needs the number of labeled '
                'images, which SemiTrainLoop tells by set_num_labeled() before '
                'training: without that loop set enqueue_number to an integer'
            )
        number = labels // size if self.enqueue_number == 'ratio' else size // labels
        return min(max(1, number), size)

    @property
    def has_memory(self) -> bool:
        return len(self.banks) > 0

    def unready_classes(self) -> list[int]:
        """Classes whose queues are not full, so that some pair's contrast waits."""
        unready = torch.zeros(self.num_classes, dtype=torch.bool)
        for bank in self.banks:
            full = bank.ready('each').cpu()
            if self.bank_ready != 'any' or not full.any():
                unready |= ~full
        return unready.nonzero().flatten().tolist()

    def update_memory(self, **rows: Tensor) -> None:
        """Enter the rows of a step into the banks; :class:`MemoryHook` calls it."""
        for index, bank in enumerate(self.banks):
            names = 'features', 'group', 'score'
            new = {name: rows[f'{name}{index}'] for name in names}
            bank.enqueue(**new, per_group=self.number_to_enqueue())

    def _key(self, name: str, index: int) -> str:
        return f'{name}{index}' if len(self.pairs) > 1 else name

    def _named(self, sup: dict, index: int) -> dict:
        return {
            f'{self._key("sup", index)}.{key}': (
                self.sup_weight * value if 'loss' in key else value
            )
            for key, value in sup.items()
        }

    def _check_distinct(self) -> None:
        """Refuse students that start equal, as they would stay equal; checked once."""
        if self._distinct:
            return
        students = [_taught(pair.student) for pair in self.pairs]
        for (i, one), (j, other) in combinations(enumerate(students), 2):
            if all(map(torch.equal, one, other)):
                raise ValueError(
                    f'students {i} and {j} start with equal parameters, so they cannot '
                    'teach each other: their heads must be initialised at random. Give '
                    'the weights of a whole network by load_from, which leaves out the '
                    'heads (with load_heads=True those of all but the first student), '
                    'not by init_cfg'
                )
        self._distinct = True


def _nothing_said(valid: Tensor) -> PseudoLabel:
    """Placeholder pseudo labels for (N, H, W) valid, where none are needed."""
    return PseudoLabel(torch.where(valid, 0, 255), valid.float(), valid)


def _taught(student: torch.nn.Module) -> list[Tensor]:
    """The parameters on which the pseudo labels of a student depend."""
    named = student.named_parameters()
    return [p for name, p in named if not name.startswith('auxiliary_head.')]
