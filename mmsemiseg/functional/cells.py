"""Cells, the positions of a feature map: as rows, and with the label of their pixel."""

import torch
import torch.nn.functional as F
from torch import Tensor


def to_rows(features: Tensor) -> Tensor:
    """One row for each cell: (N, D, h, w) -> (N * h * w, D)."""
    return features.permute(0, 2, 3, 1).flatten(0, 2)


def at_cells(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Value of the nearest pixel of each cell: (N, H, W) of any type -> (N, h, w)."""
    found = F.interpolate(values[:, None].float(), tuple(size))
    return found[:, 0].to(values.dtype)


def logits_at_cells(
    logits: Tensor,
    pixels: tuple[int, int],
    size: tuple[int, int],
    align_corners: bool = False,
) -> Tensor:
    """Logits of the pixels that :func:`at_cells` takes, for labels of the same pixels.

    Equal to enlarging the logits to the image, bilinearly, and then taking the nearest
    pixel of each cell; but nothing as large as the image is computed.

    Args:
        logits: Logits (N, C, h', w') of any float type.
        pixels: Size (H, W) of the image in pixels.
        size: Size (h, w) of the grid of cells.
        align_corners: Whether enlarging the logits aligns corners, as the head that
            gave them has it.

    Returns:
        (N, C, h, w), float32 at least.

    >>> logits = torch.tensor([[[[0.0, 4.0]]]])
    >>> F.interpolate(logits, (1, 4), mode='bilinear').flatten().tolist()
    [0.0, 1.0, 3.0, 4.0]
    >>> logits_at_cells(logits, (1, 4), (1, 2)).flatten().tolist()  # pixels 0 and 2
    [0.0, 3.0]
    """
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    for dim in (2, 3):
        length = logits.shape[dim]
        place = torch.arange(length, dtype=logits.dtype, device=logits.device)
        places = _along(place, pixels[dim - 2], 'linear', align_corners)
        # in float32, as at_cells: in others PyTorch may round to another pixel
        pixel = torch.arange(len(places), dtype=torch.float32, device=logits.device)
        place = places[_along(pixel, size[dim - 2], 'nearest').long()]
        before = place.long().clamp(max=length - 1)
        after = (before + 1).clamp(max=length - 1)
        share = (place - before).unflatten(0, (-1,) + (1,) * (3 - dim))
        logits = torch.lerp(
            logits.index_select(dim, before), logits.index_select(dim, after), share
        )
    return logits


def valid_labels(label: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Labels, -1 instead of those that are ignored or of no class.

    >>> labels = torch.tensor([0, 2, 3, 255])
    >>> valid_labels(labels, num_classes=3, ignore_index=0).tolist()
    [-1, 2, -1, -1]
    """
    known = (label >= 0) & (label < num_classes) & (label != ignore_index)
    return torch.where(known, label, -1)


def _along(values: Tensor, length: int, mode: str, align_corners=None) -> Tensor:
    """(n,) -> (length,), as PyTorch resizes images along one of their sides."""
    values = F.interpolate(
        values[None, None], length, mode=mode, align_corners=align_corners
    )
    return values[0, 0]


def nearest_map(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Map (N, H, W) of any type at another size, each place from the nearest centre.

    A map that is enlarged and made small again is the same.

    >>> nearest_map(torch.tensor([[[3, -1, 7]]]), (1, 10)).tolist()
    [[[3, 3, 3, -1, -1, -1, -1, 7, 7, 7]]]
    """
    if tuple(values.shape[1:]) == tuple(size):
        return values
    found = F.interpolate(values[:, None].float(), tuple(size), mode='nearest-exact')
    return found[:, 0].to(values.dtype)
