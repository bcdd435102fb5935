"""Matching of a student's queries with pseudo segments."""

import numpy as np
import torch
from mmseg.registry import MODELS
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ..functional import Segments, dice_costs, focal_costs
from ..utils.settings import check_numbers


@MODELS.register_module()
class QueryMatcher:
    r"""Gives each segment of an image a query of its own, at the least total cost.

    The cost of a pair is :math:`-w_c\, p_q(c_i) + w_f \mathrm{focal}(m_q, m_i) + w_d
    \mathrm{dice}(m_q, m_i)`, of MaskFormer's own matching by default. Costs and
    assignment are those of mmdet's ``HungarianAssigner``, but the costs are computed
    for all images at once, and brought to the host once. Pixels that do not count have
    no part in it.

    Args:
        class_weight: Weight of the class in the cost; 0 matches by masks alone.
        focal_weight: Weight of the focal loss of the masks in the cost.
        dice_weight: Weight of the Dice loss of the masks in the cost.
    """

    def __init__(
        self,
        class_weight: float = 1.0,
        focal_weight: float = 20.0,
        dice_weight: float = 1.0,
    ) -> None:
        check_numbers(
            class_weight=class_weight,
            focal_weight=focal_weight,
            dice_weight=dice_weight,
        )
        if not focal_weight + dice_weight > 0:
            raise ValueError(
                'focal_weight and dice_weight must not both be 0: nothing would '
                'compare the masks'
            )
        self.class_weight = class_weight
        self.focal_weight = focal_weight
        self.dice_weight = dice_weight

    def __call__(
        self,
        class_logits: Tensor,
        mask_logits: Tensor,
        segments: Segments,
        valid: Tensor,
    ) -> Tensor:
        """Query (N, S) int64 of each segment; -1: there is no segment or no query left.

        Args:
            class_logits: Class logits (N, Q, C + 1) of the queries.
            mask_logits: Mask logits (N, Q, h, w) of the queries.
            segments: Segments of the same images.
            valid: Mask (N, h, w) bool of the pixels that count.
        """
        costs = self.costs(class_logits, mask_logits, segments, valid)
        return self.assign(costs, segments.exists)

    @torch.no_grad()
    def costs(
        self,
        class_logits: Tensor,
        mask_logits: Tensor,
        segments: Segments,
        valid: Tensor,
    ) -> Tensor:
        """Cost (N, Q, S) float32 of each query and segment, of the same arguments."""
        with torch.autocast(mask_logits.device.type, enabled=False):
            inside = valid.flatten(1)[:, None].float()
            masks = mask_logits.float().flatten(2).sigmoid()
            targets = segments.masks.flatten(2).float() * inside
            label = segments.label[:, None].expand(-1, masks.shape[1], -1)
            probs = class_logits.float().softmax(-1)
            total = -self.class_weight * probs.gather(2, label)
            if self.focal_weight:
                costs = focal_costs(masks, targets, inside)
                total = total + self.focal_weight * costs
            if self.dice_weight:
                total = total + self.dice_weight * dice_costs(masks, targets, inside)
        return total

    def assign(self, costs: Tensor, exists: Tensor) -> Tensor:
        """Query (N, S) int64 of each segment at the least total cost; -1: none.

        Waits for the device once. A cost that is not a number, of a step whose numbers
        are too large, counts as 0.

        Args:
            costs: Cost (N, Q, S) of each query and segment.
            exists: Whether there is a segment, (N, S) bool.
        """
        query = np.full(exists.shape, -1, np.int64)
        if query.size:
            costs = costs.nan_to_num().masked_fill(~exists[:, None], torch.inf)
            for row, cost in zip(query, costs.cpu().numpy(), strict=True):
                segments = np.flatnonzero(np.isfinite(cost[0]))
                queries, chosen = linear_sum_assignment(cost[:, segments])
                row[segments[chosen]] = queries
        return torch.from_numpy(query).to(exists.device)

    def __repr__(self) -> str:
        names = ('class_weight', 'focal_weight', 'dice_weight')
        settings = ', '.join(f'{name}={getattr(self, name)}' for name in names)
        return f'QueryMatcher({settings})'
