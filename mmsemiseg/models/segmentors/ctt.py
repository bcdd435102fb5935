"""CTT: pairs of student and teacher that teach each other."""

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import PseudoLabel, PseudoLabelStats
from ...utils.settings import check_choices, check_views
from ..checkpointing import recomputed
from ..contrast import Contrast, Pass
from ..data_preprocessor import Batch
from ..losses import PseudoLabelLoss
from ..mixing import Mixing
from ..streams import Streams
from .base import SemiSegmentor

TEACHING = ('cross', 'own', 'dual', 'ensemble')
HARD_LABEL = dict(type='HardLabel')
CUTMIX = dict(type='CutMix')
PSEUDO_LOSS = dict(type='PseudoLabelLoss', threshold=None)
CONTRAST = dict(type='PeerContrast')


@MODELS.register_module()
class CTT(SemiSegmentor):
    """Cross teacher training (Xiao et al., Neurocomputing 2022).

    Each student learns the labels and the pseudo labels of the *other* pairs' teachers,
    and a contrast of features is added:

    ``loss = sum over pairs of sup + pseudo_loss + contrast``

    Teachers and students may see different views of one geometry. Needs a
    :class:`~mmsemiseg.engine.hooks.MeanTeacherHook`.

    Args:
        num_pairs: Number n of pairs of student and teacher. One pair is a mean teacher.
        teaching: Teachers whose pseudo labels a student learns: ``'cross'``, those of
            the other pairs; ``'own'``, that of its own pair, so that the pairs are
            separate; ``'dual'``, all of them; ``'ensemble'``, the mean of all.
        pseudo_label: Part that makes pseudo labels of a teacher's logits.
        mix: Part that mixes the unlabeled images, ``CutMix``, ``ClassMix`` or one of
            your own, for all students alike; ClassMix goes by the first pseudo labels.
            None: no mixing.
        pseudo_loss: Settings of the :class:`PseudoLabelLoss` on the pseudo labels;
            ``weight=0`` for no such loss.
        ct_reduce: Reduction, ``'mean'`` or ``'sum'``, over the teachers that label for
            a student.
        contrast: Part that compares features, :class:`PeerContrast` by default; None:
            no contrast.
        checkpointing: Whether the students' activations are computed again in the
            backward pass instead of being kept, one student after the other.
        load_heads: Whether a checkpoint fills the heads of the first pair; the heads of
            the others always keep their own initial weights.
        views: Names of the teachers' and the students' view in the unlabeled stream.
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
        predict_with: str | None = None,
        **segmentor,
    ) -> None:
        check_choices(
            teaching=(teaching, TEACHING), ct_reduce=(ct_reduce, ('mean', 'sum'))
        )
        check_views(views)
        super().__init__(
            student,
            teacher=(teacher or {}) if self.with_teacher else None,
            predict_with=predict_with or ('student' if num_pairs == 1 else 'student0'),
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

    @property
    def labelers(self) -> list[nn.Module]:
        """The networks that label, one of each pair."""
        return [pair.teacher for pair in self.pairs]

    @torch.no_grad()
    def pseudo_labels(self, images: Tensor, valid: Tensor) -> list[PseudoLabel]:
        """Pseudo labels by each of the labelers for weak images (N, 3, H, W)."""
        if not self.reads_pseudo:
            return [_placeholder(valid)] * len(self.pairs)
        maps = [self.adapter(network, images).logits for network in self.labelers]
        maps = [self.upsampled(logits, images) for logits in maps]
        if self.teaching != 'ensemble':
            return [self.pseudo_label(logits, valid) for logits in maps]
        mean = torch.stack([logits.softmax(1) for logits in maps]).mean(0)
        return [self.pseudo_label(mean.log(), valid)] * len(self.pairs)

    def student_passes(self, labeled: Batch, images: Tensor) -> tuple[dict, list[Pass]]:
        """Supervised losses, and the outputs of each student for both batches."""
        losses, passes = {}, []
        for index, pair in enumerate(self.pairs):
            sup, output = self._run(index, self.supervised, labeled, index)
            unlabeled = self._run(index, self.adapter, pair.student, images)
            losses |= sup
            passes.append(Pass(output, unlabeled))
        return losses, passes

    def unlabeled_losses(
        self, labeled: Batch, passes: list[Pass], pseudo: list[PseudoLabel]
    ) -> dict:
        """Losses on pseudo labels (5), then the contrast (6)-(9)."""
        losses = {}
        targets = [self.targets(index, pseudo) for index in range(len(passes))]
        for index, one in enumerate(passes if self.pseudo_loss.weight else ()):
            loss = self.taught(one.unlabeled.logits, targets[index])
            losses[self.pairs.numbered('loss_ct', index)] = loss
        if self.reads_pseudo:
            self.step_outputs['pseudo'] = self.statistics(pseudo)
        if self.contrast is not None:
            first = [own[0] for own in targets]
            losses |= self.contrast(self, labeled, passes, first)
        return losses

    def targets(self, index: int, pseudo: list[PseudoLabel]) -> list[PseudoLabel]:
        """The pseudo labels that student ``index`` learns."""
        if self.teaching == 'ensemble' or len(pseudo) == 1:
            return pseudo[:1]
        if self.teaching == 'dual':
            return pseudo
        if self.teaching == 'own':
            return pseudo[index : index + 1]
        return pseudo[:index] + pseudo[index + 1 :]

    def taught(self, logits: Tensor, targets: list[PseudoLabel]) -> Tensor:
        """Loss of the logits on each pseudo label, reduced over these."""
        logits = self.upsampled(logits, targets[0].label)
        terms = [self.pseudo_loss(logits, one, self.iteration) for one in targets]
        total = sum(terms)
        return total / len(terms) if self.ct_reduce == 'mean' else total

    def statistics(self, pseudo: list[PseudoLabel]) -> PseudoLabelStats:
        """Statistics of the pseudo labels, summed over all pairs."""
        found = [self.pseudo_loss.statistics(one, self.num_classes) for one in pseudo]
        return PseudoLabelStats(*map(sum, zip(*found, strict=True)))

    @property
    def learns_unlabeled(self) -> bool:
        """Whether any loss sees the unlabeled images."""
        return self.pseudo_loss.weight > 0 or self.contrast is not None

    @property
    def reads_pseudo(self) -> bool:
        """Whether pseudo labels are used at all, so that a pass for them is needed."""
        parts = [self.mix, self.contrast]
        return self.pseudo_loss.weight > 0 or any(
            part is not None and part.reads_pseudo for part in parts
        )

    def _run(self, index: int, function, *args):
        """A pass of one student, which keeps no activations with ``checkpointing``."""
        if self.checkpointing:
            return recomputed(self.pairs[index].student, function, *args)
        return function(*args)


def _placeholder(valid: Tensor) -> PseudoLabel:
    """Pseudo labels (N, H, W) that nothing reads but their validity map."""
    return PseudoLabel(torch.where(valid, 0, 255), valid.float(), valid)
