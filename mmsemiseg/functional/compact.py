"""Rows that do not count are left out where knowing their number costs nothing."""

from torch import Tensor

DEVICES = ('cpu',)  # on others the program would wait for the device


def may_leave_out(rows: Tensor) -> bool:
    """Whether the rows that count may be picked, or all have to be masked."""
    return rows.device.type in DEVICES
