"""The losses of RC²L: match the student's queries, then compare regions."""

from collections.abc import Mapping, Sequence

import torch
from mmengine.dist import all_reduce
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import Regions, Segments
from ...utils.profiling import stage
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
# The paper has the weights 1, 20, 4 and 4; the equation that says of which losses was
# not at hand. Four readings:
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
        matcher: Component that gives each segment a query: ``QueryMatcher``.
        mask_contrast: :class:`RegionMaskContrastLoss` (RMC), or None.
        feature_contrast: :class:`RegionFeatureContrastLoss` (RFC), or None.
        class_consistency: :class:`RegionClassConsistencyLoss` (RCC), or None.
        semantic_consistency: :class:`SemanticMaskConsistencyLoss` (SMC), or None.
        matched_consistency: :class:`MatchedMaskConsistencyLoss`, the paper's baseline
            in place of the four, or None.
        beta: Preset of the weights of the four losses; a weight in the settings of a
            loss takes precedence. The paper has 1, 20, 4 and 4, but which loss has
            which is not known, hence four readings.
            ``'a'``: RMC 4, RFC 4, RCC 1, SMC 1 (in it focal 20, Dice 1), as MaskFormer
            weighs classes by 1 and masks by 20.
            ``'b'``: RMC 1, RFC 20, RCC 4, SMC 4, the order of the introduction.
            ``'c'``: RMC 4, RFC 4, RCC 20, SMC 1, the order of Table 3.
            ``'d'``: 4 each, if 1 and 20 are those of the supervised loss.
            In ``'b'`` to ``'d'`` focal and Dice loss have 1 each. A class of your own
            in place of one of the four gets its ``weight``.
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
            preset = BETAS[beta].get(name, {})
            kind = cfg.get('type') if isinstance(cfg, Mapping) else None
            if preset and kind not in (None, default['type']):
                cfg = {'weight': preset['weight'], **cfg}
            return build_part(cfg, name, default=default | preset, base=RegionLoss)

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

    @property
    def reads_target_features(self) -> bool:
        """Whether some loss reads the features of the teacher."""
        return any(loss.reads_target_features for loss in self.losses.values())

    @stage('region losses')
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
                are; None if no loss reads them.
        """
        if not self.losses:
            return {}
        divisor = self.divisor(segments)
        layers = list(zip(student.class_logits, student.mask_logits, strict=True))
        if not self.aux_layers:
            layers = layers[-1:]
        matches = self.matches(layers, segments, valid)
        losses = {}
        for number, (queries, query) in enumerate(zip(layers, matches, strict=True)):
            regions = Regions(
                *queries,
                segments=segments,
                query=query,
                valid=valid,
                features=student.features,
                target_features=target_features,
            )
            prefix = '' if number == len(layers) - 1 else f'd{number}.'
            for name, loss in self.losses.items():
                losses[prefix + name] = loss(regions, divisor)
        return losses

    @stage('matching')
    def matches(
        self,
        layers: Sequence[tuple[Tensor, Tensor]],
        segments: Segments,
        valid: Tensor,
    ) -> 'Sequence[Tensor | None]':
        """Query (N, S) of each segment, by layer; None where no loss reads it.

        All layers wait for the device once.

        Args:
            layers: Class logits and mask logits of the student's queries, by layer.
            segments: Pseudo segments of the images.
            valid: Mask (N, h, w) bool of the pixels that count.
        """
        if not any(loss.reads_match for loss in self.losses.values()):
            return [None] * len(layers)
        costs = [self.matcher.costs(*queries, segments, valid) for queries in layers]
        exists = segments.exists.repeat(len(layers), 1)
        return self.matcher.assign(torch.cat(costs), exists).chunk(len(layers))

    def divisor(self, segments: Segments) -> 'Tensor | int':
        """What the sums over segments are divided by; processes share it."""
        if self.reduction == 'images':
            return len(segments.exists)
        number = segments.exists.sum().float()
        all_reduce(number, 'mean')
        return number.clamp(min=1)
