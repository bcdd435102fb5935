"""RC²L: region-level contrastive and consistency learning on mask classification."""

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...functional import (
    PseudoLabel,
    pseudo_label_stats,
    score_logits,
    semantic_scores,
)
from ...functional.schedules import check_ramp_up
from ...utils.settings import check_numbers, check_views
from ..losses import PseudoLabelLoss
from ..mask_heads import QueryOutput
from ..mixing import Mixing
from ..pseudo_segments import PseudoSegments, SegmentMap
from ..streams import Streams
from .base import SemiSegmentor
from .region_losses import RegionLosses

SEGMENTS = dict(type='SemanticSegments')
CUTMIX = dict(type='CutMix')
REGION_LOSSES = dict(type='RegionLosses')
PIXEL = dict(type='PseudoLabelLoss', threshold=None)


@MODELS.register_module()
class RC2L(SemiSegmentor):
    r"""Region-level contrastive and consistency learning (Zhang et al., IJCAI 2022).

    ``loss = sup + alpha * (rmc + rfc + rcc + smc)``, each with its weight

    The student classifies masks (``MaskFormerHead``, ``Mask2FormerHead``). The EMA
    teacher divides the weak view into pseudo segments, which are mixed as the strong
    view is; mmdet's Hungarian assigner gives each segment a query of the student. The
    class of a query (RCC) and the union of the masks of a class (SMC) follow the
    segments; masks (RMC) and pooled features (RFC) are contrasted between the segments
    of an image. Needs a :class:`~mmsemiseg.engine.hooks.MeanTeacherHook`, and mmcv with
    its compiled operators.

    Args:
        segments: Part that makes pseudo segments: ``SemanticSegments`` or
            ``QuerySegments``.
        region_losses: Settings of the :class:`RegionLosses` on them: matching, losses
            and their weights.
        pixel_consistency: Settings of a :class:`PseudoLabelLoss` on the label map of
            the segments, the paper's pixel-wise baseline; None: without.
        alpha: Weight of all losses on unlabeled images.
        ramp_up: Ramp-up of ``alpha``,
            ``dict(kind='exp'|'linear'|'cosine'|'step', length=iterations)``; None: the
            full weight at once. While it is 0 no unlabeled image is looked at.
        mix: Part that mixes the student's images: ``CutMix``, ``ClassMix`` or one of
            your own; None: no mixing.
        views: Names of the teacher's and the student's view in the unlabeled stream.
        segmentor: All other settings are those of :class:`SemiSegmentor`.
    """

    reads_streams = (('labeled', 'unlabeled'), ())

    def __init__(
        self,
        student: dict,
        segments: dict = SEGMENTS,
        region_losses: dict = REGION_LOSSES,
        pixel_consistency: dict | None = None,
        alpha: float = 1.0,
        ramp_up: dict | None = None,
        mix: dict | None = CUTMIX,
        views: tuple[str, str] = ('weak', 'strong'),
        teacher: dict | None = None,
        **segmentor,
    ) -> None:
        check_numbers(alpha=alpha)
        check_ramp_up(ramp_up=ramp_up)
        check_views(views)
        super().__init__(student, teacher=teacher or {}, **segmentor)
        if not self.adapter.has_queries:
            raise ValueError(
                'RC2L needs a student whose decode_head classifies masks, '
                'MaskFormerHead, Mask2FormerHead or a subclass, but got '
                f'{type(self._main_head()).__name__}'
            )
        self.segments = self.build_part(
            'segments', segments, SEGMENTS, base=PseudoSegments
        )
        self.region_losses = self.build_part(
            'region_losses', region_losses, REGION_LOSSES, base=RegionLosses
        )
        self.pixel_consistency = self.build_part(
            'pixel_consistency', pixel_consistency, PIXEL, base=PseudoLabelLoss
        )
        self.mix = self.build_part('mix', mix, CUTMIX, base=Mixing)
        self.alpha = alpha
        self.ramp_up = ramp_up
        self.views = tuple(views)

    def step(self, streams: Streams) -> dict:
        losses = self.supervised_loss(streams.labeled)
        factor = self.alpha * self.ramp(self.ramp_up)
        if not factor:
            return losses
        weak, strong = streams.unlabeled(self.views)
        teacher = self.teacher_output(weak.inputs)
        found = self.segments(
            teacher.class_logits[-1],
            teacher.mask_logits[-1],
            weak.valid & strong.valid,
        )
        images, found, features = self.mixed_map(strong.inputs, found, teacher.features)
        segments, counts = self.segments.cut(found)
        student = self.adapter.queries(self.student, images)
        unlabeled = self.region_losses(student, segments, counts, features)
        pseudo = found.pseudo_label()
        if self.pixel_consistency is not None:
            scores = semantic_scores(student.class_logits[-1], student.mask_logits[-1])
            unlabeled['loss_pixel'] = self.pixel_consistency(
                score_logits(scores), pseudo, self.iteration
            )
        self.step_outputs['pseudo'] = pseudo_label_stats(
            pseudo, counts.float(), self.num_classes
        )
        return losses | {name: factor * loss for name, loss in unlabeled.items()}

    @torch.no_grad()
    def teacher_output(self, images: Tensor) -> QueryOutput:
        """Queries of the teacher for weak images (N, 3, H, W)."""
        return self.adapter.queries(self.teacher, images)

    @torch.no_grad()
    def mixed_map(
        self, images: Tensor, found: SegmentMap, features: Tensor
    ) -> tuple[Tensor, SegmentMap, Tensor]:
        """Images, segments and the teacher's features after the part ``mix``."""
        if self.mix is None:
            return images, found, features
        large, size = found.resized(images.shape[2:]), found.number.shape[1:]
        label = large.pseudo_label()
        origin = torch.arange(len(images), device=images.device).view(-1, 1, 1)
        images, mixed = self.mixed(
            images,
            [
                label,  # ClassMix chooses classes of the first
                PseudoLabel(large.number, large.confidence, large.valid),
                label._replace(label=origin.expand_as(label.label)),
            ],
        )
        _, number, origin = mixed
        found = SegmentMap(*number[:3], found.classes).resized(size)
        origin = SegmentMap(*origin[:3], found.classes).resized(size).number
        return images, found, features.gather(0, origin[:, None].expand_as(features))

    @property
    def filters(self) -> dict:
        """The thresholds that are set, with their values."""
        parts = dict(segments=self.segments, pixel_consistency=self.pixel_consistency)
        return {
            f'{part}.{name}': value
            for part, one in parts.items()
            if one is not None
            for name, value in one.filters.items()
        }

    @property
    def learns_unlabeled(self) -> bool:
        return self.alpha > 0
