"""Region feature contrastive loss (RFC) of RC²L."""

from mmseg.registry import MODELS
from torch import Tensor

from ...functional import Regions, pair_contrast, pooled_features
from ...functional.regions import at_least_float
from ...utils.settings import check_choices
from .region_loss import RegionLoss

TARGETS = ('student', 'teacher')


@MODELS.register_module()
class RegionFeatureContrastLoss(RegionLoss):
    r"""Features pooled under segments against features pooled under queries.

    .. math:: L_{RFC} = \sum_i -\log\frac{e^{\cos(r^s_{\sigma(i)}, r^t_i)/\tau}}
              {\sum_{j \ne i} e^{\cos(r^s_{\sigma(j)}, r^t_i)/\tau}}

    with :math:`r^s = \sum_x m^s_x F^s_x` and :math:`r^t = \sum_x m^t_x F^s_x` (Zhang et
    al., IJCAI 2022, equations 6 to 8): both pool the student's features, and the cosine
    makes their sum and their mean the same. A segment whose pooled feature is 0 is left
    out; an image with fewer than two that are left adds 0. The gradient reaches the
    student's masks and features through r^s.

    Args:
        weight: Weight of the loss.
        temperature: Temperature tau > 0.
        include_positive: Whether the denominator has the positive too (InfoNCE).
        target_features: Features that are pooled under the segments, those of the
            ``'student'`` or of the ``'teacher'``.
        detach_target: Whether r^t passes no gradient to the student's features.
    """

    def __init__(
        self,
        weight: float = 4.0,
        temperature: float = 0.5,
        include_positive: bool = False,
        target_features: str = 'student',
        detach_target: bool = True,
    ) -> None:
        super().__init__(weight)
        if not temperature > 0:
            raise ValueError(f'temperature must be > 0, but got {temperature}')
        check_choices(target_features=(target_features, TARGETS))
        self.temperature = temperature
        self.include_positive = include_positive
        self.target_features = target_features
        self.detach_target = detach_target

    @property
    def reads_target_features(self) -> bool:
        return self.target_features == 'teacher'

    def total(self, regions: Regions) -> Tensor:
        features = at_least_float(regions.features.flatten(2))
        targets = features
        if self.target_features == 'teacher':
            targets = at_least_float(regions.target_features.flatten(2)).detach()
        elif self.detach_target:
            targets = features.detach()
        own = pooled_features(regions.matched_masks, features)
        target = pooled_features(regions.targets, targets)
        counts = regions.matched & own.detach().any(2) & target.detach().any(2)
        return pair_contrast(
            target @ own.transpose(1, 2),
            counts,
            self.temperature,
            self.include_positive,
        ).sum()
