"""Cells: the places of a feature map, one row each, with the class of their pixel."""

import torch
import torch.nn.functional as F
from torch import Tensor


def to_rows(features: Tensor) -> Tensor:
    """(N, D, h, w) -> (N * h * w, D)."""
    return features.permute(0, 2, 3, 1).flatten(0, 2)


def at_cells(values: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, H, W) of any type -> (N, h, w), of the nearest pixel."""
    found = F.interpolate(values[:, None].float(), tuple(size))
    return found[:, 0].to(values.dtype)


def to_group(label: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Labels, -1 instead of those that are ignored or of no class.

    >>> to_group(torch.tensor([0, 2, 3, 255]), num_classes=3, ignore_index=0).tolist()
    [-1, 2, -1, -1]
    """
    known = (label >= 0) & (label < num_classes) & (label != ignore_index)
    return torch.where(known, label, -1)
