import sys

import pytest
import torch
from no_sync import NoHostSync
from torch.testing import assert_close

from mmsemiseg.functional import compact, shared_logsumexp

module = sys.modules['mmsemiseg.functional.shared_keys']


def loops(anchors, group, keys, index, temperature):
    found = []
    for anchor, own in zip(anchors, group.tolist(), strict=True):
        places = index[own] if 0 <= own < len(index) else index[:0].flatten()
        logits = [anchor @ keys[j] / temperature for j in places.tolist() if j >= 0]
        none = anchor.sum() * 0 - torch.inf
        found.append(torch.stack(logits).exp().sum().log() if logits else none)
    return torch.stack(found) if found else anchors.sum(1)


def random_case(seed, dtype=torch.float64):
    """Groups of no queue, repeated keys, groups with few keys or none."""
    g = torch.Generator().manual_seed(seed)
    groups, number, dim, n = 1 + seed % 4, 1 + seed % 5, 2 + seed % 3, 13 * seed % 31
    anchors = torch.rand(n, dim, generator=g, dtype=dtype) - 0.5
    keys = torch.rand(9, dim, generator=g, dtype=dtype) - 0.5
    group = torch.randint(-1, groups + 1, (n,), generator=g)
    index = torch.randint(9, (groups, number), generator=g)
    index[torch.rand(groups, number, generator=g) < 0.2] = -1
    index[seed % groups] = torch.where(torch.tensor(seed % 3 == 0), -1, index[0])
    return anchors, group, keys, index, 0.1 + torch.rand(1, generator=g).item()


def with_gradient(function, args):
    anchors = args[0].clone().requires_grad_()
    found = function(anchors, *args[1:])
    weights = torch.arange(1.0, len(found) + 1, dtype=found.dtype)
    total = (found.masked_fill(found == -torch.inf, 0) * weights).sum()
    return found, *torch.autograd.grad(total, anchors)


@pytest.mark.parametrize('chunk', [(1, 1), (2, 40), (64, 2**24)])
@pytest.mark.parametrize('devices', [('cpu',), ()])
@pytest.mark.parametrize('seed', range(20))
def test_equals_loops_with_the_gradient(seed, devices, chunk, monkeypatch):
    monkeypatch.setattr(compact, 'DEVICES', devices)
    monkeypatch.setattr(module, 'HEIGHT', chunk[0])
    monkeypatch.setattr(module, 'NUMBERS_PER_CHUNK', chunk[1])
    case = random_case(seed)
    for mine, theirs in zip(
        with_gradient(shared_logsumexp, case), with_gradient(loops, case), strict=True
    ):
        assert_close(mine, theirs, atol=1e-10, rtol=1e-8)


def test_gradient_of_finite_differences():
    anchors, group, keys, index, temperature = random_case(7)
    group, index = group.clamp(0, len(index) - 1), index.clamp(min=0)
    anchors.requires_grad_()
    args = group, keys, index, temperature
    assert torch.autograd.gradcheck(lambda x: shared_logsumexp(x, *args), (anchors,))


def test_no_key_gives_minus_infinity_and_no_gradient():
    anchors = torch.ones(3, 2, requires_grad=True)
    group = torch.tensor([0, 1, 255])
    index = torch.tensor([[0], [-1]])
    found = shared_logsumexp(anchors, group, torch.ones(1, 2), index, 0.5)
    assert found.tolist() == [4.0, -torch.inf, -torch.inf]
    found[0].backward()
    assert anchors.grad.tolist() == [[2, 2], [0, 0], [0, 0]]
    for keys, places in ((torch.ones(0, 2), index[:, :0]), (torch.ones(1, 2), index)):
        empty = shared_logsumexp(anchors[:0], group[:0], keys, places, 0.5)
        assert empty.shape == (0,)
    nowhere = shared_logsumexp(anchors, group + 2, torch.ones(1, 2), index, 0.5)
    assert nowhere.tolist() == [-torch.inf] * 3
    nothing = shared_logsumexp(anchors, group, torch.ones(1, 2), index[:, :0], 0.5)
    assert nothing.tolist() == [-torch.inf] * 3


def test_fp32_under_autocast_and_no_host_sync(monkeypatch):
    anchors, group, keys, index, _ = random_case(7, torch.float32)
    expected = shared_logsumexp(anchors, group, keys, index, 0.01)
    with torch.autocast('cpu', torch.bfloat16):
        assert_close(shared_logsumexp(anchors, group, keys, index, 0.01), expected)
    half = shared_logsumexp(anchors.bfloat16(), group, keys, index, 0.01)
    assert half.dtype == torch.float32
    anchors.requires_grad_()
    monkeypatch.setattr(compact, 'DEVICES', ())
    with NoHostSync():
        shared_logsumexp(anchors, group, keys, index, 0.01).sum().backward()
