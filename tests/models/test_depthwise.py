import copy

import pytest
import torch
import torch.nn.functional as F
from helpers import build, student_cfg
from mmcv.cnn import DepthwiseSeparableConvModule
from mmcv.cnn.bricks import Conv2dAdaptivePadding
from torch import nn
from torch.testing import assert_close

from mmsemiseg.models.depthwise import depthwise_by_phases, keep_depthwise_type
from mmsemiseg.models.student import build_student


def layer(kind=nn.Conv2d, padding=1):
    conv = kind(6, 6, 3, padding=padding, groups=6)
    keep_depthwise_type(conv)
    return conv


def test_in_float32_between_maps_in_bfloat16():
    for kind in (nn.Conv2d, Conv2dAdaptivePadding):
        conv = layer(kind)
        x = torch.randn(2, 6, 8, 8).bfloat16().requires_grad_()
        with torch.autocast('cpu', torch.bfloat16):
            y = conv(x)
        expected = F.conv2d(x.float(), conv.weight, conv.bias, padding=1, groups=6)
        assert y.equal(expected.bfloat16())
        y.sum().backward()
        assert conv.weight.grad.dtype == torch.float32
        assert conv.weight.grad.abs().sum() > 0
        assert x.grad.dtype == torch.bfloat16


def test_any_type_without_autocast():
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        conv, x = layer().to(dtype), torch.randn(2, 6, 8, 8).to(dtype)
        expected = F.conv2d(x, conv.weight, conv.bias, padding=1, groups=6)
        assert conv(x).equal(expected)


def test_only_depthwise_ones_are_changed():
    module = DepthwiseSeparableConvModule(4, 8, 3)
    more = nn.ModuleList([module, nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(1, 1, 3)])
    kinds = [type(m) for m in more.modules()]
    keep_depthwise_type(more)
    found = [type(m) for m in more.modules()]
    changed = [
        m for m, a, b in zip(more.modules(), kinds, found, strict=True) if a != b
    ]
    assert changed == [module.depthwise_conv.conv]


def test_it_stays_in_copies():
    conv = layer()
    other = copy.deepcopy(conv)
    other.weight.data.zero_()
    with torch.autocast('cpu', torch.bfloat16):
        x = torch.ones(1, 6, 4, 4).bfloat16()
        assert_close(other(x), other.bias[:, None, None].bfloat16().expand(1, 6, 4, 4))
    assert conv.weight.abs().sum() > 0


def test_students_have_them_and_begin_with_the_same_weights():
    cfg = student_cfg(
        decode_head=dict(
            type='DepthwiseSeparableASPPHead',
            in_channels=320,
            dilations=(1, 2),
            c1_in_channels=24,
            c1_channels=4,
        ),
    )
    cfg['backbone'] = dict(type='EfficientNetLite')
    cfg['decode_head'].pop('num_convs')
    plain = build(cfg)
    torch.manual_seed(0)
    student = build_student(cfg)
    student.init_weights()
    names = [type(m).__name__ for m in student.modules()]
    assert names.count('SameDepthwiseConv2d') == 16
    assert names.count('DepthwiseConv2d') == 3
    expected, found = plain.state_dict(), student.state_dict()
    assert expected.keys() == found.keys()
    assert all(found[name].equal(value) for name, value in expected.items())


@pytest.mark.parametrize('dilation', [1, 2, 3, 12])
@pytest.mark.parametrize('size', [(5, 5), (8, 9), (1, 7)])
@pytest.mark.parametrize('bias', [True, False])
def test_phases_are_the_dilated_convolution(dilation, size, bias):
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    weight = torch.randn(3, 1, 3, 5, dtype=torch.float64)
    bias = torch.randn(3, dtype=torch.float64) if bias else None
    x = F.pad(x, (2 * dilation, 2 * dilation, dilation, dilation))
    given = [t.requires_grad_() for t in (x, weight, bias) if t is not None]
    expected = F.conv2d(x, weight, bias, dilation=dilation, groups=3)
    found = depthwise_by_phases(x, weight, bias, dilation)
    assert_close(found, expected)
    seed = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, given, seed)
    for ours, theirs in zip(
        torch.autograd.grad(found, given, seed), wanted, strict=True
    ):
        assert_close(ours, theirs)


@pytest.mark.parametrize('kind', [nn.Conv2d, Conv2dAdaptivePadding])
@pytest.mark.parametrize(
    'settings',
    [
        dict(dilation=2, padding=2),
        dict(dilation=4, padding=1, bias=False),
        dict(dilation=(2, 3), padding=3),
        dict(dilation=2, padding=2, stride=2),
    ],
)
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_dilated_layers_compute_the_same_in_both_layouts(kind, settings, layout):
    plain = kind(6, 6, 3, groups=6, **settings).double()
    ours = copy.deepcopy(plain)
    keep_depthwise_type(ours)
    x = torch.randn(2, 6, 9, 11, dtype=torch.float64).contiguous(memory_format=layout)
    found = ours(x)
    assert_close(found, plain(x))
    assert found.is_contiguous(memory_format=layout)


@pytest.mark.parametrize(
    'settings', [dict(padding='same'), dict(padding=2, padding_mode='reflect')]
)
def test_other_padding_stays(settings):
    plain = nn.Conv2d(6, 6, 3, groups=6, dilation=2, **settings)
    ours = copy.deepcopy(plain)
    keep_depthwise_type(ours)
    x = torch.randn(2, 6, 9, 11).contiguous(memory_format=torch.channels_last)
    assert_close(ours(x), plain(x))


@pytest.mark.parametrize('kind', [nn.Conv2d, Conv2dAdaptivePadding])
@pytest.mark.parametrize('dilation', [3, 5, 7, 12])
def test_taps_that_read_nothing_but_zeros(kind, dilation):
    """With a dilation as large as the map only the middle tap is left."""
    conv = kind(4, 4, 3, padding=dilation, dilation=dilation, groups=4).double()
    plain = copy.deepcopy(conv)
    keep_depthwise_type(conv)
    x = torch.randn(2, 4, 5, 7).double().contiguous(memory_format=torch.channels_last)
    found, expected = conv(x), plain(x)
    assert_close(found, expected)
    seed = torch.randn_like(expected)
    found.backward(seed)
    expected.backward(seed)
    assert_close(conv.weight.grad, plain.weight.grad)
    middle = conv.weight.grad[:, :, 1, 1].abs().sum()
    if dilation >= 7:
        assert conv.weight.grad.abs().sum() == middle
    else:
        assert conv.weight.grad.abs().sum() > middle
