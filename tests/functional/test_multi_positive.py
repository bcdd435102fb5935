import math

import pytest
import torch
from no_sync import NoHostSync
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from mmsemiseg.functional import (
    multi_positive,
    multi_positive_info_nce,
)


def loops(anchors, group, keys, filled, temperature):
    """One anchor and one key after the other; every exponential is written out."""
    means = []
    for anchor, own in zip(anchors, group.tolist(), strict=True):
        logits = [
            [anchor @ key / temperature for key in queue[there]]
            for queue, there in zip(keys, filled, strict=True)
        ]
        others = [
            one.exp() for k, queue in enumerate(logits) if k != own for one in queue
        ]
        terms = []
        if 0 <= own < len(keys) and others:
            for logit in logits[own]:
                positive = logit.exp()
                terms.append(-(positive / (positive + sum(others))).log())
        means.append(sum(terms) / max(len(terms), 1) + anchor.sum() * 0)
    return torch.stack(means) if means else anchors.sum(1)


def random_case(seed, dtype=torch.float64):
    """Groups of no class, queues with holes and empty ones, one class alone."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape):
        return torch.rand(shape, generator=generator, dtype=dtype)

    classes, size, dim = 1 + seed % 5, 1 + seed % 4, 2 + seed % 3
    n = 11 * seed % 29
    group = torch.randint(-1, classes + 2, (n,), generator=generator)
    group[group > classes] = 255
    filled = uniform(classes, size) < 0.7
    filled[seed % classes] &= seed % 3 > 0
    anchors, keys = uniform(n, dim) - 0.5, uniform(classes, size, dim) - 0.5
    return anchors, group, keys, filled, 0.1 + uniform(1).item()


def with_gradient(function, args):
    anchors = args[0].clone().requires_grad_()
    result = function(anchors, *args[1:])
    weights = torch.arange(1.0, len(result) + 1, dtype=result.dtype)
    return result, *torch.autograd.grad((result * weights).sum(), anchors)


@pytest.fixture(params=[1, 40, 2**22])
def chunk(request, monkeypatch):
    monkeypatch.setattr(multi_positive, 'LOGITS_PER_CHUNK', request.param)


@pytest.mark.parametrize('seed', range(30))
def test_equals_loops_with_the_gradient(seed, chunk):
    case = random_case(seed)
    expected = with_gradient(loops, case)
    got = with_gradient(multi_positive_info_nce, case)
    for mine, theirs in zip(got, expected, strict=True):
        assert_close(mine, theirs, atol=1e-10, rtol=1e-8)


def test_the_cases_are_not_empty():
    """Or the comparison above would show little."""
    results = [multi_positive_info_nce(*random_case(seed)) for seed in range(30)]
    anchors = torch.cat(results)
    assert (anchors > 0).sum() > 100
    assert (anchors == 0).sum() > 100
    assert sum(len(result) == 0 for result in results) >= 1


def test_gradcheck():
    anchors, *rest = random_case(14)

    def mean(anchors):
        return multi_positive_info_nce(anchors, *rest)

    assert mean(anchors).count_nonzero() > 3
    assert torch.autograd.gradcheck(mean, anchors.requires_grad_())


def test_no_gradient_reaches_the_keys():
    anchors, group, keys, filled, temperature = random_case(14)
    got = multi_positive_info_nce(
        anchors, group, keys.requires_grad_(), filled, temperature
    )
    assert not got.requires_grad


def test_by_hand():
    """Positive logits of 2 and of 0, negatives of 0 and 2 each for the other class."""
    got = multi_positive_info_nce(
        torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        torch.tensor([1, 0]),
        torch.tensor([[[0.0, 1], [9, 9]], [[1, 0], [0, 5]]]),
        torch.tensor([[True, False], [True, True]]),
        0.5,
    )
    first = (math.log1p(math.exp(-2)) + math.log1p(math.exp(0))) / 2
    second = math.log1p((math.exp(0) + math.exp(10)) / math.exp(2))
    assert_close(got, torch.tensor([first, second]))


# Nothing there


@pytest.mark.parametrize('case', ['rows', 'keys', 'class', 'negatives'])
def test_without_any_it_is_zero_and_attached(case):
    n = 0 if case == 'rows' else 5
    anchors = torch.randn(n, 3, requires_grad=True)
    group = torch.full((n,), 255) if case == 'class' else torch.arange(n) % 2
    filled = torch.full((2, 4), case != 'keys')
    if case == 'negatives':
        group.zero_()
        filled[1] = False
    keys = torch.randn(2, 4, 3)
    got = multi_positive_info_nce(anchors, group, keys, filled, 0.5)
    assert got.shape == (n,)
    assert got.eq(0).all()
    (grad,) = torch.autograd.grad(got.sum(), anchors)
    assert grad.eq(0).all()


def test_what_lies_in_empty_places_does_not_matter():
    anchors, group, keys, filled, temperature = random_case(14)
    assert not filled.all()
    expected = multi_positive_info_nce(anchors, group, keys, filled, temperature)
    for content in (1e9, math.nan):
        other = keys.masked_fill(~filled[..., None], content)
        rows = anchors.clone().requires_grad_()
        got = multi_positive_info_nce(rows, group, other, filled, temperature)
        assert torch.equal(got, expected)
        got.sum().backward()
        assert rows.grad.isfinite().all()


# Precision, device


def test_logits_far_apart_stay_exact():
    """Logits of +-200 overflow as exponentials."""
    anchors = torch.tensor([[1.0], [1.0]], requires_grad=True)
    keys = torch.tensor([[[1.0]], [[-1.0]]])
    filled = torch.ones(2, 1, dtype=torch.bool)
    got = multi_positive_info_nce(anchors, torch.tensor([0, 1]), keys, filled, 0.005)
    assert got.tolist() == [0, 400]
    got.sum().backward()
    assert anchors.grad.flatten().tolist() == [0, 400]


@pytest.mark.parametrize('half', [torch.bfloat16, torch.float16])
def test_fp32_for_halves_and_under_autocast(half):
    anchors, group, keys, filled, _ = random_case(14, torch.float32)
    expected = multi_positive_info_nce(anchors, group, keys, filled, 0.1)
    with torch.autocast('cpu', torch.bfloat16):
        got = multi_positive_info_nce(anchors, group, keys, filled, 0.1)
    assert got.dtype == torch.float32
    assert torch.equal(got, expected)
    rows = anchors.to(half)
    got = multi_positive_info_nce(rows, group, keys, filled, 0.1)
    expected = multi_positive_info_nce(rows.float(), group, keys, filled, 0.1)
    assert got.dtype == torch.float32
    assert torch.equal(got, expected)


class Largest(TorchDispatchMode):
    """Numbers of the largest result."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.numbers = max(self.numbers, result.numel())
        return result


def test_waits_for_no_device_and_makes_no_matrix(monkeypatch):
    monkeypatch.setattr(multi_positive, 'LOGITS_PER_CHUNK', 2000)
    generator = torch.Generator().manual_seed(0)
    anchors = torch.randn(500, 8, generator=generator, requires_grad=True)
    keys = torch.randn(5, 20, 8, generator=generator)
    group = torch.randint(5, (500,), generator=generator)
    with NoHostSync(), Largest() as largest:
        filled = torch.ones(5, 20, dtype=torch.bool)
        multi_positive_info_nce(anchors, group, keys, filled, 0.1).sum().backward()
    assert largest.numbers == anchors.numel()  # 500 x 100 is larger
