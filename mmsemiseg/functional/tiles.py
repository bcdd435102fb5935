"""Rows of many groups as equal tiles, so that one batched product serves all groups."""

from typing import NamedTuple

import torch
from torch import Tensor


class Tiles(NamedTuple):
    """L tiles of T rows; all rows of a tile are of one group, groups ascend.

    Args:
        index: Row at each place, (L, T) int64; 0 where no row is.
        filled: Mask (L, T) bool, True where a row is.
        group: Group (L,) int64 of each tile.
    """

    index: Tensor
    filled: Tensor
    group: Tensor


@torch.no_grad()
def tiles_by_group(group: Tensor, num_groups: int, height: int) -> Tiles:
    """Sort n rows into tiles by their group, without waiting for the device.

    Their number L = n // T + G is that of the worst case, so shapes do not depend on
    the data; the last tiles may be empty.

    Args:
        group: Group (n,) of each row, integers; rows outside of 0 to G - 1 are left
            out.
        num_groups: Number of groups G.
        height: Number of rows T of a tile.

    >>> tiles = tiles_by_group(torch.tensor([1, 0, 1, 9, 1]), num_groups=2, height=2)
    >>> tiles.group.tolist(), tiles.filled.tolist()
    ([0, 1, 1, 1], [[True, False], [True, True], [True, False], [False, False]])
    >>> tiles.index.tolist()
    [[1, 0], [0, 2], [4, 0], [0, 0]]
    """
    n, device = len(group), group.device
    number = n // height + num_groups
    known = (group >= 0) & (group < num_groups)
    group = group.long().masked_fill(~known, num_groups)
    order = group.sort(stable=True).indices
    count = torch.zeros(num_groups + 1, dtype=torch.int64, device=device)
    count.scatter_add_(0, group, torch.ones_like(group))
    tiles = (count + height - 1) // height
    tiles[-1:].zero_()  # for what is left out; `= 0` would wait for a GPU
    ends = tiles.cumsum(0)
    first_row = count.cumsum(0) - count
    first_place = (ends - tiles) * height
    ordered = group[order]
    place = torch.arange(n, device=device) + (first_place - first_row)[ordered]
    place = torch.where(ordered == num_groups, number * height, place)
    index = torch.zeros(number * height + 1, dtype=torch.int64, device=device)
    filled = torch.zeros_like(index, dtype=torch.bool)
    index.scatter_(0, place, order)
    filled.scatter_(0, place, True)
    numbers = torch.arange(number, device=device)
    tile_group = torch.searchsorted(ends[:-1].contiguous(), numbers, right=True)
    return Tiles(
        index[:-1].view(number, height).where(filled[:-1].view(number, height), 0),
        filled[:-1].view(number, height),
        tile_group.clamp(max=num_groups - 1),
    )
