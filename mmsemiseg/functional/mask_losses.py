"""Focal and Dice loss of masks, and the union of the masks of a class."""

import torch
import torch.nn.functional as F
from torch import Tensor

ALPHA, GAMMA = 0.25, 2  # of MaskFormer


def focal_terms(logits: Tensor, targets: Tensor, inside: Tensor) -> Tensor:
    r"""Focal loss of masks, a mean over the pixels that are not ignored.

    :math:`-a_t (1 - p_t)^2 \log p_t` with a = 0.25 for pixels of the mask and 0.75 for
    others, as MaskFormer has it.

    Args:
        logits: Mask logits (N, S, P).
        targets: Masks (N, S, P), 1 or 0.
        inside: Pixels (N, 1, P) that count, 1 or 0.

    Returns:
        (N, S); 0 where no pixel counts.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction='none')
    share = torch.where(targets > 0, ALPHA, 1 - ALPHA)
    terms = share * torch.expm1(-entropy).pow(GAMMA) * entropy
    return (terms * inside).sum(2) / inside.sum(2).clamp(min=1)


def dice_terms(logits: Tensor, targets: Tensor, inside: Tensor) -> Tensor:
    r"""Dice loss :math:`1 - (2 \sum p q + 1) / (\sum p + \sum q + 1)` of masks.

    Args:
        logits: Mask logits (N, S, P); p is their sigmoid.
        targets: Masks q (N, S, P), 1 or 0.
        inside: Pixels (N, 1, P) that count, 1 or 0.

    Returns:
        (N, S).

    >>> mask = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
    >>> dice_terms(torch.zeros(1, 1, 4), mask, torch.ones(1, 1, 4))  # 1 - 3 / 5
    tensor([[0.4000]])
    """
    masks, targets = logits.sigmoid() * inside, targets * inside
    both = (masks * targets).sum(2)
    return 1 - (2 * both + 1) / (masks.sum(2) + targets.sum(2) + 1)


def union_of_classes(
    mask_logits: Tensor, label: Tensor, num_classes: int
) -> tuple[Tensor, Tensor]:
    """Merge the masks of each class: the greatest of their logits, pixel by pixel.

    Args:
        mask_logits: Mask logits (N, Q, P).
        label: Class (N, Q) int64 of each mask, 0 to C; C is "no object".
        num_classes: Number of classes C.

    Returns:
        Mask logits (N, C, P), 0 for a class without masks, and which classes have one,
        (N, C) bool.

    >>> logits = torch.tensor([[[1.0, -2.0], [-3.0, 4.0], [9.0, 9.0]]])
    >>> union_of_classes(logits, torch.tensor([[1, 1, 2]]), num_classes=2)[0].tolist()
    [[[0.0, 0.0], [1.0, 4.0]]]
    """
    n, _, pixels = mask_logits.shape
    index = label[..., None].expand_as(mask_logits)
    some = torch.zeros(n, num_classes + 1, dtype=torch.bool, device=label.device)
    some = some.scatter(1, label, True)
    # From -inf: a first value that a logit can have would take a share of its gradient
    union = mask_logits.new_full((n, num_classes + 1, pixels), -torch.inf)
    union = union.scatter_reduce(1, index, mask_logits, 'amax')
    return torch.where(some[..., None], union, 0)[:, :-1], some[:, :-1]
