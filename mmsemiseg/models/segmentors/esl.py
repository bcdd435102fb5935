"""ESL: dynamic soft labels and a contrast of pixels with object parts."""

from collections.abc import Mapping

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...functional import PseudoLabel, image_numbers
from ...utils.settings import check_views
from ..contrast import PartContrast, Parts, PartView, Pass
from ..data_preprocessor import Batch
from ..losses import PseudoLabelLoss
from ..mixing import Mixing
from ..streams import Streams
from .base import SemiSegmentor

DYNAMIC_SOFT_LABEL = dict(type='DynamicSoftLabel', top_p=0.95)
CUTMIX = dict(type='CutMix')
SOFT_CROSS_ENTROPY = dict(type='PseudoLabelLoss', weight=0.2, threshold=None)
PART_CONTRAST = dict(type='PartContrast', feature=('pre_cls', -1))


@MODELS.register_module()
class ESL(SemiSegmentor):
    """Enhanced soft label (Ma et al., ICCV 2023).

    ``loss = sup + pseudo_loss(student(mix(strong)), mix(pseudo_label(teacher(weak))))
    + contrast``

    No pixel is dropped by a threshold. Where the teacher is not sure, its pseudo label
    is soft: the few most probable classes keep their probabilities. Soft labels blur
    boundaries, so a contrast pulls each feature to the nearest prototype of its class
    and pushes it from all others. A class has several prototypes, each the mean of a
    cluster of features, which stands for a part of the object. Needs a
    :class:`~mmsemiseg.engine.hooks.MeanTeacherHook` and, with the contrast, a
    :class:`~mmsemiseg.engine.hooks.PrototypeInitHook`.

    Args:
        student: Config of the segmentor that is trained, any of mmseg.
        pseudo_label: Component that makes pseudo labels of the teacher's logits:
            ``DynamicSoftLabel``, ``HardLabel``, ``SoftLabel`` or one of your own.
        mix: Component that mixes the student's images; None: no mixing.
        pseudo_loss: Settings of the :class:`PseudoLabelLoss`; of all valid pixels by
            default.
        contrast: Settings of the :class:`PartContrast`; None: no contrast.
        views: Names of the teacher's and the student's view in the unlabeled stream.
        teacher: Settings of the EMA teacher, those of the :class:`Pair`. By default it
            is in eval mode, and its buffers are copies of the student's.
        predict_with: Network for prediction and testing: ``'teacher'``, ``'student'``
            or ``'mean'``; None: the teacher.
        segmentor: All other settings are those of :class:`SemiSegmentor`.
    """

    reads_streams = (('labeled', 'unlabeled'), ())
    views_parts = True
    default_network = 'teacher'

    def __init__(
        self,
        student: dict,
        pseudo_label: dict = DYNAMIC_SOFT_LABEL,
        mix: dict | None = CUTMIX,
        pseudo_loss: dict = SOFT_CROSS_ENTROPY,
        contrast: dict | None = PART_CONTRAST,
        views: tuple[str, str] = ('weak', 'strong'),
        teacher: Mapping = {},  # noqa: B006
        predict_with: str | None = None,
        **segmentor,
    ) -> None:
        check_views(views)
        super().__init__(
            student, teacher=dict(teacher), predict_with=predict_with, **segmentor
        )
        self.pseudo_label = self.build_part(
            'pseudo_label', pseudo_label, DYNAMIC_SOFT_LABEL
        )
        self.mix = self.build_part('mix', mix, CUTMIX, base=Mixing)
        self.pseudo_loss = self.build_part(
            'pseudo_loss', pseudo_loss, SOFT_CROSS_ENTROPY, base=PseudoLabelLoss
        )
        self.contrast = self.build_part(
            'contrast', contrast, PART_CONTRAST, base=PartContrast
        )
        self.views = tuple(views)

    def step(self, streams: Streams) -> dict:
        weak, strong = streams.unlabeled(self.views)
        losses, labeled = self.supervised(streams.labeled)
        pseudo, parts = self.teach(streams.labeled, weak, weak.valid & strong.valid)
        maps = [pseudo] if parts is None else [pseudo, image_numbers(pseudo.label)]
        images, (pseudo, *source) = self.mixed(strong.inputs, maps)
        unlabeled = self.adapter(self.student, images)
        losses['loss_sce'] = self.pseudo_loss(
            self.upsampled(unlabeled.logits, images), pseudo, self.iteration
        )
        self.step_outputs['pseudo'] = self.pseudo_loss.statistics(
            pseudo, self.num_classes
        )
        if parts is not None:
            passes = [Pass(labeled, unlabeled)]
            parts = parts.mixed(*source)
            losses |= self.contrast(self, streams.labeled, passes, [pseudo], parts)
        return losses

    @torch.no_grad()
    def teach(
        self, labeled: Batch, weak: Batch, valid: Tensor
    ) -> tuple[PseudoLabel, Parts | None]:
        """Pseudo labels of the weak images, and the parts of all images.

        Args:
            labeled: Labeled images, which are grouped into parts too.
            weak: Unlabeled images.
            valid: Mask (N, H, W) bool of the pixels of the unlabeled images.
        """
        output = self.adapter(self.teacher, weak.inputs)
        pseudo = self.pseudo_label(self.upsampled(output.logits, weak.inputs), valid)
        if self.contrast is None:
            return pseudo, None
        given = self.adapter.features(self.teacher, labeled.inputs)
        parts = self.contrast.read(
            self,
            PartView.of_labels(self, given, labeled),
            PartView.of_pseudo(self, output.features, pseudo),
        )
        return pseudo, parts

    # Prototypes of parts, which PrototypeInitHook begins

    @property
    def prototypes(self) -> torch.nn.Module | None:
        """Prototypes of the parts of each class; None without a contrast."""
        return None if self.contrast is None else self.contrast.prototypes

    def prototype_features(self, labeled: Batch) -> tuple[Tensor, Tensor]:
        """Features (n, D) of labeled images that are grouped, and their class (n,)."""
        return self.contrast.prototype_features(self, labeled)
