"""Rows that do not count are left out where knowing their number costs nothing."""

import torch
from torch import Tensor

DEVICES = ('cpu',)  # on others the program would wait for the device


def may_leave_out(rows: Tensor) -> bool:
    """Whether the rows that count may be picked, or all have to be masked."""
    return rows.device.type in DEVICES


def places_of(counted: Tensor) -> Tensor | None:
    """Where (n,) bool is True; None: all rows have to stay, masked.

    >>> places_of(torch.tensor([True, False, True])).tolist()
    [0, 2]
    """
    return torch.nonzero(counted)[:, 0] if may_leave_out(counted) else None


def picked(rows: Tensor, places: Tensor | None) -> Tensor:
    """The rows at these places, or all.

    Both passes take a fraction of those of ``rows[places]`` on a CPU.
    """
    return rows if places is None else rows.index_select(0, places)
