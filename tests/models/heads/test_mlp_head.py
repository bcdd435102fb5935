import pytest
import torch
from torch import nn
from torch.testing import assert_close

from mmsemiseg.models.heads import MaskedBatchNorm, MLPHead


def rows(n=30, dim=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, dim, generator=generator, dtype=torch.float64)
    return x.requires_grad_(), torch.rand(n, generator=generator) < 0.6


def twins(dim=4):
    """BatchNorm1d and ours with the same weights."""
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(dim).double()
    nn.init.uniform_(norm.weight)
    nn.init.uniform_(norm.bias)
    ours = MaskedBatchNorm(dim).double()
    state = norm.state_dict()
    state.pop('num_batches_tracked')
    ours.load_state_dict(state)
    return norm, ours


@pytest.mark.parametrize('seed', range(3))
def test_masked_norm_equals_batch_norm_of_the_gathered_rows(seed):
    norm, ours = twins()
    for step in range(3):
        x, mask = rows(seed=10 * seed + step)
        expected, got = norm(x[mask]), ours(x, mask)[mask]
        assert_close(got, expected)
        probe = torch.randn_like(expected)
        (expected_grad,) = torch.autograd.grad((expected * probe).sum(), x)
        (grad,) = torch.autograd.grad((got * probe).sum(), x)
        assert_close(grad, expected_grad)
        assert (grad[~mask] == 0).all()
    assert_close(ours.running_mean, norm.running_mean)
    assert_close(ours.running_var, norm.running_var)
    x, mask = rows(seed=99)
    assert_close(ours.eval()(x, mask)[mask], norm.eval()(x[mask]))


def test_without_a_mask_all_rows_count():
    norm, ours = twins()
    x, _ = rows()
    assert_close(ours(x), norm(x))
    assert_close(ours.running_var, norm.running_var)
    assert_close(ours.eval()(x), norm.eval()(x))
    masked, ours = twins()[1], twins()[1]
    assert_close(masked(x, torch.ones(len(x)) > 0), ours(x))


@pytest.mark.parametrize('count', [0, 1])
def test_few_rows_without_a_mask(count):
    _, ours = twins()
    before = ours.running_mean.clone()
    y = ours(torch.ones(count, 4, dtype=torch.float64))
    assert y.isfinite().all()
    assert torch.equal(ours.running_mean, before)


@pytest.mark.parametrize('count', [0, 1])
def test_fewer_than_two_rows_are_finite_and_move_nothing(count):
    _, ours = twins()
    x, mask = rows()
    mask = torch.arange(len(mask)) < count
    before = {key: value.clone() for key, value in ours.state_dict().items()}
    y = ours(x, mask)
    assert y.isfinite().all()
    assert all(torch.equal(before[k], v) for k, v in ours.state_dict().items())
    (grad,) = torch.autograd.grad(y[mask].sum(), x)
    assert (grad == 0).all()


def test_no_rows_at_all():
    head = MLPHead(4, 5, 3)
    out = head(torch.zeros(0, 4), torch.zeros(0, dtype=torch.bool))
    assert out.shape == (0, 3)


def test_mlp_is_linear_norm_relu_linear():
    head = MLPHead(4, 5, 3).double()
    x, mask = rows()
    reference = nn.Sequential(
        nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), head.second
    )
    reference.double()
    reference[0].weight.data.copy_(head.first.weight)  # its bias has no effect
    assert_close(head(x, mask)[mask], reference(x[mask]))


def test_statistics_are_fp32_under_autocast():
    norm = MaskedBatchNorm(2)
    x = (torch.randn(8, 2) + 300).bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        y = norm(x, torch.ones(8, dtype=torch.bool))
    assert y.dtype == torch.float32
    assert_close(norm.running_mean, 0.1 * x.float().mean(0))


@pytest.mark.parametrize('name', ['in_channels', 'hidden_channels', 'channels'])
def test_widths_are_checked(name):
    settings = dict(in_channels=2, hidden_channels=2, channels=2)
    with pytest.raises(ValueError, match=f'{name} must be at least 1, but got 0'):
        MLPHead(**dict(settings, **{name: 0}))
