"""The losses of RC²L: match the student's queries, then compare regions."""

from collections.abc import Mapping

from mmengine.dist import all_reduce
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import Regions, Segments
from ...utils.settings import check_choices
from ..losses import RegionLoss
from ..mask_heads import QueryOutput
from ..parts import build_part
from ..query_matcher import QueryMatcher

MATCHER = dict(type='QueryMatcher')
RMC = dict(type='RegionMaskContrastLoss')
RFC = dict(type='RegionFeatureContrastLoss')
RCC = dict(type='RegionClassConsistencyLoss')
SMC = dict(type='SemanticMaskConsistencyLoss')
MATCHED = dict(type='MatchedMaskConsistencyLoss')
REDUCTIONS = ('segments', 'images')
EQUAL = dict(focal_weight=1.0, dice_weight=1.0)
# The paper's weights 1, 20, 4 and 4, of an equation that is lost, in four readings
BETAS = {
    'a': dict(
        class_consistency=dict(weight=1.0),
        semantic_consistency=dict(weight=1.0, focal_weight=20.0, dice_weight=1.0),
        mask_contrast=dict(weight=4.0),
        feature_contrast=dict(weight=4.0),
    ),
    'b': dict(
        mask_contrast=dict(weight=1.0),
        feature_contrast=dict(weight=20.0),
        class_consistency=dict(weight=4.0),
        semantic_consistency=dict(weight=4.0, **EQUAL),
    ),
    'c': dict(
        semantic_consistency=dict(weight=1.0, **EQUAL),
        class_consistency=dict(weight=20.0),
        mask_contrast=dict(weight=4.0),
        feature_contrast=dict(weight=4.0),
    ),
    'd': dict(
        class_consistency=dict(weight=4.0),
        semantic_consistency=dict(weight=4.0, **EQUAL),
        mask_contrast=dict(weight=4.0),
        feature_contrast=dict(weight=4.0),
    ),
}


@MODELS.register_module()
class RegionLosses(nn.Module):
    """Losses of a student's queries on pseudo segments, each of which may be left out.

    Args:
        matcher: Part that gives each segment a query: ``QueryMatcher``.
        mask_contrast: :class:`RegionMaskContrastLoss` (RMC), or None.
        feature_contrast: :class:`RegionFeatureContrastLoss` (RFC), or None.
        class_consistency: :class:`RegionClassConsistencyLoss` (RCC), or None.
        semantic_consistency: :class:`SemanticMaskConsistencyLoss` (SMC), or None.
        matched_consistency: :class:`MatchedMaskConsistencyLoss`, the paper's baseline
            in place of the four, or None.
        beta: Preset of the weights of the four losses, ``'a'`` to ``'d'``; a weight in
            the settings of a loss wins over it.
        reduction: Divisor of the sums over segments: ``'segments'``, their number in
            the batches of all processes, or ``'images'``, the number of images.
        aux_layers: Whether all decoder layers learn from the segments, each by its own
            matching; otherwise the last one alone.
    """

    def __init__(
        self,
        matcher: Mapping = MATCHER,
        mask_contrast: Mapping | None = RMC,
        feature_contrast: Mapping | None = RFC,
        class_consistency: Mapping | None = RCC,
        semantic_consistency: Mapping | None = SMC,
        matched_consistency: Mapping | None = None,
        beta: str = 'a',
        reduction: str = 'segments',
        aux_layers: bool = False,
    ) -> None:
        super().__init__()
        check_choices(beta=(beta, tuple(BETAS)), reduction=(reduction, REDUCTIONS))
        self.matcher = build_part(
            matcher, 'matcher', default=MATCHER, base=QueryMatcher
        )

        def build(name: str, cfg: Mapping | None, default: dict) -> RegionLoss | None:
            default = default | BETAS[beta].get(name, {})
            return build_part(cfg, name, default=default, base=RegionLoss)

        self.mask_contrast = build('mask_contrast', mask_contrast, RMC)
        self.feature_contrast = build('feature_contrast', feature_contrast, RFC)
        self.class_consistency = build('class_consistency', class_consistency, RCC)
        self.semantic_consistency = build(
            'semantic_consistency', semantic_consistency, SMC
        )
        self.matched_consistency = build(
            'matched_consistency', matched_consistency, MATCHED
        )
        self.beta = beta
        self.reduction = reduction
        self.aux_layers = aux_layers

    @property
    def losses(self) -> dict[str, RegionLoss]:
        """The losses that there are, by the name that they have in the log."""
        found = dict(
            loss_rmc=self.mask_contrast,
            loss_rfc=self.feature_contrast,
            loss_rcc=self.class_consistency,
            loss_smc=self.semantic_consistency,
            loss_matched=self.matched_consistency,
        )
        return {name: loss for name, loss in found.items() if loss is not None}

    def forward(
        self,
        student: QueryOutput,
        segments: Segments,
        valid: Tensor,
        target_features: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Weighted losses by name; those of other layers than the last with a prefix.

        Args:
            student: Output of the student for the images.
            segments: Pseudo segments of the images.
            valid: Mask (N, h, w) bool of the pixels that count.
            target_features: Features (N, D, h, w) of the teacher, mixed as the images
                are.
        """
        divisor = self.divisor(segments)
        last = len(student.mask_logits) - 1
        losses = {}
        for layer in range(0 if self.aux_layers else last, last + 1):
            queries = student.class_logits[layer], student.mask_logits[layer]
            regions = Regions(
                *queries,
                segments=segments,
                query=self.matcher(*queries, segments, valid),
                valid=valid,
                features=student.features,
                target_features=target_features,
            )
            prefix = '' if layer == last else f'd{layer}.'
            for name, loss in self.losses.items():
                losses[prefix + name] = loss(regions, divisor)
        return losses

    def divisor(self, segments: Segments) -> 'Tensor | int':
        """What the sums over segments are divided by; processes share it."""
        if self.reduction == 'images':
            return len(segments.exists)
        number = segments.exists.sum().float()
        all_reduce(number, 'mean')
        return number.clamp(min=1)
