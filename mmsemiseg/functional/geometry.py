"""Where views of one image show the same place."""

import torch
from torch import Tensor


def matching_cells(
    crops: tuple[Tensor, Tensor], flips: tuple[Tensor, Tensor], size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """For each cell of the feature map of one crop the cell of another crop.

    Both are crops of the same size from one image, perhaps flipped horizontally, whose
    offsets differ by whole cells.

    Args:
        crops: Corners of each image's first and second crop, two (N, 2) int64: row and
            column of the top left, in cells.
        flips: Whether the first and the second crops are flipped, two (N,) bool.
        size: Size (h, w) of the feature maps in cells.

    Returns:
        (N, h * w) int64: index, by rows, of the cell of the second crop that shows what
        the cell of the first shows, 0 where there is none; and whether there is one.

    >>> corner, no = torch.tensor([[0, 0]]), torch.tensor([False])
    >>> index, found = matching_cells((corner, corner + 1), (no, no), (2, 2))
    >>> index.tolist(), found.tolist()
    ([[0, 0, 0, 0]], [[False, False, False, True]])
    """
    h, w = size
    device = crops[0].device
    shift = crops[0] - crops[1]
    rows = torch.arange(h, device=device).view(1, h, 1) + shift[:, 0].view(-1, 1, 1)
    cols = torch.arange(w, device=device).view(1, 1, w)
    cols = torch.where(flips[0].view(-1, 1, 1), w - 1 - cols, cols)
    cols = cols + shift[:, 1].view(-1, 1, 1)
    found = (rows >= 0) & (rows < h) & (cols >= 0) & (cols < w)
    cols = torch.where(flips[1].view(-1, 1, 1), w - 1 - cols, cols)
    index = torch.where(found, rows * w + cols, 0)
    return index.flatten(1), found.flatten(1)
