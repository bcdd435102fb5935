"""Costs of matching queries with segments by their masks, for all pairs at once."""

from torch import Tensor

from .mask_losses import ALPHA, GAMMA

EPS = 1e-12  # of the logarithm, as in MaskFormer's matching


def focal_costs(masks: Tensor, targets: Tensor, inside: Tensor) -> Tensor:
    r"""Focal loss of each mask and each target, a mean over the pixels that count.

    Args:
        masks: Soft masks (N, Q, P).
        targets: Masks (N, S, P), 1 or 0; 0 on pixels that do not count.
        inside: Pixels (N, 1, P) that count, 1 or 0.

    Returns:
        (N, Q, S); 0 where no pixel counts.
    """
    within = -ALPHA * (1 - masks).pow(GAMMA) * (masks + EPS).log()
    outside = -(1 - ALPHA) * masks.pow(GAMMA) * (1 - masks + EPS).log()
    total = (within - outside) @ targets.transpose(1, 2)
    total = total + (outside * inside).sum(2, keepdim=True)
    return total / inside.sum(2, keepdim=True).clamp(min=1)


def dice_costs(masks: Tensor, targets: Tensor, inside: Tensor) -> Tensor:
    r"""Dice loss :math:`1 - (2 \sum p q + 1) / (\sum p + \sum q + 1)` of all pairs.

    Args:
        masks: Soft masks p, (N, Q, P).
        targets: Masks q, (N, S, P), 1 or 0; 0 on pixels that do not count.
        inside: Pixels (N, 1, P) that count, 1 or 0.

    Returns:
        (N, Q, S).

    >>> import torch
    >>> masks = torch.tensor([[[0.5, 0.5, 0.5, 0.5], [0.0, 0.0, 0.0, 1.0]]])
    >>> target = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
    >>> dice_costs(masks, target, torch.ones(1, 1, 4)).flatten()  # 1 - 3 / 5, 1 - 1 / 4
    tensor([0.4000, 0.7500])
    """
    both = masks @ targets.transpose(1, 2)
    sizes = (masks * inside).sum(2)[..., None] + targets.sum(2)[:, None]
    return 1 - (2 * both + 1) / (sizes + 1)
