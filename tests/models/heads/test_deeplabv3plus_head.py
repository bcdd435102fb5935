import pytest
import torch
from helpers import build
from mmseg.models.decode_heads import ASPPHead
from torch import nn
from torch.testing import assert_close
from zoo import CLASSES, LAST, encoder_decoder

from mmsemiseg.models import DeepLabV3PlusHead, SegmentorAdapter

HEAD = dict(
    type='DeepLabV3PlusHead', **LAST, dilations=(1, 6), c1_in_channels=8, c1_channels=4
)


def images(size=64, n=2):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def segmentor():
    return build(encoder_decoder(HEAD))


def test_layers_are_those_of_the_plain_head(segmentor):
    head = segmentor.decode_head
    convs = [m for m in head.modules() if isinstance(m, nn.Conv2d)]
    assert {conv.groups for conv in convs} == {1}
    shapes = {
        name: tuple(m.weight.shape)
        for name, m in head.named_modules()
        if isinstance(m, nn.Conv2d)
    }
    assert shapes == {
        'image_pool.1.conv': (16, 64, 1, 1),
        'aspp_modules.0.conv': (16, 64, 1, 1),
        'aspp_modules.1.conv': (16, 64, 3, 3),
        'bottleneck.conv': (16, 48, 1, 1),
        'c1_bottleneck.conv': (4, 8, 1, 1),
        'fuse.0.conv': (16, 20, 3, 3),
        'fuse.2.conv': (16, 16, 3, 3),
        'conv_seg': (CLASSES, 16, 1, 1),
    }
    dropouts = {n: m.p for n, m in head.named_modules() if isinstance(m, nn.Dropout)}
    assert dropouts == {'aspp_dropout': 0.5, 'fuse.1': 0.5}
    assert head.dropout.p == 0.1


def spreads(**settings):
    """Standard deviation of the weights of each convolution of the head."""
    segmentor = build(encoder_decoder(dict(HEAD, **settings)))
    convs = {
        name: m
        for name, m in segmentor.decode_head.named_modules()
        if isinstance(m, nn.Conv2d)
    }
    assert len(convs) == 8
    return {name: conv.weight.std().item() for name, conv in convs.items()}


def test_an_init_cfg_reaches_every_convolution():
    init_cfg = dict(type='Normal', layer='Conv2d', std=0.01)
    found = spreads(init_cfg=init_cfg)
    assert found == {name: pytest.approx(0.01, rel=0.3) for name in found}
    others = spreads()
    assert others.pop('conv_seg') == pytest.approx(0.01, rel=0.3)
    assert min(others.values()) > 0.03


def test_an_init_cfg_of_the_classifier_leaves_the_others_as_they_were():
    init_cfg = dict(type='Normal', std=0.5, override=dict(name='conv_seg'))
    found, expected = spreads(init_cfg=init_cfg), spreads()
    assert found.pop('conv_seg') == pytest.approx(0.5, rel=0.3)
    assert found == {name: pytest.approx(expected[name], rel=0.4) for name in found}


def test_forward_follows_the_paper(segmentor):
    head = segmentor.decode_head.eval()
    segmentor.eval()
    with torch.no_grad():
        maps = segmentor.extract_feat(images())
        deep = ASPPHead._forward_feature(head, maps)
        low = head.c1_bottleneck(maps[0])
        deep = nn.functional.interpolate(deep, low.shape[2:], mode='bilinear')
        x = head.fuse[2](head.fuse[0](torch.cat([deep, low], 1)))
        assert_close(head(maps), head.conv_seg(x))


def test_features_are_what_is_classified_at_stride_4(segmentor):
    adapter = SegmentorAdapter(segmentor)
    segmentor.eval()
    logits, features = adapter(segmentor, images())
    assert features.shape == (2, 16, 16, 16)
    assert_close(segmentor.decode_head.conv_seg(features), logits)


def test_low_level_branch_has_gradient(segmentor):
    segmentor.train()
    adapter = SegmentorAdapter(segmentor)
    adapter(segmentor, images()).features.square().sum().backward()
    head = segmentor.decode_head
    for layer in (head.c1_bottleneck, head.bottleneck, head.image_pool[1]):
        assert layer.conv.weight.grad.abs().sum() > 0


def test_dropouts_can_be_turned_off():
    head = dict(HEAD, aspp_dropout=0, fuse_dropout=0, dropout_ratio=0)
    segmentor = build(encoder_decoder(head)).train()
    first, second = (segmentor(images(), mode='tensor') for _ in range(2))
    assert_close(first, second)


@pytest.mark.parametrize('name', ['aspp_dropout', 'fuse_dropout'])
@pytest.mark.parametrize('value', [-0.1, 1])
def test_refuses_a_probability_that_is_none(name, value):
    settings = {k: v for k, v in HEAD.items() if k != 'type'}
    with pytest.raises(ValueError, match=rf'{name} must be in \[0, 1\), but got'):
        DeepLabV3PlusHead(**settings, **{name: value})
