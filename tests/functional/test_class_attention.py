from importlib import import_module

import pytest
import torch
from torch import nn

from mmsemiseg.functional import tiles_by_group
from mmsemiseg.functional.class_attention import _has_grouped, class_attention

CLASSES, DIM, HIDDEN = 4, 8, 12


def perceptrons(dtype, seed=0):
    """C published modules, without their last sigmoid, and a bias before the norm."""
    torch.manual_seed(seed)
    modules = nn.ModuleList(
        nn.Sequential(
            nn.Linear(DIM, HIDDEN),
            nn.BatchNorm1d(HIDDEN),
            nn.LeakyReLU(0.2),
            nn.Linear(HIDDEN, 1, bias=False),
        )
        for _ in range(CLASSES)
    ).to(dtype)
    with torch.no_grad():
        for module in modules:
            module[1].weight.uniform_(-1, 2)
            module[1].bias.uniform_(-1, 1)
    return modules


def stacked(modules):
    """W, scale, shift and v of all classes."""
    parts = (
        [m[0].weight.T for m in modules],
        [m[1].weight for m in modules],
        [m[1].bias for m in modules],
        [m[3].weight[0] for m in modules],
    )
    return [torch.stack(part).detach().requires_grad_() for part in parts]


def case(seed, dtype, n=40):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, DIM, generator=generator, dtype=torch.float64) + 3
    group = torch.randint(-1, CLASSES + 1, (n,), generator=generator)
    group[group == CLASSES] = 255
    return rows.to(dtype), group


def tiled(rows, group, height):
    tiles = tiles_by_group(group, CLASSES, height)
    return rows[tiles.index], tiles


@pytest.fixture(params=['grouped', 'plain'], autouse=True)
def dtype(request, monkeypatch):
    """PyTorch's product of groups, where it has one, is not for float64."""
    if request.param == 'plain':
        module = import_module('mmsemiseg.functional.class_attention')
        monkeypatch.setattr(module, '_has_grouped', lambda *args: False)
        return torch.float64
    return torch.float32
    return request.param


@pytest.mark.parametrize('height', [2, 7, 64])
@pytest.mark.parametrize('seed', range(4))
def test_equals_one_module_after_the_other(seed, height, dtype):
    modules, (rows, group) = perceptrons(dtype, seed), case(seed, dtype)
    params = stacked(modules)
    spread, tiles = tiled(rows, group, height)
    scores, count, mean, variance = class_attention(
        spread, tiles.filled, tiles.group, *params
    )
    probe = torch.randn(len(rows), dtype=dtype)
    expected = torch.zeros(len(rows), dtype=dtype)
    for c, one in enumerate(modules):
        mine = group == c
        assert count[c] == mine.sum()
        expected[mine] = one(rows[mine])[:, 0]
        hidden = one[0](rows[mine]) - one[0].bias
        torch.testing.assert_close(mean[c], hidden.mean(0))
        torch.testing.assert_close(variance[c], hidden.var(0, correction=0))
    got = scores[tiles.filled]
    index = tiles.index[tiles.filled]
    torch.testing.assert_close(got, expected[index])

    (expected * probe).sum().backward()
    grads = torch.autograd.grad((got * probe[index]).sum(), params)
    for grad, reference in zip(
        grads,
        [
            torch.stack([m[0].weight.grad.T for m in modules]),
            torch.stack([m[1].weight.grad for m in modules]),
            torch.stack([m[1].bias.grad for m in modules]),
            torch.stack([m[3].weight.grad[0] for m in modules]),
        ],
        strict=True,
    ):
        torch.testing.assert_close(grad, reference, atol=1e-4, rtol=1e-3)


def test_given_statistics_equal_modules_in_eval_mode(dtype):
    modules, (rows, group) = perceptrons(dtype), case(1, dtype)
    for one in modules:
        one[1].running_mean.uniform_(-1, 1)
        one[1].running_var.uniform_(0.5, 2)
        one.eval()
    statistics = (
        torch.stack([m[1].running_mean - m[0].bias for m in modules]),
        torch.stack([m[1].running_var for m in modules]),
    )
    spread, tiles = tiled(rows, group, 4)
    scores, *_ = class_attention(
        spread, tiles.filled, tiles.group, *stacked(modules), statistics
    )
    index = tiles.index[tiles.filled]
    expected = torch.stack([modules[group[i]](rows[i][None])[0, 0] for i in index])
    torch.testing.assert_close(scores[tiles.filled], expected)


def test_gradcheck(dtype):
    dtype = torch.float64
    params, (rows, group) = stacked(perceptrons(dtype)), case(2, dtype, n=12)
    spread, tiles = tiled(rows, group, 3)

    def scores(*params):
        return class_attention(spread, tiles.filled, tiles.group, *params)[0][
            tiles.filled
        ]

    assert torch.autograd.gradcheck(scores, params)


def test_rows_get_no_gradient_and_stay(dtype):
    rows, group = case(3, dtype)
    spread, tiles = tiled(rows, group, 4)
    spread.requires_grad_()
    before = spread.detach().clone()
    scores, *_ = class_attention(
        spread, tiles.filled, tiles.group, *stacked(perceptrons(dtype))
    )
    scores.sum().backward()
    assert spread.grad is None
    assert torch.equal(spread, before)


@pytest.mark.parametrize('count', [0, 1])
def test_a_class_without_a_second_row_is_finite(count, dtype):
    rows = torch.randn(2 + count, DIM, dtype=dtype)
    group = torch.tensor([0, 0] + [2] * count)
    params = stacked(perceptrons(dtype))
    spread, tiles = tiled(rows, group, 4)
    scores, *_ = class_attention(spread, tiles.filled, tiles.group, *params)
    grads = torch.autograd.grad(scores[tiles.filled].sum(), params)
    assert scores[tiles.filled].isfinite().all()
    assert all(grad.isfinite().all() for grad in grads)
    assert all((grad[[1, 3]] == 0).all() for grad in grads)


def test_far_from_the_origin_the_variance_is_right():
    """E[h^2] - E[h]^2 would lose all digits here."""
    modules = perceptrons(torch.float32)
    rows, group = case(5, torch.float64)
    rows = (rows - 3) * 0.01 + 100
    spread, tiles = tiled(rows.float(), group, 8)
    params = [p.detach().float() for p in stacked(modules)]
    _, _, _, variance = class_attention(spread, tiles.filled, tiles.group, *params)
    for c in range(CLASSES):
        hidden = rows[group == c] @ params[0][c].double()
        expected = hidden.var(0, correction=0).float()
        torch.testing.assert_close(variance[c], expected, atol=0, rtol=2e-3)


def test_the_probe_of_the_grouped_product(dtype):
    if dtype == torch.float32:
        has = _has_grouped(torch.device('cpu'), dtype)
        assert has == hasattr(nn.functional, 'grouped_mm')
