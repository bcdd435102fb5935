import pytest
import torch
from mmseg.registry import MODELS
from torch.testing import assert_close

from mmsemiseg.models.heads import ProjectionHead, unit_length


def features(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_conv_relu_conv_unit_length():
    head = ProjectionHead(5, 3, 4)
    x = features(2, 5, 3, 4)
    first, _, second = head.layers
    for n, row, col in ((0, 0, 0), (1, 2, 3)):
        hidden = first.weight[:, :, 0, 0] @ x[n, :, row, col] + first.bias
        out = second.weight[:, :, 0, 0] @ hidden.clamp(min=0) + second.bias
        assert_close(head(x)[n, :, row, col], out / out.square().sum().sqrt())


def test_each_place_is_of_unit_length():
    out = ProjectionHead(5, 3)(features(2, 5, 3, 4))
    assert out.shape == (2, 3, 3, 4)
    assert_close(out.norm(dim=1), torch.ones(2, 3, 4))


@pytest.mark.parametrize(('hidden', 'width'), [(None, 5), (7, 7)])
def test_hidden_width(hidden, width):
    first, _, second = ProjectionHead(5, 3, hidden).layers
    assert (first.in_channels, first.out_channels) == (5, width)
    assert (second.in_channels, second.out_channels) == (width, 3)


def test_is_registered_with_the_papers_width():
    head = MODELS.build(dict(type='ProjectionHead', in_channels=6))
    assert head(features(1, 6, 2, 2)).shape == (1, 128, 2, 2)


def test_features_stay_as_they_are():
    """The ReLU works in place, on the first layer's output alone."""
    x = features(1, 5, 2, 2)
    before = x.clone()
    ProjectionHead(5, 3)(x)
    assert torch.equal(x, before)


def test_the_length_is_taken_in_fp32():
    head = ProjectionHead(5, 3)
    x = features(2, 5, 3, 4)
    with torch.autocast('cpu', torch.bfloat16):
        assert head.layers(x).dtype == torch.bfloat16
        out = head(x)
    assert out.dtype == torch.float32
    assert_close(out.norm(dim=1), torch.ones(2, 3, 4))
    with torch.autocast('cpu', torch.bfloat16):
        large = unit_length(torch.full((1, 2, 1, 1), 3e38 / 1e20))
    assert_close(large, torch.full((1, 2, 1, 1), 0.5**0.5))


def test_no_length_is_no_error():
    zeros = torch.zeros(1, 4, 2, 2, requires_grad=True)
    out = unit_length(zeros)
    assert out.eq(0).all()
    out.sum().backward()
    assert zeros.grad.isfinite().all()


@pytest.mark.parametrize('name', ['in_channels', 'channels', 'hidden_channels'])
def test_wrong_settings(name):
    settings = dict(in_channels=5, channels=3, hidden_channels=4)
    with pytest.raises(ValueError, match=f'{name} must be at least 1, but got 0'):
        ProjectionHead(**dict(settings, **{name: 0}))
