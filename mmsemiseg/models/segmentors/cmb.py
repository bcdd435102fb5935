"""CMB: pixel contrast with a class-wise memory bank."""

import copy
import math
from contextlib import nullcontext

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...functional import (
    PseudoLabel,
    at_cells,
    drop_unlabeled,
    entropy_loss,
    label_weights,
    logits_at_cells,
    pixel_weights,
    pseudo_label,
    pseudo_label_loss,
    pseudo_label_stats,
    rank_in_group,
    schedules,
    select_per_group,
    to_rows,
    valid_labels,
    weighted_cosine,
)
from ...functional.entropy import NORMS as ENTROPY_NORMS
from ...functional.entropy import OVER
from ...functional.pseudo_label import IGNORE_INDEX
from ...utils.settings import check_choices, check_integers, check_numbers, errors_name
from ..adapter import SegmentorOutput, resize_logits
from ..batch_augment import BatchAugment, augment_labeled
from ..data_preprocessor import Batch
from ..heads import BankContrastHead
from ..losses import balanced
from ..memories import ClassBalance, ClassQueueBank
from .base import SemiSegmentor

RANKS = dict(highest='top', lowest='lowest', random='random')


@MODELS.register_module()
class CMB(SemiSegmentor):
    """Pixel-level contrast with a class-wise memory bank (Alonso et al., ICCV 2021).

    The student learns the teacher's pseudo labels on several augmentations of each
    unlabeled image. Its features are pulled towards features of their class in a bank,
    which come from well predicted labeled pixels. There are no negatives:

    ``loss = sup + pseudo_weight * ramp(t) * pseudo + entropy_weight * entropy
    + contrast_weight * (contrast(labeled) + contrast(unlabeled))``

    Streams: ``labeled``; ``unlabeled`` with one view, whose only augmentation is a
    crop; for domain adaptation also ``source``, labeled images of another domain. Needs
    a :class:`~mmsemiseg.engine.hooks.MeanTeacherHook`.

    Args:
        feature: Layer whose features are compared (see :class:`SegmentorAdapter`).
        num_augments: Number A of augmentations of each unlabeled image.
        weak_augment: Settings of :class:`BatchAugment` for labeled images; None: no
            augmentation.
        strong_augment: Settings of :class:`BatchAugment` for unlabeled images; None: no
            augmentation.
        sup_weight: Weight of the student's supervised losses.
        pseudo_weight: Weight of the cross entropy with the pseudo labels.
        entropy_weight: Weight of the entropy of the student's predictions.
        contrast_weight: Weight of each contrastive term; 0: there is no bank.
        confidence_power: Exponent s of the weight of a pseudo label, confidence ** s.
        ramp_up: Ramp-up of the pseudo label loss,
            ``dict(kind='exp'|'linear'|'cosine'|'step', length=iterations)``; None: the
            full weight at once.
        entropy_norm: Unit of the entropy: ``'classes'`` divides it by log C, so that it
            is in [0, 1]; ``'nats'`` does not.
        entropy_over: Divisor of the entropy: the number of ``'valid'`` pixels, or of
            ``'all'`` pixels with padding.
        attention: Whether attention modules weigh the vectors in the contrast; False
            weighs all alike.
        memory_attention: Whether attention modules weigh the bank's vectors too; False
            weighs those alike.
        selector_input: Input of the bank's attention: ``'raw'`` vectors, or
            ``'unit_keys'`` of unit length.
        bank_size: Number of vectors that the bank keeps of each class.
        bank_from: Network whose features enter the bank: ``'teacher'`` or
            ``'student'``.
        quality_filter: Whether only features of correctly predicted pixels with a
            confidence above ``quality_threshold`` enter the bank.
        quality_threshold: Confidence phi in [0, 1] of the quality filter.
        read_at: Place where the prediction of a feature is read for the quality filter:
            ``'pixel'``, in the enlarged logits at the pixel whose label the feature
            has, or ``'cell'``, at the feature itself.
        bank_rank: Candidates that enter the bank: those with the ``'highest'`` or
            ``'lowest'`` score of the teacher's attention, or ``'random'`` ones.
        rank_selector: Attention module whose score ranks the candidates: that of the
            ``'projection'`` or of the ``'prediction'``.
        enqueue_number: Number K of vectors of a class that enter the bank in a step,
            for each image.
        enqueue_per: Scope of ``enqueue_number``: the K best of each ``'image'``, or
            from the whole ``'batch'`` the best K times its number of images.
        bank_start: First iteration whose vectors enter the bank.
        contrast_start: First iteration with the contrast.
        contrast_joint: Whether labeled and unlabeled vectors share one contrastive
            term.
        mix_start: First iteration with ClassMix of unlabeled images.
        proj_hidden: Width of the hidden layers of projector and predictor.
        proj_channels: Width of the vectors that are compared.
        class_balance: Settings of :class:`~mmsemiseg.models.memories.ClassBalance`, at
            least ``dict(labels=batches, pseudo=batches)``: class weights sqrt(median
            frequency / frequency). Needs heads with
            ``loss_decode=dict(type='BalancedCrossEntropy')``. None: all class weights
            are 1.
        source_ratio: Share of the steps in which the student learns from ``source``
            instead of ``labeled``, where that stream exists. The bank is always filled
            from ``labeled``.
        unlabeled_first: Whether the student sees the unlabeled images before the
            labeled ones. Running statistics of BatchNorm depend on it.
    """

    reads_streams = (('labeled', 'unlabeled'), ('source',))

    def __init__(
        self,
        student: dict,
        feature: str | int = 'pre_cls',
        num_augments: int = 2,
        weak_augment: dict | None = None,
        strong_augment: dict | None = None,
        sup_weight: float = 1.0,
        pseudo_weight: float = 1.0,
        entropy_weight: float = 0.01,
        contrast_weight: float = 0.1,
        confidence_power: float = 6.0,
        ramp_up: dict | None = dict(kind='exp', length=2000),  # noqa: B006
        entropy_norm: str = 'classes',
        entropy_over: str = 'valid',
        attention: bool = True,
        memory_attention: bool = True,
        selector_input: str = 'raw',
        bank_size: int = 256,
        bank_from: str = 'teacher',
        quality_filter: bool = True,
        quality_threshold: float = 0.95,
        read_at: str = 'pixel',
        bank_rank: str = 'highest',
        rank_selector: str = 'projection',
        enqueue_number: int = 1,
        enqueue_per: str = 'batch',
        bank_start: int = 1000,
        contrast_start: int = 2000,
        contrast_joint: bool = False,
        mix_start: int = 2000,
        proj_hidden: int = 256,
        proj_channels: int = 256,
        class_balance: dict | None = None,
        source_ratio: float = 0.5,
        unlabeled_first: bool = False,
        teacher: dict | None = None,
        predict_with: str = 'student',
        data_preprocessor: dict | None = None,
    ) -> None:
        check_choices(
            entropy_norm=(entropy_norm, ENTROPY_NORMS),
            entropy_over=(entropy_over, OVER),
            read_at=(read_at, ('pixel', 'cell')),
            selector_input=(selector_input, ('raw', 'unit_keys')),
            bank_from=(bank_from, ('teacher', 'student')),
            bank_rank=(bank_rank, tuple(RANKS)),
            rank_selector=(rank_selector, ('projection', 'prediction')),
            enqueue_per=(enqueue_per, ('batch', 'image')),
        )
        check_integers(
            1,
            num_augments=num_augments,
            enqueue_number=enqueue_number,
            proj_hidden=proj_hidden,
            proj_channels=proj_channels,
        )
        check_integers(2, bank_size=bank_size)
        check_integers(
            0, bank_start=bank_start, contrast_start=contrast_start, mix_start=mix_start
        )
        check_numbers(
            sup_weight=sup_weight,
            pseudo_weight=pseudo_weight,
            entropy_weight=entropy_weight,
            contrast_weight=contrast_weight,
            confidence_power=confidence_power,
        )
        check_numbers(1, quality_threshold=quality_threshold, source_ratio=source_ratio)
        if feature is None:
            raise ValueError('feature must not be None: CMB compares features')
        if not attention and bank_rank != 'random':
            raise ValueError(
                f"attention=False leaves nothing to rank by: set bank_rank='random', "
                f'but got {bank_rank!r}'
            )
        if ramp_up is not None:
            schedules.ramp_up(0, **ramp_up)
        teacher = dict(dict(mode='train', buffers='own'), **(teacher or {}))
        super().__init__(
            student,
            teacher=teacher,
            feature=feature,
            predict_with=predict_with,
            data_preprocessor=data_preprocessor,
        )
        augments = dict(weak_augment=weak_augment, strong_augment=strong_augment)
        for name, settings in augments.items():
            with errors_name(name):
                setattr(self, name, BatchAugment(**(settings or {})))
                bands = getattr(self.data_preprocessor, 'bands', 3)
                getattr(self, name).check_bands(bands)
        self.num_augments = num_augments
        self.sup_weight = sup_weight
        self.pseudo_weight = pseudo_weight
        self.entropy_weight = entropy_weight
        self.contrast_weight = contrast_weight
        self.confidence_power = confidence_power
        self.ramp_up = ramp_up
        self.entropy_norm = entropy_norm
        self.entropy_over = entropy_over
        self.attention = attention
        self.memory_attention = attention and memory_attention
        self.bank_from = bank_from
        self.quality_filter = quality_filter
        self.quality_threshold = quality_threshold
        self.read_at = read_at
        self.bank_rank = bank_rank
        self.rank_selector = rank_selector
        self.enqueue_number = enqueue_number
        self.enqueue_per = enqueue_per
        self.bank_start = bank_start
        self.contrast_start = contrast_start
        self.contrast_joint = contrast_joint
        self.mix_start = mix_start
        self.source_ratio = source_ratio
        self.unlabeled_first = unlabeled_first
        self.bank = None
        if contrast_weight:
            head = BankContrastHead(
                self.adapter.feature_channels(self.student),
                self.num_classes,
                proj_hidden,
                proj_channels,
                self._selectors(),
                unit_keys=selector_input == 'unit_keys',
            )
            if not self.memory_attention and 'projection' in head.attention:
                head.attention['projection'].requires_grad_(False)  # only ranks
            self.head_pairs.append(self.make_pair(head))
            self.bank = ClassQueueBank(self.num_classes, bank_size, proj_channels)
        self.balance = None
        if class_balance is not None:
            with errors_name('class_balance'):
                self.balance = ClassBalance(self.num_classes, **class_balance)
                with balanced(self.student, None):
                    pass  # an error says so if the heads cannot

    def _selectors(self) -> tuple[str, ...]:
        """Names of the attention modules that these settings use."""
        ranked = self.attention and self.bank_rank != 'random'
        used = dict(
            prediction=self.attention,
            projection=self.memory_attention
            or (ranked and self.rank_selector == 'projection'),
        )
        return tuple(name for name, is_used in used.items() if is_used)

    def loss(self, inputs: 'dict | Tensor', data_samples: list | None = None) -> dict:
        if isinstance(inputs, Tensor):
            return super().loss(inputs, data_samples)
        self.step_outputs = {}
        unlabeled = _one_view(inputs['unlabeled'])
        labeled = inputs['labeled']
        source = inputs['source'] if self.is_source_step(inputs) else None
        pseudo = self.label(unlabeled)
        counts, class_weights = {}, None
        if self.balance is not None:
            batch = labeled if source is None else source
            counts = self.balance.counts(batch.labels, pseudo.label, self.ignore_index)
            class_weights = self.balance.weights(counts, self.iteration)

        labeled = self.weakly(labeled)
        learned = labeled if source is None else self.weakly(source)
        if self.unlabeled_first:
            output, pseudo = self.student_pass(unlabeled.inputs, pseudo)
        losses, features = self.supervised(learned, class_weights)
        if not self.unlabeled_first:
            output, pseudo = self.student_pass(unlabeled.inputs, pseudo)
        losses.update(self.unlabeled_losses(output.logits, pseudo, class_weights))
        if self.bank is not None:
            new = self.candidates(labeled)
            cells = (features, learned.labels), (output.features, pseudo.label)
            losses['loss_contrast'] = self.contrast(cells, new)
            counts.update(new)
        if counts:
            self.step_outputs['memory'] = counts
        return losses

    def unsupervised_loss(self, inputs: dict) -> dict:
        """All losses but the supervised ones."""
        losses = self.loss(inputs)
        return {k: v for k, v in losses.items() if not k.startswith('sup.')}

    @torch.no_grad()
    def label(self, unlabeled: Batch) -> PseudoLabel:
        """The teacher's pseudo labels of the images before augmentation."""
        logits = self.adapter(self.teacher, unlabeled.inputs).logits
        size = unlabeled.inputs.shape[2:]
        logits = resize_logits(logits, size, self.align_corners)
        return pseudo_label(logits, unlabeled.valid)

    def weakly(self, batch: Batch) -> Batch:
        """Labeled images and their label maps after weak augmentation."""
        return augment_labeled(
            self.weak_augment, batch, self.data_preprocessor, self.ignore_index
        )

    def strongly(
        self, images: Tensor, pseudo: PseudoLabel
    ) -> tuple[Tensor, PseudoLabel]:
        """A strong augmentations of each image and its pseudo label, (A * N, ...)."""
        maps = dict(
            label=pseudo.label, confidence=pseudo.confidence, valid=pseudo.valid
        )
        views = [
            self.strong_augment(
                images,
                maps,
                dict(label=IGNORE_INDEX, confidence=0),
                preprocessor=self.data_preprocessor,
                classmix=self.iteration >= self.mix_start,
            )
            for _ in range(self.num_augments)
        ]
        images = torch.cat([view for view, _ in views])
        maps = {name: torch.cat([moved[name] for _, moved in views]) for name in maps}
        return images, PseudoLabel(**maps)

    def student_pass(
        self, images: Tensor, pseudo: PseudoLabel
    ) -> tuple[SegmentorOutput, PseudoLabel]:
        """The student's output on strong augmentations, and their pseudo labels."""
        images, pseudo = self.strongly(images, pseudo)
        return self.adapter(self.student, images), pseudo

    def supervised(
        self, labeled: Batch, class_weights: Tensor | None
    ) -> tuple[dict, Tensor]:
        """The weighted supervised losses, and the student's features."""
        weighted = self.balance is not None
        with balanced(self.student, class_weights) if weighted else nullcontext():
            losses, output = self.adapter.loss(self.student, *labeled)
        factor = {key: self.sup_weight if 'loss' in key else 1 for key in losses}
        losses = {f'sup.{key}': factor[key] * losses[key] for key in losses}
        return losses, output.features

    def unlabeled_losses(
        self, logits: Tensor, pseudo: PseudoLabel, class_weights: Tensor | None
    ) -> dict:
        """Cross entropy with the pseudo labels, and entropy."""
        logits = resize_logits(logits, pseudo.label.shape[1:], self.align_corners)
        weights = pixel_weights(pseudo, power=self.confidence_power)
        self.step_outputs['pseudo'] = pseudo_label_stats(
            pseudo, weights, self.num_classes
        )
        if class_weights is not None:
            weights = weights * label_weights(class_weights, pseudo.label)
        loss = pseudo_label_loss(logits, pseudo, weights, norm='all')
        entropy = entropy_loss(
            logits, pseudo.valid, self.entropy_norm, self.entropy_over
        )
        return dict(
            loss_pseudo=self.pseudo_weight * self.ramp(self.ramp_up) * loss,
            loss_entropy=self.entropy_weight * entropy,
        )

    def is_source_step(self, inputs: dict) -> bool:
        """Whether the student learns from the stream ``source`` in this iteration."""
        before = math.floor(self.iteration * self.source_ratio)
        now = math.floor((self.iteration + 1) * self.source_ratio)
        return 'source' in inputs and now > before

    # Contrast

    def contrast(self, maps: tuple[tuple[Tensor, Tensor], ...], new: dict) -> Tensor:
        """Contrast of features (N, D, h, w) with labels (N, H, W) against the bank.

        The ``new`` rows of this step are already in the bank that is compared with.
        """
        head = self.head_pairs[0].student
        if self.iteration < self.contrast_start:
            return _zero(head, maps[0][0])
        bank = copy.deepcopy(self.bank)
        bank.enqueue(new['features'], new['group'])
        keys, filled = bank.features, bank.filled()
        key_weights = head.key_weights(keys, filled) if self.memory_attention else None
        cells = [self.cells(*part) for part in maps]
        if self.contrast_joint:
            cells = [tuple(map(torch.cat, zip(*cells, strict=True)))]
        loss = 0
        for part in cells:
            (rows, group), counts = drop_unlabeled(*part)
            vectors = head(rows, counts)
            weights = None
            if self.attention:
                weights = head.attention['prediction'](vectors, group)
            loss = loss + weighted_cosine(
                vectors, group, keys, filled, weights, key_weights
            )
        return self.contrast_weight * loss

    def cells(self, features: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (N * h * w, D) of the features, and the class of each row, or -1.

        The class of a cell is the label of its nearest pixel.
        """
        group = valid_labels(label, self.num_classes, self.ignore_index)
        return to_rows(features), at_cells(group, features.shape[2:]).flatten()

    @torch.no_grad()
    def candidates(self, labeled: Batch) -> dict[str, Tensor]:
        """Vectors of labeled pixels for the bank, with their class (or -1) and rank."""
        if self.iteration < self.bank_start:
            rows = self.bank.features.new_zeros(0, self.bank.dim)
            group = rows.new_zeros(0, dtype=torch.int64)
            return dict(features=rows, group=group, rank=group)
        network = getattr(self.pairs[0], self.bank_from)
        head = getattr(self.head_pairs[0], self.bank_from)
        output = self.adapter(network, labeled.inputs)
        rows, group = self.cells(output.features, labeled.labels)
        if self.quality_filter:
            confidence, predicted = self.predicted(output, labeled.inputs.shape[2:])
            good = (predicted.flatten() == group) & (
                confidence.flatten() > self.quality_threshold
            )
            group = group.masked_fill(~good, -1)
        group = torch.where((group >= 0).sum() > 1, group, -1)
        images = len(labeled.inputs)
        image = torch.arange(images, device=group.device)
        image = image.repeat_interleave(len(group) // images)
        (rows, group, image), counts = drop_unlabeled(rows, group, image)
        vectors = head.projection(rows, counts).float()
        return self.selected(head, vectors, group, image, images)

    def predicted(
        self, output: SegmentorOutput, pixels: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Confidence and predicted class of each cell, (N, h, w)."""
        logits, size = output.logits.float(), output.features.shape[2:]
        if self.read_at == 'pixel':
            logits = logits_at_cells(logits, pixels, size, self.align_corners)
        else:
            logits = resize_logits(logits, size, self.align_corners)
        return logits.softmax(1).max(1)

    def selected(
        self,
        head: BankContrastHead,
        rows: Tensor,
        group: Tensor,
        image: Tensor,
        images: int,
    ) -> dict[str, Tensor]:
        """The best ones of each class, the best last; all if there are few.

        A full bank forgets the worst ones of its oldest step first. With their rank,
        how many of the class are better, for steps of several batches or processes.
        """
        if self.bank_rank == 'random':
            score = torch.rand(len(rows)).to(rows.device, non_blocking=True)
        else:
            score = head.scores(rows, group, self.rank_selector)
        lowest = self.bank_rank == 'lowest'
        number, classes = self.enqueue_number, self.num_classes
        if self.enqueue_per == 'batch':
            number = min(number * images, self.bank.size)
            index, group = select_per_group(
                group, classes, number, score, lowest, best_last=True
            )
        else:
            part = torch.where(group >= 0, image * classes + group, -1)
            number = min(number, self.bank.size)
            index, part = select_per_group(
                part, images * classes, number, score, lowest, best_last=True
            )
            group = torch.where(part >= 0, part % classes, -1)
        rank = rank_in_group(group.flip(0)).flip(0)
        return dict(features=rows[index], group=group, rank=rank)

    # Memory

    @property
    def learns_unlabeled(self) -> bool:
        """Whether any loss of the unlabeled images has a weight."""
        return any((self.pseudo_weight, self.entropy_weight, self.contrast_weight))

    @property
    def has_memory(self) -> bool:
        return self.bank is not None or self.balance is not None

    def unready_classes(self) -> list[int]:
        """Classes with fewer than two vectors: their contrast is 0."""
        if self.bank is None:
            return []
        return (self.bank.count < 2).nonzero().flatten().tolist()

    def update_memory(
        self,
        features: Tensor | None = None,
        group: Tensor | None = None,
        rank: Tensor | None = None,
        label_counts: Tensor | None = None,
        pseudo_counts: Tensor | None = None,
    ) -> None:
        """Keep what the batches of a step left; :class:`MemoryHook` calls it."""
        if features is not None:
            order = rank.sort(stable=True, descending=True).indices
            self.bank.enqueue(features[order], group[order])
        if label_counts is not None:
            self.balance.update(label_counts, pseudo_counts)


def _one_view(unlabeled: 'dict | Batch') -> Batch:
    if isinstance(unlabeled, Batch):
        return unlabeled
    raise ValueError(
        'CMB augments on the device: its unlabeled stream must have one view, of plain '
        f'crops, but has the views {sorted(unlabeled)}. Leave MultiView out of its '
        'pipeline and end it with PackUnlabeledInputs'
    )


def _zero(head: BankContrastHead, features: Tensor) -> Tensor:
    """A loss of 0 with the parameters in the graph, for distributed training."""
    return features.sum() * 0 + sum(0 * param.sum() for param in head.parameters())
