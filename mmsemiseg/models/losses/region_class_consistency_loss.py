"""Region class consistency loss (RCC) of RC²L."""

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...functional import Regions
from ...functional.regions import at_least_float
from ...utils.settings import check_numbers
from .region_loss import RegionLoss


@MODELS.register_module()
class RegionClassConsistencyLoss(RegionLoss):
    r"""Cross entropy of the class of each segment's query.

    .. math:: L_{RCC} = \sum_i -\log p^s_{\sigma(i)}(c^t_i)

    with the softmax over all classes and "no object" (Zhang et al., IJCAI 2022,
    equation 9). The gradient reaches the class logits of the matched queries.

    Args:
        weight: Weight of the loss.
        no_object_weight: Weight of the cross entropy of "no object" for each query
            without a segment, which equation 9 does not have; MaskFormer's own loss
            has 0.1. Images without a valid pixel are left out.
    """

    def __init__(self, weight: float = 1.0, no_object_weight: float = 0.0) -> None:
        super().__init__(weight)
        check_numbers(no_object_weight=no_object_weight)
        self.no_object_weight = no_object_weight

    def total(self, regions: Regions) -> Tensor:
        log_probs = at_least_float(regions.class_logits).log_softmax(-1)
        label = regions.segments.label[..., None]
        terms = regions.of_query(log_probs).gather(2, label)[..., 0]
        total = -torch.where(regions.matched, terms, 0).sum()
        if self.no_object_weight:
            total = total + self.no_object_weight * self._no_object(regions, log_probs)
        return total

    def _no_object(self, regions: Regions, log_probs: Tensor) -> Tensor:
        """Sum over the queries without a segment."""
        n, number, _ = log_probs.shape
        spare = torch.where(regions.matched, regions.query, number)
        free = torch.ones(n, number + 1, dtype=torch.bool, device=spare.device)
        free = free.scatter(1, spare, False)[:, :-1]
        free &= regions.valid.flatten(1).any(1, keepdim=True)
        return -torch.where(free, log_probs[..., -1], 0).sum()
