"""CTT: pairs of student and teacher that teach each other."""

from functools import partial

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...functional import PseudoLabel, PseudoLabelStats
from ...utils.settings import check_choices, check_views
from ..checkpointing import run_pass
from ..contrast import Contrast, Pass
from ..data_preprocessor import Batch
from ..losses import PseudoLabelLoss
from ..mixing import Mixing
from ..streams import Streams
from ..teaching import TEACHING, no_labels, targets_of, teacher_labels
from .base import SemiSegmentor

HARD_LABEL = dict(type='HardLabel')
CUTMIX = dict(type='CutMix')
PSEUDO_LOSS = dict(type='PseudoLabelLoss', threshold=None)
CONTRAST = dict(type='PeerContrast')


@MODELS.register_module()
class CTT(SemiSegmentor):
    """Cross teacher training (Xiao et al., Neurocomputing 2022).

    Each student learns the labels and the pseudo labels of the *other* teachers.

    ``loss = sum over pairs of sup + pseudo_loss + contrast``

    Needs a :class:`~mmsemiseg.engine.hooks.MeanTeacherHook`.

    Args:
        student: Config of the segmentor that is trained, any one of MMSegmentation.
        num_pairs: Number n of pairs of student and teacher. One pair is a mean teacher.
        teaching: Teachers whose pseudo labels a student learns: ``'cross'``, those of
            the other pairs; ``'own'``, that of its own pair; ``'dual'``, all of them;
            ``'ensemble'``, one pseudo label from the mean of their probabilities.
        pseudo_label: Component that makes pseudo labels of a teacher's logits.
        mix: Component that mixes the unlabeled images, for all students alike;
            ClassMix takes the classes of the first teacher's labels. None: no mixing.
        pseudo_loss: Settings of the :class:`PseudoLabelLoss`; its weight may be 0.
        ct_reduce: Reduction, ``'mean'`` or ``'sum'``, over the pseudo labels that a
            student learns.
        contrast: Component that compares features; None: no contrast.
        checkpointing: Whether activations are computed again in the backward pass.
        load_heads: Whether a checkpoint fills the heads of the first pair; the heads of
            the others always keep their own initial weights.
        views: Names of the teachers' and the students' view, which show the same place.
        teacher: Settings of the EMA teachers; None: the defaults of :class:`Pair`.
        segmentor: All other settings are those of :class:`SemiSegmentor`.
    """

    with_teacher = True
    reads_streams = (('labeled', 'unlabeled'), ())

    def __init__(
        self,
        student: dict,
        num_pairs: int = 2,
        teaching: str = 'cross',
        pseudo_label: dict = HARD_LABEL,
        mix: dict | None = None,
        pseudo_loss: dict = PSEUDO_LOSS,
        ct_reduce: str = 'mean',
        contrast: dict | None = CONTRAST,
        checkpointing: bool = False,
        load_heads: bool = False,
        views: tuple[str, str] = ('weak', 'strong'),
        teacher: dict | None = None,
        **segmentor,
    ) -> None:
        check_choices(
            teaching=(teaching, TEACHING), ct_reduce=(ct_reduce, ('mean', 'sum'))
        )
        check_views(views)
        super().__init__(
            student,
            teacher=(teacher or {}) if self.with_teacher else None,
            num_pairs=num_pairs,
            load_heads=load_heads,
            **segmentor,
        )
        self.pseudo_label = self.build_part('pseudo_label', pseudo_label, HARD_LABEL)
        self.mix = self.build_part('mix', mix, CUTMIX, base=Mixing)
        self.pseudo_loss = self.build_part(
            'pseudo_loss', pseudo_loss, PSEUDO_LOSS, base=PseudoLabelLoss
        )
        self.contrast = self.build_part('contrast', contrast, CONTRAST, base=Contrast)
        self.teaching = teaching
        self.ct_reduce = ct_reduce
        self.checkpointing = checkpointing
        self.views = tuple(views)

    def step(self, streams: Streams) -> dict:
        self.pairs.check_distinct()
        if not self.learns_unlabeled:
            return self.supervised_loss(streams.labeled)
        weak, strong = streams.unlabeled(self.views)
        pseudo = self.pseudo_labels(weak.inputs, weak.valid & strong.valid)  # (3), (4)
        images, pseudo = self.mixed(strong.inputs, pseudo)
        losses, passes = self.student_passes(streams.labeled, images)  # (1), (2)
        return losses | self.unlabeled_losses(streams.labeled, passes, pseudo)

    @torch.no_grad()
    def pseudo_labels(self, images: Tensor, valid: Tensor) -> list[PseudoLabel]:
        """Pseudo labels of weak images (N, 3, H, W), by the teacher of each pair."""
        if not self.reads_pseudo:
            return [no_labels(valid)] * len(self.pairs)
        maps = [self.adapter(pair.labeler, images).logits for pair in self.pairs]
        maps = [self.upsampled(logits, images) for logits in maps]
        return teacher_labels(self.teaching, maps, valid, self.pseudo_label)

    def student_passes(self, labeled: Batch, images: Tensor) -> tuple[dict, list[Pass]]:
        """Supervised losses, and the outputs of each student for both batches."""
        losses, passes = {}, []
        for index, pair in enumerate(self.pairs):
            run = partial(run_pass, pair.student, self.checkpointing)
            sup, output = run(self.supervised, labeled, index)
            losses |= sup
            passes.append(Pass(output, run(self.adapter, pair.student, images)))
        return losses, passes

    def unlabeled_losses(
        self, labeled: Batch, passes: list[Pass], pseudo: list[PseudoLabel]
    ) -> dict:
        """Losses on pseudo labels (5), then the contrast (6)-(9)."""
        losses = {}
        targets = [targets_of(self.teaching, pseudo, i) for i in range(len(passes))]
        for index, one in enumerate(passes if self.pseudo_loss.weight else ()):
            loss = self.taught(one.unlabeled.logits, targets[index])
            losses[self.pairs.numbered('loss_ct', index)] = loss
        if self.reads_pseudo:
            stats = [self.pseudo_loss.statistics(x, self.num_classes) for x in pseudo]
            sums = map(sum, zip(*stats, strict=True))
            self.step_outputs['pseudo'] = PseudoLabelStats(*sums)
        if self.contrast is not None:
            first = [own[0] for own in targets]
            losses |= self.contrast(self, labeled, passes, first)
        return losses

    def taught(self, logits: Tensor, targets: list[PseudoLabel]) -> Tensor:
        """Loss of a student's logits on each pseudo label, reduced over these."""
        logits = self.upsampled(logits, targets[0].label)
        total = sum(self.pseudo_loss(logits, one, self.iteration) for one in targets)
        return total / len(targets) if self.ct_reduce == 'mean' else total

    @property
    def learns_unlabeled(self) -> bool:
        """Whether any loss sees the unlabeled images."""
        return self.pseudo_loss.weight > 0 or self.contrast is not None

    @property
    def reads_pseudo(self) -> bool:
        """Whether a component reads pseudo labels, so that the labelers must run."""
        parts = [part for part in (self.mix, self.contrast) if part is not None]
        return self.pseudo_loss.weight > 0 or any(part.reads_pseudo for part in parts)
