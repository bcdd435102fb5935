"""Region mask contrastive loss (RMC) of RC²L."""

from mmseg.registry import MODELS
from torch import Tensor

from ...functional import Regions, mask_similarity, pair_contrast
from ...functional.region_contrast import SIMILARITIES
from ...utils.settings import check_choices
from .region_loss import RegionLoss


@MODELS.register_module()
class RegionMaskContrastLoss(RegionLoss):
    r"""Each pseudo segment against the masks of the queries of its image.

    .. math:: L_{RMC} = \sum_i -\log\frac{e^{d(m^s_{\sigma(i)}, m^t_i)/\tau}}
              {\sum_{j \ne i} e^{d(m^s_{\sigma(j)}, m^t_i)/\tau}}

    with the Dice overlap d of the student's soft masks (Zhang et al., IJCAI 2022,
    equation 5). As printed the denominator lacks the pair of the numerator. The loss is
    then not bounded below: it is a Dice loss of each matched pair with the weight
    ``weight / temperature``, plus a term that repels the others. An image with fewer
    than two matched segments adds 0. The gradient reaches the student's masks.

    Args:
        weight: Weight of the loss.
        temperature: Temperature tau > 0.
        include_positive: Whether the denominator has the positive too (InfoNCE).
        similarity: Overlap of two masks, ``'dice'`` or ``'iou2'`` (twice intersection
            over union).
    """

    def __init__(
        self,
        weight: float = 4.0,
        temperature: float = 0.5,
        include_positive: bool = False,
        similarity: str = 'dice',
    ) -> None:
        super().__init__(weight)
        if not temperature > 0:
            raise ValueError(f'temperature must be > 0, but got {temperature}')
        check_choices(similarity=(similarity, SIMILARITIES))
        self.temperature = temperature
        self.include_positive = include_positive
        self.similarity = similarity

    def total(self, regions: Regions) -> Tensor:
        similarity = mask_similarity(
            regions.matched_masks, regions.targets, self.similarity
        )
        return pair_contrast(
            similarity, regions.matched, self.temperature, self.include_positive
        ).sum()
