"""Random anchors of each class."""

import math

import torch
from torch import Generator, Tensor

from .group_select import rank_in_group


@torch.no_grad()
def draw_anchors(
    label: Tensor,
    num_classes: int,
    share: float = 0.1,
    most: int | None = None,
    generator: Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw a share of the cells of each class, rounded up, without a host sync.

    Args:
        label: Class (n,) int64 of each cell; cells outside of 0 to C - 1 are not drawn.
        num_classes: Number of classes C.
        share: Share of the cells of a class that are drawn, in (0, 1].
        most: Largest number of cells of a class that are drawn; None: no limit.
        generator: Random generator on the CPU; None: torch's default one.

    Returns:
        Index of the drawn cells and their class, (m,) int64 each. Their number m
        depends on the shape alone: at the end there may be cells of class -1, which
        were not drawn.

    >>> label = torch.tensor([0, 1, 0, 255, 0, 0])
    >>> index, drawn = draw_anchors(label, num_classes=2, share=0.5)
    >>> sorted(drawn.tolist())
    [-1, -1, 0, 0, 1]
    """
    if not 0 < share <= 1:
        raise ValueError(f'share must be in (0, 1], but got {share}')
    known = (label >= 0) & (label < num_classes)
    score = torch.rand(len(label), generator=generator, dtype=torch.float64)
    own = label.where(known, num_classes)
    rank = rank_in_group(own, score.to(label.device, non_blocking=True))
    count = torch.zeros(num_classes + 1, dtype=torch.int64, device=label.device)
    count.scatter_add_(0, own, torch.ones_like(own))
    number = (count * share).ceil().long()
    size = min(len(label), math.ceil(len(label) * share) + num_classes)
    if most is not None:
        number = number.clamp(max=most)
        size = min(size, most * num_classes)
    drawn = known & (rank < number[own])
    index = drawn.byte().sort(stable=True, descending=True).indices[:size]
    return index, label.where(drawn, -1)[index]
