"""Dropout of elements in front of the classifier, instead of channels."""

import pytest
import torch
from helpers import build
from torch import nn
from torch.testing import assert_close
from zoo import ZOO

from mmsemiseg.models import SegmentorAdapter

WITH_CLASSIFIER = [n for n in ZOO if n not in ('segmenter', 'knet', 'ocrnet')]


def images():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, 64, 96, generator=generator)


def of_elements(name, **settings):
    """The config of the zoo, with an entry of the head replaced as the docs say."""
    cfg = dict(ZOO[name])
    head = dict(cfg['decode_head'], **settings)
    kind = head.pop('type')
    if kind in ('DeepLabV2Head', 'DeepLabV3PlusHead'):
        cfg['decode_head'] = dict(head, type=kind, dropout_per='element')
    else:
        cfg['decode_head'] = dict(head, type='ElementDropoutHead', head=kind)
    return cfg


@pytest.mark.parametrize('name', WITH_CLASSIFIER)
def test_any_head_by_its_config(name):
    """The same head but for the dropout; features are before it."""
    plain = build(ZOO[name])
    net = build(of_elements(name)).train()
    head, ratio = net.decode_head, plain.decode_head.dropout_ratio
    assert type(head) is type(plain.decode_head)
    assert head.state_dict().keys() == plain.decode_head.state_dict().keys()
    if ratio == 0:
        assert head.dropout is None
        return
    assert type(head.dropout) is nn.Dropout and head.dropout.p == ratio
    adapter = SegmentorAdapter(net)
    logits, features = adapter(net, images())
    assert not torch.equal(head.conv_seg(features), logits)
    logits, features = adapter(net, images(), dropout=False)
    assert torch.equal(head.conv_seg(features), logits)
    assert head.dropout.training


@pytest.mark.parametrize('kind', ['DeepLabV2Head', 'DeepLabV3PlusHead'])
def test_a_setting_of_the_heads_of_this_package(kind):
    name = 'deeplabv2' if kind == 'DeepLabV2Head' else 'deeplabv3plus'
    head = dict(ZOO[name]['decode_head'], type=kind, dropout_ratio=0.5)
    nets = [
        build(dict(ZOO[name], decode_head=dict(head, **settings)))
        for settings in ({}, dict(dropout_per='channel'), dict(dropout_per='element'))
    ]
    kinds = [type(net.decode_head.dropout) for net in nets]
    assert kinds == [nn.Dropout2d, nn.Dropout2d, nn.Dropout]
    assert all(net.decode_head.dropout.p == 0.5 for net in nets)


def test_the_direction_it_works_in():
    """Elements: each pixel loses other features, so the mean of an image loses none."""
    kept = {}
    for per in ('channel', 'element'):
        cfg = ZOO['fcn'] if per == 'channel' else of_elements('fcn')
        dropout = build(cfg).decode_head.dropout.train()
        torch.manual_seed(0)
        kept[per] = dropout(torch.ones(1, 64, 40, 40))
    lost = {per: x.eq(0).float().mean().item() for per, x in kept.items()}
    assert lost['element'] == pytest.approx(0.1, abs=0.01)  # as often as channels
    assert 0 < lost['channel'] < 0.3
    assert kept['channel'].std((2, 3)).eq(0).all()
    means = kept['channel'].mean((2, 3)).unique()
    assert_close(means, torch.tensor([0, 1 / 0.9]))
    assert kept['element'].std((2, 3)).gt(0.2).all()
    assert kept['element'].mean((2, 3)).sub(1).abs().max() < 0.05


def test_pooled_features_are_classified_through_a_dropout_of_their_own():
    net = build(of_elements('fcn', dropout_ratio=0.5)).train()
    adapter = SegmentorAdapter(net)
    assert adapter.classifies_features
    assert not SegmentorAdapter(net, 'stage1').classifies_features
    with torch.no_grad():
        features = nn.functional.avg_pool2d(adapter(net, images()).features, 2)
        first, second = (adapter.classify(net, features) for _ in range(2))
        plain = adapter.classify(net, features, dropout=False)
    assert not torch.equal(first, second)
    assert torch.equal(plain, net.decode_head.conv_seg(features))


@pytest.mark.parametrize('name', ['segmenter', 'knet'])
def test_a_head_without_such_a_dropout(name):
    with pytest.raises(ValueError, match='has no dropout in front of a classifier'):
        build(of_elements(name))


def test_a_dropout_of_something_else():
    head = dict(ZOO['deeplabv2']['decode_head'], dropout_per='pixel')
    with pytest.raises(ValueError, match="dropout_per must be in .* 'pixel'"):
        build(dict(ZOO['deeplabv2'], decode_head=head))
