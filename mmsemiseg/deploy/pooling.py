"""Pooling to a fixed number of cells, which ONNX has for divisors of the size alone."""

import torch
from torch import Tensor, nn


class MatrixPool2d(nn.Module):
    """``AdaptiveAvgPool2d`` as two products with matrices, for maps of any size.

    Args:
        cells: Rows and columns of the result.

    Example:
        >>> images = torch.rand(1, 2, 7, 5)
        >>> expected = nn.AdaptiveAvgPool2d((3, 2))(images)
        >>> torch.testing.assert_close(MatrixPool2d((3, 2))(images), expected)
    """

    def __init__(self, cells: tuple[int, int]) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, *cells)"""
        rows, columns = map(_shares, self.cells, maps.shape[2:], [maps, maps])
        return rows @ maps @ columns.transpose(0, 1)


def _shares(cells: int, side, like: Tensor) -> Tensor:
    """(cells, side): the share of each place in each cell."""
    numbers = torch.arange(cells, device=like.device)
    starts = numbers * side // cells
    ends = ((numbers + 1) * side + cells - 1) // cells
    places = torch.arange(side, device=like.device)
    inside = (places >= starts[:, None]) & (places < ends[:, None])
    return inside.to(like.dtype) / (ends - starts)[:, None].to(like.dtype)


def traceable_pooling(network: nn.Module) -> nn.Module:
    """Replace the layers that pool to several cells."""
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.AdaptiveAvgPool2d):
                cells = layer.output_size
                cells = (cells, cells) if isinstance(cells, int) else tuple(cells)
                if cells != (1, 1) and None not in cells:
                    setattr(parent, name, MatrixPool2d(cells))
    return network
