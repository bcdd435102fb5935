"""Where views of one image show the same place."""

import torch
from torch import Tensor


@torch.no_grad()
def move(
    values: Tensor, from_coords: Tensor, to_coords: Tensor, fill: float = 255
) -> Tensor:
    """Resample what is known in one view into the geometry of another one.

    A coordinate map says for each pixel of a view which pixel (row, column) of the
    decoded image it shows; -1 on padding. Any views work that are affine images of
    one image: resized, cropped, flipped, rotated, padded.

    Args:
        values: Values (..., H, W) of the first view: labels, confidences, ...
        from_coords: Coordinate map (2, H, W) of the first view.
        to_coords: Coordinate map (2, H', W') of the other view.
        fill: Value where the other view shows padding, or what the first one does not
            show.

    Returns:
        (..., H', W'), nearest neighbour.

    >>> coords = torch.stack(torch.meshgrid(*[torch.arange(3)] * 2, indexing='ij'))
    >>> label = torch.tensor([[0, 1, 2], [3, 4, 5], [6, 7, 8]])
    >>> move(label, coords, coords.flip(2)[:, :2])
    tensor([[2, 1, 0],
            [5, 4, 3]])
    """
    known = from_coords[0] >= 0
    pixels = known.nonzero().double()  # (n, 2)
    shown = from_coords[:, known].T.double()
    asked = to_coords.flatten(1).T.double()
    position = _affine_fit(shown, pixels, asked).round().long()
    limit = position.new_tensor(known.shape)
    seen = ((position >= 0) & (position < limit)).all(1) & (to_coords[0] >= 0).flatten()
    rows, cols = position.masked_fill(~seen[:, None], 0).T
    seen = seen & known[rows, cols]
    moved = torch.where(seen, values[..., rows, cols], fill).to(values.dtype)
    return moved.unflatten(-1, to_coords.shape[1:])


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


def _affine_fit(x: Tensor, y: Tensor, new: Tensor) -> Tensor:
    """Least squares y = A x + b of (n, 2) points, evaluated at new (m, 2)."""
    if len(x) == 0:
        return torch.full_like(new, -1)
    x_mean, y_mean = x.mean(0), y.mean(0)
    x, y = x - x_mean, y - y_mean
    slope = torch.linalg.pinv(x.T @ x, hermitian=True) @ (x.T @ y)
    return (new - x_mean) @ slope + y_mean
