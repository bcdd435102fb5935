import pytest
import torch
from torch import nn

from mmsemiseg.utils.layout import as_laid_out, lay_out, lay_out_moments

LAST = torch.channels_last


def model():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 1), nn.Conv3d(2, 2, 3))
    net.register_buffer('kernel', torch.randn(2, 3, 5, 5))
    return net


def test_there_and_back():
    net = model()
    weights = list(net.parameters())
    before = {k: v.clone() for k, v in net.state_dict().items()}
    lay_out(net)
    assert all(a is b for a, b in zip(weights, net.parameters(), strict=True))
    assert net[0].weight.stride() == (27, 1, 9, 3)
    assert net[1].weight.stride() == (4, 1, 4, 4)  # which tells it from the other
    assert net.kernel.is_contiguous(memory_format=LAST)
    assert net[2].weight.is_contiguous()  # five dimensions
    lay_out(net, channels_last=False)
    after = net.state_dict()
    assert all(after[k].equal(v) for k, v in before.items())
    assert all(after[k].stride() == v.stride() for k, v in before.items())


def test_loading_keeps_it():
    net, other = model(), model()
    lay_out(net)
    net.load_state_dict(other.state_dict())
    assert net[0].weight.equal(other[0].weight)
    assert net[0].weight.stride() == (27, 1, 9, 3)


@pytest.mark.parametrize('layout', [LAST, torch.contiguous_format])
def test_images_as_others_are(layout):
    like = torch.randn(2, 3, 4, 5).contiguous(memory_format=layout)
    for images in (torch.randn(2, 3, 6, 6), torch.randn(2, 6, 6, 3).movedim(3, 1)):
        out = as_laid_out(images, like)
        assert out.equal(images)
        assert out.is_contiguous(memory_format=layout)
        assert as_laid_out(out, like) is out


def test_moments_of_another_layout():
    """As a checkpoint brings them, which was saved in the other one."""
    net = nn.Conv2d(3, 4, 3)
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.randn(1, 3, 5, 5)).sum().backward()
    optimizer.step()
    saved = [dict(state) for state in optimizer.state.values()]
    lay_out(net)
    assert optimizer.state[net.weight]['exp_avg'].is_contiguous()
    lay_out_moments(optimizer)
    for weight, before in zip(net.parameters(), saved, strict=True):
        state = optimizer.state[weight]
        assert state.keys() == before.keys()
        assert all(state[name].equal(before[name]) for name in state)
        assert state['exp_avg'].stride() == weight.stride()
        assert state['exp_avg_sq'].stride() == weight.stride()
