"""Where rows may be left out."""

import torch

from mmsemiseg.functional import compact, may_leave_out, picked, places_of


def test_only_where_nothing_waits():
    assert may_leave_out(torch.empty(0))
    assert not may_leave_out(torch.empty(0, device='meta'))


def test_rows_are_picked_or_kept(monkeypatch):
    rows = torch.arange(8.0).view(4, 2).requires_grad_()
    counted = torch.tensor([True, False, False, True])
    found = picked(rows, places_of(counted))
    assert found.tolist() == [[0, 1], [6, 7]]
    (grad,) = torch.autograd.grad((found**2).sum(), rows)
    assert grad.tolist() == [[0, 2], [0, 0], [0, 0], [12, 14]]
    monkeypatch.setattr(compact, 'DEVICES', ())
    assert places_of(counted) is None
    assert picked(rows, None) is rows
