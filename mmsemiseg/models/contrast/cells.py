"""Cells of feature maps, with what is known of each."""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


class Cells(NamedTuple):
    """The M = h * w cells of a feature map of each of N images."""

    embedding: Tensor  # (N, M, D) of unit length
    confidence: Tensor  # (N, M)
    label: Tensor  # (N, M) int64
    valid: Tensor  # (N, M) bool, False where a pixel of the cell is padding
    size: tuple[int, int]  # (h, w)


class Keys(NamedTuple):
    """K cells of two crops, and the index among them of each cell of the crops."""

    features: Tensor  # (K, D)
    label: Tensor  # (K,) int64, -1: never a negative
    places: list[Tensor]  # two (N * M,) int64, -1 where a cell is not among the keys


def whole_cells(valid: Tensor, size: tuple[int, int]) -> Tensor:
    """Whether every pixel of a cell is valid: (N, H, W) -> (N, h, w) bool."""
    return F.adaptive_max_pool2d((~valid)[:, None].float(), size)[:, 0] == 0
