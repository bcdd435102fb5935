import pytest
import torch
from mmcv.cnn import VGG
from mmengine.runner import load_state_dict
from torch import nn
from torch.testing import assert_close

from mmsemiseg.models import DilatedVGG


def test_strides_and_widths():
    net = DilatedVGG(depth=11, out_indices=(0, 1, 2, 3, 4))
    maps = net(torch.zeros(1, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (64, 32, 48),
        (128, 16, 24),
        (256, 8, 12),
        (512, 8, 12),
        (512, 8, 12),
    ]


def test_only_conv5_is_dilated():
    convs = [m for m in DilatedVGG(16).features if isinstance(m, nn.Conv2d)]
    assert [conv.dilation for conv in convs] == [(1, 1)] * 10 + [(2, 2)] * 3
    assert [conv.padding for conv in convs] == [(1, 1)] * 10 + [(2, 2)] * 3


@pytest.mark.parametrize('with_bn', [False, True])
def test_weights_of_the_plain_net_load(with_bn):
    plain = VGG(11, with_bn)
    net = DilatedVGG(11, with_bn, out_indices=(2,))
    load_state_dict(net, plain.state_dict(), strict=True)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain.eval(), net.eval()
    with torch.no_grad():
        assert_close(net(images)[0], plain(images)[2])


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(depth=12), r'depth must be in \[11, 13, 16, 19\], but got 12'),
        (dict(out_indices=(5,)), r'out_indices must be of 0 to 4, but got \(5,\)'),
        (dict(out_indices=()), 'out_indices must be of 0 to 4'),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        DilatedVGG(**settings)
