"""Where rows may be left out."""

import torch

from mmsemiseg.functional import may_leave_out


def test_only_where_nothing_waits():
    assert may_leave_out(torch.empty(0))
    assert not may_leave_out(torch.empty(0, device='meta'))
