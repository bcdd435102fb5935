"""CMB: pixel contrast with a class-wise memory bank."""

import math
from contextlib import nullcontext

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...functional import PseudoLabel, label_weights, pseudo_label
from ...functional.pseudo_label import IGNORE_INDEX
from ...utils.profiling import stage
from ...utils.settings import check_integers, check_numbers
from ..adapter import SegmentorOutput
from ..batch_augment import BatchAugment, augment_labeled
from ..contrast import Contrast, Pass
from ..data_preprocessor import Batch
from ..losses import EntropyLoss, PseudoLabelLoss, balanced
from ..memories import ClassBalance
from ..parts import build_part, errors_in
from ..streams import Streams
from .base import SemiSegmentor

AUGMENT = dict(type='BatchAugment')
PSEUDO_LOSS = dict(
    type='PseudoLabelLoss',
    threshold=None,
    confidence_power=6.0,
    norm='all',
    ramp_up=dict(kind='exp', length=2000),
)
ENTROPY = dict(type='EntropyLoss')
CONTRAST = dict(type='BankContrast')
CLASS_BALANCE = dict(type='ClassBalance')
TEACHER = dict(mode='train', buffers='own')


@MODELS.register_module()
class CMB(SemiSegmentor):
    """Pixel-level contrast with a class-wise memory bank (Alonso et al., ICCV 2021).

    ``loss = sup + pseudo_loss + entropy + contrast``

    The student learns the teacher's pseudo labels on several augmentations of each
    unlabeled image. Its features are pulled towards features of their class in a bank,
    which come from well predicted labeled pixels.

    Streams: ``labeled``; ``unlabeled`` with one view, whose only augmentation is a
    crop; for domain adaptation also ``source``, labeled images of another domain. Needs
    a :class:`~mmsemiseg.engine.hooks.MeanTeacherHook`.

    Args:
        num_augments: Number A of augmentations of each unlabeled image.
        weak_augment: Settings of :class:`BatchAugment` for labeled images; None: no
            augmentation.
        strong_augment: Settings of :class:`BatchAugment` for unlabeled images; None: no
            augmentation.
        pseudo_loss: Settings of the :class:`PseudoLabelLoss` on the pseudo labels.
        entropy: Settings of the :class:`EntropyLoss` of the student's predictions for
            unlabeled images; None: no such loss.
        contrast: Part that compares features: :class:`BankContrast`, the contrast of
            another method or one of your own; None: no contrast.
        class_balance: Settings of :class:`~mmsemiseg.models.memories.ClassBalance`:
            class weights sqrt(median frequency / frequency) of both cross entropies.
            Needs heads with ``loss_decode=dict(type='BalancedCrossEntropy')``. None:
            all class weights are 1.
        mix_start: First iteration with ClassMix of unlabeled images.
        source_ratio: Share of the steps in which the student learns from ``source``
            instead of ``labeled``, where that stream exists. The bank is always filled
            from ``labeled``.
        unlabeled_first: Whether the student sees the unlabeled images before the
            labeled ones. Running statistics of BatchNorm depend on it.
        teacher: Settings of the EMA teacher, by default ``dict(mode='train',
            buffers='own')``.
        segmentor: All other settings are those of :class:`SemiSegmentor`.
    """

    reads_streams = (('labeled', 'unlabeled'), ('source',))

    def __init__(
        self,
        student: dict,
        num_augments: int = 2,
        weak_augment: dict | None = None,
        strong_augment: dict | None = None,
        pseudo_loss: dict = PSEUDO_LOSS,
        entropy: dict | None = ENTROPY,
        contrast: dict | None = CONTRAST,
        class_balance: dict | None = None,
        mix_start: int = 2000,
        source_ratio: float = 0.5,
        unlabeled_first: bool = False,
        teacher: dict | None = None,
        **segmentor,
    ) -> None:
        check_integers(1, num_augments=num_augments)
        check_integers(0, mix_start=mix_start)
        check_numbers(1, source_ratio=source_ratio)
        super().__init__(student, teacher={**TEACHER, **(teacher or {})}, **segmentor)
        self.weak_augment = self._augment('weak_augment', weak_augment)
        self.strong_augment = self._augment('strong_augment', strong_augment)
        self.pseudo_loss = self.build_part(
            'pseudo_loss', pseudo_loss, PSEUDO_LOSS, base=PseudoLabelLoss
        )
        self.entropy = self.build_part('entropy', entropy, ENTROPY, base=EntropyLoss)
        self.contrast = self.build_part('contrast', contrast, CONTRAST, base=Contrast)
        self.class_balance = build_part(
            class_balance,
            'model.class_balance',
            base=ClassBalance,
            default=CLASS_BALANCE,
            num_classes=self.num_classes,
        )
        with errors_in('model.class_balance'), self._balanced(None):
            pass  # an error says so if the heads cannot
        self.num_augments = num_augments
        self.mix_start = mix_start
        self.source_ratio = source_ratio
        self.unlabeled_first = unlabeled_first

    def step(self, streams: Streams) -> dict:
        unlabeled = streams.single('unlabeled')
        source = streams['source'] if self.is_source_step(streams) else None
        pseudo = self.pseudo_labels(unlabeled)
        weights = self.class_weights(
            streams.labeled if source is None else source, pseudo
        )
        target = self.augmented(streams.labeled)
        labeled = target if source is None else self.augmented(source)
        if self.unlabeled_first:
            output, pseudo = self.unlabeled_pass(unlabeled.inputs, pseudo)
        with self._balanced(weights):
            losses, labeled_output = self.supervised(labeled)
        if not self.unlabeled_first:
            output, pseudo = self.unlabeled_pass(unlabeled.inputs, pseudo)
        losses |= self.unlabeled_losses(output.logits, pseudo, weights)
        if self.contrast is not None:
            passes = [Pass(labeled_output, output)]
            domain = {} if source is None else dict(target=target)
            losses |= self.contrast(self, labeled, passes, [pseudo], **domain)
        return losses

    @stage('pseudo labels')
    @torch.no_grad()
    def pseudo_labels(self, unlabeled: Batch) -> PseudoLabel:
        """The teacher's pseudo labels of the images before augmentation."""
        logits = self.adapter(self.teacher, unlabeled.inputs).logits
        return pseudo_label(self.upsampled(logits, unlabeled.inputs), unlabeled.valid)

    def class_weights(self, labeled: Batch, pseudo: PseudoLabel) -> Tensor | None:
        """Class weights (C,) of this step; None: all are 1."""
        if self.class_balance is None:
            return None
        counts = self.class_balance.counts(
            labeled.labels, pseudo.label, self.ignore_index
        )
        self.remember(self.class_balance, **counts)
        return self.class_balance.weights(counts, self.iteration)

    def augmented(self, labeled: Batch) -> Batch:
        """Labeled images and their label maps after weak augmentation."""
        return augment_labeled(
            self.weak_augment, labeled, self.data_preprocessor, self.ignore_index
        )

    def unlabeled_pass(
        self, images: Tensor, pseudo: PseudoLabel
    ) -> tuple[SegmentorOutput, PseudoLabel]:
        """The student's output on strong augmentations, and their pseudo labels."""
        images, pseudo = self.strong_views(images, pseudo)
        return self.adapter(self.student, images), pseudo

    def strong_views(
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

    def unlabeled_losses(
        self, logits: Tensor, pseudo: PseudoLabel, weights: Tensor | None
    ) -> dict:
        """Cross entropy with the pseudo labels by class weights (C,), and entropy."""
        logits = self.upsampled(logits, pseudo.label)
        factor = None if weights is None else label_weights(weights, pseudo.label)
        losses = dict(
            loss_pseudo=self.pseudo_loss(logits, pseudo, self.iteration, factor)
        )
        self.step_outputs['pseudo'] = self.pseudo_loss.statistics(
            pseudo, self.num_classes
        )
        if self.entropy is not None:
            losses['loss_entropy'] = self.entropy(logits, pseudo.valid)
        return losses

    def is_source_step(self, streams: Streams) -> bool:
        """Whether the student learns from the stream ``source`` in this iteration."""
        before = math.floor(self.iteration * self.source_ratio)
        now = math.floor((self.iteration + 1) * self.source_ratio)
        return 'source' in streams and now > before

    @property
    def learns_unlabeled(self) -> bool:
        """Whether any loss of the unlabeled images has a weight."""
        parts = (self.pseudo_loss, self.entropy, self.contrast)
        return any(getattr(part, 'weight', part is not None) for part in parts)

    def _augment(self, name: str, cfg: dict | None) -> BatchAugment:
        augment = self.build_part(name, cfg or {}, AUGMENT, base=BatchAugment)
        with errors_in(f'model.{name}', cfg or {}):
            augment.check_bands(getattr(self.data_preprocessor, 'bands', 3))
        return augment

    def _balanced(self, weights: Tensor | None):
        """The student's supervised losses have these class weights inside."""
        if self.class_balance is None:
            return nullcontext()
        return balanced(self.student, weights)
