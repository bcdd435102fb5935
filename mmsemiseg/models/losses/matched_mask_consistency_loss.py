"""Mask consistency of matched regions, the baseline of RC²L."""

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...functional import Regions, dice_terms, focal_terms
from ...utils.settings import check_numbers
from .region_loss import RegionLoss


@MODELS.register_module()
class MatchedMaskConsistencyLoss(RegionLoss):
    r"""Focal and Dice loss of each pseudo segment and the mask of its query.

    :math:`\sum_i L_{mask}(m^s_{\sigma(i)}, m^t_i)`: "mask consistency between teacher
    and student predictions", the baseline of table 3 of Zhang et al., IJCAI 2022. The
    gradient reaches the masks of the matched queries.

    Args:
        weight: Weight of the loss.
        focal_weight: Weight of the focal loss in it.
        dice_weight: Weight of the Dice loss in it.
    """

    def __init__(
        self, weight: float = 1.0, focal_weight: float = 20.0, dice_weight: float = 1.0
    ) -> None:
        super().__init__(weight)
        check_numbers(focal_weight=focal_weight, dice_weight=dice_weight)
        self.focal_weight = focal_weight
        self.dice_weight = dice_weight

    def total(self, regions: Regions) -> Tensor:
        masks = regions.matched_logits, regions.targets, regions.inside
        terms = self.focal_weight * focal_terms(*masks)
        terms = terms + self.dice_weight * dice_terms(*masks)
        return torch.where(regions.matched, terms, 0).sum()
