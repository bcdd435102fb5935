import copy

import pytest
import torch
import torch.nn.functional as F
from helpers import build
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from torch import nn
from torch.testing import assert_close
from zoo import CLASSES, ZOO

from mmsemiseg.models import DeepLabV2Head, SegmentorAdapter

HEAD = ZOO['deeplabv2']['decode_head']


def images(size=64, n=2):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(('num_used', 'steps'), [(None, [6, 12, 18, 24]), (2, [6, 12])])
def test_logits_are_the_sum_of_the_first_branches(num_used, steps):
    head = DeepLabV2Head(8, num_used=num_used, num_classes=CLASSES)
    head.init_weights()
    x = torch.randn(2, 8, 9, 11, generator=torch.Generator().manual_seed(1))
    convs = head.conv_seg.convs
    expected = sum(
        F.conv2d(x, conv.weight, conv.bias, padding=step, dilation=step)
        for conv, step in zip(convs, steps, strict=True)
    )
    logits = head([x])
    assert logits.shape == (2, CLASSES, 9, 11)
    assert_close(logits, expected)
    assert head.dilations == tuple(steps)


def test_nothing_but_the_branches_has_parameters():
    head = DeepLabV2Head(8, num_classes=CLASSES, num_used=2)
    shapes = {name: tuple(p.shape) for name, p in head.named_parameters()}
    assert shapes == {
        'conv_seg.convs.0.weight': (CLASSES, 8, 3, 3),
        'conv_seg.convs.0.bias': (CLASSES,),
        'conv_seg.convs.1.weight': (CLASSES, 8, 3, 3),
        'conv_seg.convs.1.bias': (CLASSES,),
    }
    assert (head.channels, head.dropout) == (8, None)


def test_initial_weights_are_normal_with_a_hundredth():
    torch.manual_seed(0)
    head = DeepLabV2Head(64, num_classes=CLASSES)
    head.init_weights()
    for conv in head.conv_seg.convs:  # 2 880 numbers each
        assert conv.weight.std().item() == pytest.approx(0.01, rel=0.1)
        assert abs(conv.weight.mean().item()) < 1e-3
        assert conv.bias.abs().max() == 0


def test_features_are_the_map_of_the_backbone():
    segmentor = build(ZOO['deeplabv2']).eval()
    adapter = SegmentorAdapter(segmentor)
    logits, features = adapter(segmentor, images())
    assert torch.equal(features, segmentor.extract_feat(images())[-1])
    assert adapter.feature_channels(segmentor) == features.shape[1] == 16
    assert_close(segmentor.decode_head.conv_seg(features), logits)


def test_features_have_no_dropout():
    config = dict(ZOO['deeplabv2'], decode_head=dict(HEAD, dropout_ratio=0.5))
    segmentor = build(config).eval()
    segmentor.decode_head.dropout.train()
    adapter = SegmentorAdapter(segmentor)
    logits, features = adapter(segmentor, images())
    assert torch.equal(features, segmentor.extract_feat(images())[-1])
    assert not torch.allclose(segmentor.decode_head.conv_seg(features), logits)


def test_every_branch_learns():
    segmentor = build(ZOO['deeplabv2']).train()
    SegmentorAdapter(segmentor)(segmentor, images()).logits.square().sum().backward()
    for conv in segmentor.decode_head.conv_seg.convs:
        assert conv.weight.grad.abs().sum() > 0


def test_weights_of_the_student_fill_the_plain_segmentor():
    student = copy.deepcopy(ZOO['deeplabv2'])
    model = MODELS.build(ConfigDict(type='SupOnly', student=student))
    plain = build(ZOO['deeplabv2'])
    prefix = 'pairs.0.student.'
    state = {
        key.removeprefix(prefix): value
        for key, value in model.state_dict().items()
        if key.startswith(prefix)
    }
    plain.load_state_dict(state)
    assert_close(
        plain.eval()(images(), mode='tensor'),
        model.eval().student(images(), mode='tensor'),
    )


def test_maps_of_several_stages_side_by_side():
    head = DeepLabV2Head(
        [4, 8],
        num_classes=CLASSES,
        in_index=[0, 1],
        input_transform='resize_concat',
        dilations=(1,),
    )
    assert head.conv_seg.convs[0].in_channels == head.channels == 12
    maps = [torch.zeros(1, 4, 8, 8), torch.zeros(1, 8, 4, 4)]
    assert head(maps).shape == (1, CLASSES, 8, 8)


def test_a_loss_of_mmseg():
    head = DeepLabV2Head(4, num_classes=CLASSES, align_corners=True)
    assert head.align_corners
    assert isinstance(head.loss_decode, nn.Module)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(num_used=0), r'num_used must be in 1\.\.4, .* but got 0'),
        (dict(num_used=5), r'num_used must be in 1\.\.4, .* but got 5'),
        (dict(dilations=()), r'dilations must be 1 or more, but got \(\)'),
        (dict(dilations=(0, 6)), r'dilations must be 1 or more, but got \(0, 6\)'),
        (dict(channels=256), 'no setting channels: .* but got 256'),
    ],
)
def test_refuses_settings_that_fit_nothing(settings, message):
    with pytest.raises(ValueError, match=message):
        DeepLabV2Head(4, num_classes=CLASSES, **settings)


def test_refuses_a_list_of_maps():
    with pytest.raises(ValueError, match='input_transform must be None or resize_con'):
        DeepLabV2Head(
            [4, 8],
            num_classes=CLASSES,
            in_index=[0, 1],
            input_transform='multiple_select',
        )
