"""Mean teacher with pseudo labels, CutMix or ClassMix."""

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...functional import PseudoLabel
from ...utils.settings import check_views
from ..contrast import Contrast, Pass
from ..losses import PseudoLabelLoss
from ..mixing import Mixing
from ..streams import Streams
from .base import SemiSegmentor

HARD_LABEL = dict(type='HardLabel')
CUTMIX = dict(type='CutMix')
PSEUDO_LOSS = dict(type='PseudoLabelLoss', threshold=0.7)


@MODELS.register_module()
class MeanTeacher(SemiSegmentor):
    """Mean teacher: the student learns pseudo labels of its EMA teacher.

    ``loss = sup + pseudo_loss(student(mix(strong)), mix(pseudo_label(teacher(weak))))``

    ``sup`` is the student's own loss on the labeled images. The teacher labels the weak
    view of an unlabeled image, and the student learns that pseudo label on the strong
    view. With CutMix and a threshold this is CutMix-Seg (French et al., 2020), with
    ClassMix it is the method of Olsson et al. (2021).

    ``custom_hooks`` of the config must have a
    :class:`~mmsemiseg.engine.hooks.MeanTeacherHook`, which updates the teacher.

    Args:
        student: Config of the segmentor that is trained, any one of MMSegmentation.
        pseudo_label: Component that makes pseudo labels of the teacher's logits:
            ``HardLabel``, ``SoftLabel``, ``DynamicSoftLabel`` or one of your own.
        mix: Component that mixes the student's images: ``CutMix``, ``ClassMix`` or one
            of your own; None: no mixing.
        pseudo_loss: Settings of the :class:`PseudoLabelLoss` on the pseudo labels.
        contrast: Component that compares features, such as the contrast of another
            method; None: no contrast.
        views: Names of the teacher's and the student's view in the unlabeled stream.
        teacher: Settings of the EMA teacher, ``dict(mode='eval'|'train',
            buffers='copy'|'average'|'own')``, which :class:`Pair` explains; None: eval
            mode, buffers copied.
        predict_with: Network for prediction and testing: ``'teacher'``, ``'student'``
            or ``'mean'``; None: the teacher, of a method without teacher the student.
        segmentor: All other settings, such as ``sup_weight`` and
            ``data_preprocessor``, are those of :class:`SemiSegmentor`.
    """

    with_teacher = True
    default_network = 'teacher'
    reads_streams = (('labeled', 'unlabeled'), ())

    def __init__(
        self,
        student: dict,
        pseudo_label: dict = HARD_LABEL,
        mix: dict | None = CUTMIX,
        pseudo_loss: dict = PSEUDO_LOSS,
        contrast: dict | None = None,
        views: tuple[str, str] = ('weak', 'strong'),
        teacher: dict | None = None,
        predict_with: str | None = None,
        **segmentor,
    ) -> None:
        if teacher is not None and not self.with_teacher:
            raise ValueError(
                f'{type(self).__name__} has no teacher: teacher must be None, '
                f'but got {teacher}'
            )
        check_views(views)
        super().__init__(
            student,
            teacher=(teacher or {}) if self.with_teacher else None,
            predict_with=predict_with,
            **segmentor,
        )
        self.pseudo_label = self.build_part('pseudo_label', pseudo_label, HARD_LABEL)
        self.mix = self.build_part('mix', mix, CUTMIX, base=Mixing)
        self.pseudo_loss = self.build_part(
            'pseudo_loss', pseudo_loss, PSEUDO_LOSS, base=PseudoLabelLoss
        )
        self.contrast = self.build_part('contrast', contrast, base=Contrast)
        self.views = tuple(views)

    def step(self, streams: Streams) -> dict:
        weak, strong = streams.unlabeled(self.views)
        if self.contrast is None:
            losses = self.supervised_loss(streams.labeled)
        else:
            losses, labeled = self.supervised(streams.labeled)
        pseudo = self.pseudo_labels(weak.inputs, weak.valid & strong.valid)
        images, pseudo = self.mixed(strong.inputs, pseudo)
        unlabeled = self.adapter(self.student, images)
        losses['loss_unsup'] = self.pseudo_label_loss(
            self.upsampled(unlabeled.logits, images), pseudo
        )
        if self.contrast is not None:
            passes = [Pass(labeled, unlabeled)]
            losses |= self.contrast(self, streams.labeled, passes, [pseudo])
        return losses

    @torch.no_grad()
    def pseudo_labels(self, images: Tensor, valid: Tensor) -> PseudoLabel:
        """Pseudo labels of weak images (N, 3, H, W); 255 where ``valid`` is False."""
        logits = self.adapter(self.teacher, images).logits
        return self.pseudo_label(self.upsampled(logits, images), valid)
