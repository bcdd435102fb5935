import math

import pytest
import torch
from no_sync import NoHostSync
from torch.testing import assert_close

from mmsemiseg.functional import entropy_loss

# four pixels of the vectors that go with CMB; the third has no label
PROBS = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.5, 0.3]])
PROBS = torch.cat([PROBS, torch.tensor([[0.25, 0.5, 0.25]])])
LABELED = torch.tensor([True, True, False, True]).view(1, 1, 4)


def vector_logits():
    return PROBS.log().T.reshape(1, 3, 1, 4)


def case(seed, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    n, c, h, w = (int(torch.randint(1, 5, (1,), generator=g)) for _ in range(4))
    logits = 6 * torch.randn(n, c + 1, h, w, generator=g)
    return logits.to(dtype), torch.rand(n, h, w, generator=g) < 0.7


def slow(logits, valid, norm):
    """Pixel by pixel, in plain Python."""
    n, c, h, w = logits.shape
    values = []
    for i in range(n):
        for y in range(h):
            for x in range(w):
                if not valid[i, y, x]:
                    continue
                exps = [math.exp(logits[i, k, y, x].item()) for k in range(c)]
                probs = [e / sum(exps) for e in exps]
                values.append(-sum(p * math.log(p) for p in probs))
    mean = sum(values) / len(values) if values else 0.0
    return mean / math.log(c) if norm == 'classes' else mean


@pytest.mark.parametrize('norm', ['classes', 'nats'])
@pytest.mark.parametrize('seed', range(12))
def test_slow_reference(seed, norm):
    logits, valid = case(seed)
    found = entropy_loss(logits, valid, norm)
    assert found.shape == ()
    assert_close(found.item(), slow(logits, valid, norm), rtol=1e-5, atol=1e-7)
    everywhere = torch.ones_like(valid)
    expected = slow(logits, everywhere, norm)
    for given in (None, everywhere):
        found = entropy_loss(logits, given, norm).item()
        assert_close(found, expected, rtol=1e-5, atol=1e-7)


def test_vectors():
    found = entropy_loss(vector_logits(), norm='nats')
    assert_close(found.item(), 0.942285, rtol=0, atol=1e-6)
    found = entropy_loss(vector_logits(), LABELED)
    assert_close(found.item(), 0.831196, rtol=0, atol=1e-6)


def test_hand_numbers():
    even = torch.zeros(1, 4, 1, 1)
    assert_close(entropy_loss(even).item(), 1.0)
    assert_close(entropy_loss(even, norm='nats').item(), math.log(4))
    # 1/4 and 3/4
    logits = torch.tensor([0, math.log(3)]).view(1, 2, 1, 1)
    expected = math.log(4) - 0.75 * math.log(3)
    assert_close(entropy_loss(logits, norm='nats').item(), expected)


@pytest.mark.parametrize('norm', ['classes', 'nats'])
def test_divided_by_all_pixels(norm):
    logits, valid = case(3)
    assert 0 < valid.sum() < valid.numel()
    expected = slow(logits, valid, norm) * valid.sum().item() / valid.numel()
    found = entropy_loss(logits, valid, norm, over='all').item()
    assert_close(found, expected, rtol=1e-5, atol=1e-7)
    assert entropy_loss(logits, None, norm, 'all').equal(
        entropy_loss(logits, norm=norm)
    )
    assert entropy_loss(logits, torch.zeros_like(valid), norm, 'all') == 0


@pytest.mark.parametrize('norm', ['classes', 'nats'])
def test_gradcheck(norm):
    logits, valid = case(3, torch.float64)
    assert valid.any()
    assert not valid.all()
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: entropy_loss(x, valid, norm), logits)
    assert torch.autograd.gradcheck(lambda x: entropy_loss(x, None, norm), logits)


def test_a_step_downhill_makes_predictions_more_certain():
    logits = vector_logits().requires_grad_()
    before = entropy_loss(logits)
    before.backward()
    with torch.no_grad():
        assert entropy_loss(logits - logits.grad) < before


def test_pixels_that_are_not_valid_have_no_part():
    logits, valid = case(3)
    logits.requires_grad_()
    entropy_loss(logits, valid).backward()
    off = (~valid)[:, None].expand_as(logits)
    assert logits.grad[off].eq(0).all()
    assert logits.grad[~off].ne(0).any()
    other = torch.where(off, -logits.detach(), logits.detach())
    assert entropy_loss(other, valid).equal(entropy_loss(logits, valid).detach())


@pytest.mark.parametrize('shape', [(2, 3, 4, 4), (0, 3, 4, 4)])
def test_nothing_valid_is_zero_and_on_the_graph(shape):
    logits = torch.randn(shape, requires_grad=True)
    for valid in (None, logits.new_zeros(logits[:, 0].shape).bool()):
        if valid is None and logits.numel():
            continue
        loss = entropy_loss(logits, valid)
        assert loss == 0
        logits.grad = None
        loss.backward()
        assert logits.grad.eq(0).all()


def test_certain_predictions_are_finite():
    logits = torch.tensor([3000.0, -3000.0, 0.0]).view(1, 3, 1, 1).requires_grad_()
    loss = entropy_loss(logits)
    loss.backward()
    assert loss == 0
    assert logits.grad.eq(0).all()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    logits, valid = case(3)
    half = logits.to(dtype)
    expected = entropy_loss(half.float(), valid)
    for autocast in (False, True):
        with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
            found = entropy_loss(half, valid)
        assert found.dtype == torch.float32
        assert found.equal(expected)


def test_no_host_sync():
    logits, valid = case(3)
    logits.requires_grad_()
    with NoHostSync():
        entropy_loss(logits, valid).backward()


@pytest.mark.parametrize(
    ('args', 'rule'),
    [
        ((torch.zeros(1, 2, 3),), r'must be \(N, C, H, W\) with C >= 2, but got \(1, '),
        ((torch.zeros(1, 1, 3, 3),), r'with C >= 2, but got \(1, 1, 3, 3\)'),
        (
            (torch.zeros(1, 2, 3, 3), torch.ones(1, 1, 3, 3).bool()),
            r'valid must .* \(1, 3, 3\), but got \(1, 1, 3, 3\)',
        ),
        ((torch.zeros(1, 2, 3, 3), None, 'mean'), "norm must be .*, but got 'mean'"),
        (
            (torch.zeros(1, 2, 3, 3), None, 'nats', 'some'),
            "over must be .*, but got 'some'",
        ),
    ],
)
def test_bad_arguments_are_named(args, rule):
    with pytest.raises(ValueError, match=rule):
        entropy_loss(*args)
