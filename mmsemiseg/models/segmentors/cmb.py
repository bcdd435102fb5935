"""CMB: pixel contrast with a class-wise memory bank."""

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...functional import PseudoLabel, is_turn, label_weights, pseudo_label
from ...utils.profiling import stage
from ...utils.settings import check_integers, check_numbers
from ..adapter import SegmentorOutput
from ..contrast import Contrast, Pass
from ..data_preprocessor import Batch
from ..losses import EntropyLoss, PseudoLabelLoss, balanced, check_balanced
from ..memories import ClassBalance
from ..parts import errors_in
from ..streams import Streams
from .base import SemiSegmentor

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
        student: Config of the segmentor that is trained, any one of MMSegmentation.
        num_augments: Number A of augmentations of each unlabeled image.
        weak_augment: List of operations on labeled images (see :class:`BatchAugment`).
        strong_augment: List of operations on unlabeled images; None: no augmentation.
        pseudo_loss: Settings of the :class:`PseudoLabelLoss` on the pseudo labels.
        entropy: Settings of the :class:`EntropyLoss` of unlabeled images; None: none.
        contrast: Component that compares features; None: no contrast.
        class_balance: Settings of the :class:`ClassBalance`, for heads with the loss
            ``BalancedCrossEntropy``; None: all class weights are 1.
        mix_start: First iteration in which ``BatchClassMix`` mixes unlabeled images.
        source_ratio: Share of the steps that learn from ``source`` instead of
            ``labeled``, if it exists; the bank is always filled from ``labeled``.
        unlabeled_first: Whether the student sees the unlabeled images before the
            labeled ones, which changes the running statistics of BatchNorm.
        teacher: Settings of the teacher, by default ``mode='train', buffers='own'``.
        segmentor: All other settings are those of :class:`SemiSegmentor`.
    """

    reads_streams = (('labeled', 'unlabeled'), ('source',))

    def __init__(
        self,
        student: dict,
        num_augments: int = 2,
        weak_augment: list[dict] | None = None,
        strong_augment: list[dict] | None = None,
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
        self.weak_augment = self.build_augment('weak_augment', weak_augment)
        self.strong_augment = self.build_augment('strong_augment', strong_augment)
        self.pseudo_loss = self.build_part(
            'pseudo_loss', pseudo_loss, PSEUDO_LOSS, base=PseudoLabelLoss
        )
        self.entropy = self.build_part('entropy', entropy, ENTROPY, base=EntropyLoss)
        self.contrast = self.build_part('contrast', contrast, CONTRAST, base=Contrast)
        classes = dict(num_classes=self.num_classes)
        self.class_balance = self.build_part(
            'class_balance', class_balance, CLASS_BALANCE, ClassBalance, **classes
        )
        if self.class_balance is not None:
            with errors_in('model.class_balance'):
                check_balanced(self.student)
        self.num_augments = num_augments
        self.mix_start = mix_start
        self.source_ratio = source_ratio
        self.unlabeled_first = unlabeled_first

    def step(self, streams: Streams) -> dict:
        unlabeled, source = streams.single('unlabeled'), None
        if 'source' in streams and is_turn(self.iteration, self.source_ratio):
            source = streams['source']
        pseudo = self.pseudo_labels(unlabeled)  # (5)
        weights = None
        if self.class_balance is not None:  # (3)
            weights = self.class_balance(self, source or streams.labeled, pseudo)
        target = self.weak_augment.labeled(self, streams.labeled)
        labeled = self.weak_augment.labeled(self, source) if source else target
        if self.unlabeled_first:
            output, pseudo = self.unlabeled_pass(unlabeled.inputs, pseudo)
        with balanced(self.student, weights):
            losses, labeled_output = self.supervised(labeled)  # (4)
        if not self.unlabeled_first:
            output, pseudo = self.unlabeled_pass(unlabeled.inputs, pseudo)
        losses |= self.unlabeled_losses(output.logits, pseudo, weights)  # (6), (7)
        if self.contrast is not None:  # (8) to (11)
            passes = [Pass(labeled_output, output)]
            domain = dict(target=target) if source else {}
            losses |= self.contrast(self, labeled, passes, [pseudo], **domain)
        return losses

    @stage('pseudo labels')
    @torch.no_grad()
    def pseudo_labels(self, unlabeled: Batch) -> PseudoLabel:
        """The teacher's pseudo labels of the images before augmentation."""
        logits = self.adapter(self.teacher, unlabeled.inputs).logits
        return pseudo_label(self.upsampled(logits, unlabeled.inputs), unlabeled.valid)

    def unlabeled_pass(
        self, images: Tensor, pseudo: PseudoLabel
    ) -> tuple[SegmentorOutput, PseudoLabel]:
        """The student's output on A strong augmentations, and their pseudo labels."""
        images, pseudo = self.strong_augment.unlabeled(
            self, images, pseudo, self.num_augments, self.iteration >= self.mix_start
        )
        return self.adapter(self.student, images), pseudo

    def unlabeled_losses(
        self, logits: Tensor, pseudo: PseudoLabel, weights: Tensor | None
    ) -> dict:
        """Cross entropy with the pseudo labels by class weights (C,), and entropy."""
        logits = self.upsampled(logits, pseudo.label)
        factor = None if weights is None else label_weights(weights, pseudo.label)
        losses = dict(loss_pseudo=self.pseudo_label_loss(logits, pseudo, factor))
        if self.entropy is not None:
            losses['loss_entropy'] = self.entropy(logits, pseudo.valid)
        return losses

    @property
    def learns_unlabeled(self) -> bool:
        """Whether any loss of the unlabeled images has a weight."""
        parts = (self.pseudo_loss, self.entropy, self.contrast)
        return any(getattr(part, 'weight', part is not None) for part in parts)
