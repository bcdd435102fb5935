"""Matching of a student's queries with pseudo segments, by mmdet's assigner."""

import torch
from mmengine.structures import InstanceData
from mmseg.registry import MODELS
from torch import Tensor

from ..functional import Segments
from ..utils.settings import check_numbers

NEEDS = (
    "matching queries needs mmdet's HungarianAssigner, but mmdet cannot be imported "
    '({error}). Install mmdet and mmcv with its compiled operators (`make ops` in a '
    'clone of this package does so), see docs/compatibility.md'
)


@MODELS.register_module()
class QueryMatcher:
    r"""Gives each segment of an image a query of its own, at the least total cost.

    The cost of a pair is :math:`-w_c\, p_q(c_i) + w_f \mathrm{focal}(m_q, m_i) + w_d
    \mathrm{dice}(m_q, m_i)`, of MaskFormer's own matching by default; the assignment is
    that of mmdet's ``HungarianAssigner``. Pixels that do not count have no part in it.

    Args:
        class_weight: Weight of the class in the cost; 0 matches by masks alone.
        focal_weight: Weight of the focal loss of the masks in the cost.
        dice_weight: Weight of the Dice loss of the masks in the cost.

    Raises:
        ImportError: mmdet cannot be imported.
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
        try:
            from mmdet.models import task_modules
        except ImportError as error:
            raise ImportError(NEEDS.format(error=error)) from error
        costs = [
            (class_weight, dict(type='mmdet.ClassificationCost')),
            (focal_weight, dict(type='mmdet.FocalLossCost', binary_input=True)),
            (dice_weight, dict(type='mmdet.DiceCost', pred_act=True, eps=1.0)),
        ]
        self.assigner = task_modules.HungarianAssigner(
            [dict(cost, weight=weight) for weight, cost in costs if weight]
        )

    @torch.no_grad()
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
        query = torch.full_like(segments.label, -1)
        whole = valid.flatten(1).all(1).tolist()
        counts = segments.exists.sum(1).tolist()
        with torch.autocast(mask_logits.device.type, enabled=False):
            for i, count in enumerate(counts):
                masks = mask_logits[i].float().flatten(1)
                targets = segments.masks[i, :count].flatten(1)
                if not whole[i]:
                    inside = valid[i].flatten()
                    masks, targets = masks[:, inside], targets[:, inside]
                found = self.assigner.assign(
                    InstanceData(scores=class_logits[i].float(), masks=masks),
                    InstanceData(labels=segments.label[i, :count], masks=targets),
                )
                segment = found.gt_inds - 1
                matched = torch.nonzero(segment >= 0)[:, 0]
                query[i, segment[matched]] = matched
        return query

    def __repr__(self) -> str:
        costs = [
            f'{type(cost).__name__}={cost.weight}' for cost in self.assigner.match_costs
        ]
        return f'QueryMatcher({", ".join(costs)})'
