"""RC²L: region-level contrastive and consistency learning on mask classification."""

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...functional import pseudo_label_stats
from ...functional.schedules import check_ramp_up
from ...utils.settings import check_numbers, check_views
from ..losses import PseudoLabelLoss
from ..mask_heads import QueryOutput
from ..mixing import Mixing
from ..pseudo_segments import PseudoSegments
from ..segment_map import SegmentMap
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
    teacher divides the weak view into pseudo segments; the map of the segments is mixed
    as the strong view is. Hungarian matching gives each segment one of the student's
    queries. Region class consistency (RCC): the query learns the class of its segment.
    Semantic mask consistency (SMC): the masks of all queries of a class, joined, learn
    the area of its segments. Region mask contrast (RMC): a query's mask is pulled to
    its own segment and pushed from the others of the image. Region feature contrast
    (RFC): so are the features pooled under it. Needs a
    :class:`~mmsemiseg.engine.hooks.MeanTeacherHook`, and mmdet and mmcv with its
    compiled operators, which such a student is built on.

    Args:
        student: Config of the segmentor that is trained, one with a MaskFormer or
            Mask2Former head.
        segments: Component that makes pseudo segments: ``SemanticSegments`` or
            ``QuerySegments``. Its ``min_area`` and ``threshold`` are for the losses on
            segments.
        region_losses: Settings of the :class:`RegionLosses` on them: matching, losses
            and their weights.
        pixel_consistency: Settings of a :class:`PseudoLabelLoss` on the label map of
            the segments, the paper's pixel-wise baseline; None: without. Its pixels are
            chosen by its own ``threshold``, None by default, not that of ``segments``.
        alpha: Weight of all losses on unlabeled images.
        ramp_up: Ramp-up of ``alpha``,
            ``dict(kind='exp'|'linear'|'cosine'|'step', length=iterations)``; None: the
            full weight at once. While it is 0 no unlabeled image is looked at.
        mix: Component that mixes the student's images: ``CutMix``, ``ClassMix`` or one
            of your own; None: no mixing.
        views: Names of the teacher's and the student's view in the unlabeled stream.
        teacher: Settings of the EMA teacher, by default ``dict(mode='eval',
            buffers='copy')``.
        predict_with: Network for prediction and testing, ``'student'``, ``'teacher'``
            or ``'mean'``, the mean of their probabilities. The paper does not say which
            one it tests.
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
        predict_with: str = 'student',
        **segmentor,
    ) -> None:
        check_numbers(alpha=alpha)
        check_ramp_up(ramp_up=ramp_up)
        check_views(views)
        super().__init__(
            student, teacher=teacher or {}, predict_with=predict_with, **segmentor
        )
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
        if not (factor and self.learns_unlabeled):
            return losses
        weak, strong = streams.unlabeled(self.views)
        found, features = self.teach(weak.inputs, weak.valid & strong.valid)
        images, found, features = found.mixed(
            strong.inputs, self.mix, self.num_classes, features
        )
        student = self.adapter.queries(self.student, images)
        unlabeled = self.unlabeled_losses(student, found, features)
        return losses | {name: factor * loss for name, loss in unlabeled.items()}

    @torch.no_grad()
    def teach(self, images: Tensor, valid: Tensor) -> tuple[SegmentMap, Tensor | None]:
        """Segments of weak images, and the teacher's features if a loss reads them."""
        teacher = self.adapter.queries(self.teacher, images)
        found = self.segments(teacher.class_logits[-1], teacher.mask_logits[-1], valid)
        read = self.region_losses.reads_target_features
        return found, teacher.features if read else None

    def unlabeled_losses(
        self, student: QueryOutput, found: SegmentMap, features: Tensor | None
    ) -> dict:
        """Losses on the segments (5)-(10), and on the pixels of their map."""
        losses, learned = {}, torch.zeros_like(found.valid)
        if self.region_losses.losses:
            segments, counts = self.segments.cut(found)
            losses |= self.region_losses(student, segments, counts, features)
            learned |= segments.masks.any(1)
        pseudo = found.pseudo_label()
        if (pixel := self.pixel_consistency) is not None:
            losses['loss_pixel'] = pixel(student.pixel_logits(), pseudo, self.iteration)
            learned |= pixel.pixel_weights(pseudo) > 0
        self.step_outputs['pseudo'] = pseudo_label_stats(
            pseudo, learned.float(), self.num_classes
        )
        return losses

    @property
    def filters(self) -> dict:
        """Settings that keep pixels from being learned, with their values."""
        own = self.segments.filters if self.region_losses.losses else {}
        return {f'segments.{name}': own[name] for name in own} | super().filters

    @property
    def learns_unlabeled(self) -> bool:
        """Whether any loss of the unlabeled images has a weight."""
        losses = (*self.region_losses.losses.values(), self.pixel_consistency)
        return self.alpha > 0 and any(one.weight for one in losses if one is not None)
