"""Where rows may be left out."""

import torch

from mmsemiseg.functional import can_drop_rows, compact, take_rows, valid_indices


def test_only_where_nothing_waits():
    assert can_drop_rows(torch.empty(0))
    assert not can_drop_rows(torch.empty(0, device='meta'))


def test_rows_are_picked_or_kept(monkeypatch):
    rows = torch.arange(8.0).view(4, 2).requires_grad_()
    counted = torch.tensor([True, False, False, True])
    found = take_rows(rows, valid_indices(counted))
    assert found.tolist() == [[0, 1], [6, 7]]
    (grad,) = torch.autograd.grad((found**2).sum(), rows)
    assert grad.tolist() == [[0, 2], [0, 0], [0, 0], [12, 14]]
    monkeypatch.setattr(compact, 'DEVICES', ())
    assert valid_indices(counted) is None
    assert take_rows(rows, None) is rows
