"""Semantic mask consistency loss (SMC) of RC²L."""

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...functional import Regions, dice_terms, focal_terms, union_of_classes
from ...functional.regions import at_least_float
from ...utils.settings import check_numbers
from .region_loss import RegionLoss


@MODELS.register_module()
class SemanticMaskConsistencyLoss(RegionLoss):
    r"""Focal and Dice loss of the union of the masks of each class.

    .. math:: L_{SMC} = \sum_i L_{mask}(\cup\{m^s_q : \arg\max p^s_q = c^t_i\}, m^t_i)

    (Zhang et al., IJCAI 2022, equation 10). The union is the pixelwise maximum over all
    queries whose most probable class, "no object" included, is that of the segment; the
    target is the union of all pseudo segments of the class. A segment of whose class
    the student has no query is left out. The gradient reaches, at each pixel, the mask
    of the query that has the maximum.

    Args:
        weight: Weight of the loss.
        focal_weight: Weight of the focal loss in it.
        dice_weight: Weight of the Dice loss in it.
    """

    reads_match = False

    def __init__(
        self, weight: float = 1.0, focal_weight: float = 20.0, dice_weight: float = 1.0
    ) -> None:
        super().__init__(weight)
        check_numbers(focal_weight=focal_weight, dice_weight=dice_weight)
        self.focal_weight = focal_weight
        self.dice_weight = dice_weight

    def total(self, regions: Regions) -> Tensor:
        logits = at_least_float(regions.mask_logits.flatten(2))
        classes = regions.class_logits.shape[-1] - 1
        union, some = union_of_classes(logits, regions.class_logits.argmax(-1), classes)
        label, exists = regions.segments.label, regions.segments.exists
        index = label[..., None].expand(-1, -1, union.shape[2])
        counts = exists & some.gather(1, label)
        together = (label[:, None] == label[..., None]) & exists[:, None]
        targets = (together.to(union.dtype) @ regions.targets).clamp(max=1)
        masks = union.gather(1, index), targets, regions.inside
        terms = self.focal_weight * focal_terms(*masks)
        terms = terms + self.dice_weight * dice_terms(*masks)
        return torch.where(counts, terms, 0).sum()
