import math

import pytest
import torch
from no_sync import NoHostSync
from torch.testing import assert_close

from mmsemiseg.functional import mean_over_own_keys, mean_over_positives, own_keys


def loops(anchors, group, keys, filled, negatives, temperature):
    """One anchor and one key after the other; every exponential is written out."""
    means = []
    for i in range(len(anchors)):
        terms = []
        if 0 <= group[i] < len(keys) and negatives[i] > -math.inf:
            for j in filled[group[i]].nonzero()[:, 0]:
                positive = (anchors[i] @ keys[group[i], j] / temperature).exp()
                terms.append(-(positive / (positive + negatives[i].exp())).log())
        means.append(sum(terms) / max(len(terms), 1) + anchors[i].sum() * 0)
    return torch.stack(means) if means else anchors.sum(1)


def random_case(seed, dtype=torch.float64):
    """Groups of no class, queues with holes and empty ones, anchors of no negative."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape):
        return torch.rand(shape, generator=generator, dtype=dtype)

    classes, size, dim = 1 + seed % 5, 1 + seed % 4, 2 + seed % 3
    n = 11 * seed % 29
    group = torch.randint(-1, classes + 2, (n,), generator=generator)
    group[group > classes] = 255
    filled = uniform(classes, size) < 0.7
    filled[seed % classes] &= seed % 3 > 0
    negatives = 4 * uniform(n) - 2
    negatives[uniform(n) < 0.2] = -math.inf
    anchors, keys = uniform(n, dim) - 0.5, uniform(classes, size, dim) - 0.5
    return anchors, group, keys, filled, negatives, 0.1 + uniform(1).item()


def with_gradients(function, args, wanted=(0, 2, 4)):
    args = list(args)
    inputs = []
    for index in wanted:
        args[index] = args[index].clone().requires_grad_()
        inputs.append(args[index])
    result = function(*args)
    weights = torch.arange(1.0, len(result) + 1, dtype=result.dtype)
    grads = torch.autograd.grad(
        (result * weights).sum(), inputs, allow_unused=True, materialize_grads=True
    )
    return result, *grads


@pytest.fixture(params=[1, 3, 256])
def tile(request, monkeypatch):
    monkeypatch.setattr(own_keys, 'TILE', request.param)


@pytest.mark.parametrize('seed', range(30))
def test_equals_loops_with_all_gradients(seed, tile):
    case = random_case(seed)
    expected = with_gradients(loops, case)
    got = with_gradients(mean_over_own_keys, case)
    for mine, theirs in zip(got, expected, strict=True):
        assert_close(mine, theirs, atol=1e-10, rtol=1e-8)


def test_the_cases_are_not_empty():
    """Or the comparison above would show little."""
    results = [mean_over_own_keys(*random_case(seed)) for seed in range(30)]
    anchors = torch.cat(results)
    assert (anchors > 0).sum() > 100
    assert (anchors == 0).sum() > 100
    assert sum(len(result) == 0 for result in results) >= 1


@pytest.mark.parametrize('seed', range(10))
def test_equals_the_form_with_all_products(seed):
    """That one knows no anchors whose number is no class but has keys."""
    anchors, group, keys, filled, negatives, temperature = random_case(seed)
    known = (group >= 0) & (group < len(keys))
    group = torch.where(known, group, -1)
    classes = torch.arange(len(keys))[:, None]
    key_group = torch.where(filled, classes, -2).flatten()
    expected = mean_over_positives(
        anchors, keys.flatten(0, 1), group, key_group, negatives, temperature
    )
    got = mean_over_own_keys(anchors, group, keys, filled, negatives, temperature)
    assert_close(got, expected)


def test_gradcheck():
    anchors, group, keys, filled, negatives, temperature = random_case(14)
    negatives = negatives.clamp(min=-3)
    inputs = [x.requires_grad_() for x in (anchors, keys, negatives)]

    def mean(anchors, keys, negatives):
        return mean_over_own_keys(anchors, group, keys, filled, negatives, temperature)

    assert mean(*inputs).count_nonzero() > 3
    assert torch.autograd.gradcheck(mean, inputs)


def test_by_hand():
    """One positive logit of 2 and of 0, negatives of 1: mean of two softpluses."""
    got = mean_over_own_keys(
        torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        torch.tensor([1, 0]),
        torch.tensor([[[9.0, 9], [9, 9]], [[1, 0], [0, 5]]]),
        torch.tensor([[False, False], [True, True]]),
        torch.tensor([1.0, 1.0]),
        0.5,
    )
    expected = (math.log1p(math.exp(-1)) + math.log1p(math.exp(1))) / 2
    assert_close(got, torch.tensor([expected, 0]))


# Nothing there


@pytest.mark.parametrize('case', ['rows', 'keys', 'class', 'negatives'])
def test_without_any_it_is_zero_and_attached(case):
    n = 0 if case == 'rows' else 5
    anchors = torch.randn(n, 3, requires_grad=True)
    group = torch.full((n,), 255) if case == 'class' else torch.arange(n) % 2
    negatives = torch.full((n,), -math.inf) if case == 'negatives' else torch.zeros(n)
    filled = torch.full((2, 4), case != 'keys')
    keys = torch.randn(2, 4, 3)
    got = mean_over_own_keys(anchors, group, keys, filled, negatives, 0.5)
    assert got.shape == (n,)
    assert got.eq(0).all()
    (grad,) = torch.autograd.grad(got.sum(), anchors)
    assert grad.eq(0).all()


def test_what_lies_in_empty_places_does_not_matter():
    anchors, group, keys, filled, negatives, temperature = random_case(14)
    assert not filled.all()
    expected = mean_over_own_keys(anchors, group, keys, filled, negatives, temperature)
    for content in (1e9, math.nan):
        other = keys.masked_fill(~filled[..., None], content)
        args = anchors.clone().requires_grad_(), group, other, filled, negatives
        got = mean_over_own_keys(*args, temperature)
        assert torch.equal(got, expected)
        got.sum().backward()
        if content == 1e9:
            assert args[0].grad.isfinite().all()


# Precision, device


def test_logits_far_apart_stay_exact():
    """Logits of +-200 overflow as exponentials."""
    anchors = torch.tensor([[1.0], [1.0]], requires_grad=True)
    keys = torch.tensor([[[1.0]], [[-1.0]]])
    filled = torch.ones(2, 1, dtype=torch.bool)
    negatives = torch.tensor([-200.0, 200.0])
    got = mean_over_own_keys(
        anchors, torch.tensor([0, 1]), keys, filled, negatives, 0.005
    )
    assert got.tolist() == [0, 400]
    got.sum().backward()
    assert anchors.grad.flatten().tolist() == [0, 200]


@pytest.mark.parametrize('half', [torch.bfloat16, torch.float16])
def test_fp32_for_halves_and_under_autocast(half):
    anchors, group, keys, filled, negatives, _ = random_case(14, torch.float32)
    expected = mean_over_own_keys(anchors, group, keys, filled, negatives, 0.1)
    with torch.autocast('cpu', torch.bfloat16):
        got = mean_over_own_keys(anchors, group, keys, filled, negatives, 0.1)
    assert got.dtype == torch.float32
    assert torch.equal(got, expected)
    rows = anchors.to(half)
    got = mean_over_own_keys(rows, group, keys, filled, negatives, 0.1)
    expected = mean_over_own_keys(rows.float(), group, keys, filled, negatives, 0.1)
    assert got.dtype == torch.float32
    assert torch.equal(got, expected)


def test_waits_for_no_device_and_makes_own_products_alone():
    anchors, group, keys, filled, negatives, _ = random_case(14)
    anchors.requires_grad_()
    with NoHostSync() as seen:
        mean_over_own_keys(
            anchors, group, keys, filled, negatives, 0.1
        ).sum().backward()
    assert 'bmm' in seen.ops
    assert 'mm' not in seen.ops
