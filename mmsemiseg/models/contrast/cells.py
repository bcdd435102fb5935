"""Cells, the positions of a feature map, with what is known of each."""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


class Cells(NamedTuple):
    """The M = h * w cells, or positions, of the feature map of each of N images."""

    embedding: Tensor  # (N, M, D) of unit length
    confidence: Tensor  # (N, M)
    label: Tensor  # (N, M) int64
    valid: Tensor  # (N, M) bool, False where a pixel of the cell is padding
    size: tuple[int, int]  # (h, w)


class Keys(NamedTuple):
    """K cells drawn from two crops, and where each cell of the crops is among them."""

    features: Tensor  # (K, D)
    label: Tensor  # (K,) int64, -1: never a negative
    places: list[Tensor]  # of each crop (N * M,) int64: index of the key, -1 for none


def whole_cells(valid: Tensor, size: tuple[int, int]) -> Tensor:
    """Whether every pixel of a cell is valid: (N, H, W) -> (N, h, w) bool."""
    return F.adaptive_max_pool2d((~valid)[:, None].float(), size)[:, 0] == 0
