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


def of_a_group(
    rows: Tensor, group: Tensor, *others: Tensor
) -> tuple[tuple[Tensor, ...], Tensor | None]:
    """Rows of a group, which is 0 or more; the others are left out or masked.

    Args:
        rows, group, others: (n, ...) each.

    Returns:
        The rows, group, ..., that are left, and (n,) bool, those that count; None if
        all that are left do.

    >>> rows, group = torch.tensor([[5.0], [6.0], [7.0]]), torch.tensor([1, -1, 0])
    >>> (rows, group), mask = of_a_group(rows, group)
    >>> rows.flatten().tolist(), group.tolist(), mask
    ([5.0, 7.0], [1, 0], None)
    """
    counts = group >= 0
    if not may_leave_out(counts) or not counts.any():
        return (rows, group, *others), counts
    if not counts.all():
        places = places_of(counts)
        rows, group, *others = (picked(x, places) for x in (rows, group, *others))
    return (rows, group, *others), None
