import pytest
import torch
from helpers import CLASSES, batch, build, student_cfg
from mmcv.cnn import ConvModule
from mmseg.registry import MODELS
from torch import nn

from mmsemiseg.models import ConvBlocks, SegmentorAdapter

V3PLUS = dict(
    type='DeepLabV3PlusHead',
    in_channels=64,
    channels=8,
    dilations=(1, 2),
    c1_in_channels=8,
    c1_channels=4,
    in_index=3,
    num_convs=None,
)


def student(**head):
    """With a DeepLabV3+ head on the first and the last map."""
    cfg = student_cfg()
    old = cfg['decode_head']
    keep = ('num_classes', 'norm_cfg')
    cfg['decode_head'] = {k: old[k] for k in keep} | {
        k: v for k, v in (V3PLUS | head).items() if v is not None
    }
    return cfg


@pytest.mark.parametrize('blocks', [0, 2, 3])
def test_layers_and_shape(blocks):
    head = ConvBlocks(6, channels=5, hidden_channels=4, num_blocks=blocks)
    kinds = [type(layer) for layer in head.layers]
    assert kinds == [ConvModule, nn.Dropout2d] * blocks + [nn.Conv2d]
    given = torch.randn(2, 6, 4, 4)
    out = head.eval()(given)
    assert out.shape == (2, 5, 4, 4)
    assert out.lt(0).any()
    assert out.equal(head.layers(given))
    assert all(name.startswith('layers.') for name in head.state_dict())


def test_a_classifier_of_blocks_sees_the_features_in_front_of_them():
    cfg = student(type='BlockClassifierHead', head=V3PLUS['type'], fuse_convs=0)
    model = build(cfg)
    adapter = SegmentorAdapter(model)
    assert adapter.feature_channels(model) == 8 + 4
    output = adapter(model.eval(), batch(2).inputs)
    assert output.features.shape[1] == 12
    assert output.logits.shape[1] == CLASSES
    torch.testing.assert_close(
        model.decode_head.conv_seg(output.features), output.logits
    )


def test_its_weights_are_initialised_as_convolutions_and_norms():
    cfg = student(type='BlockClassifierHead', head=V3PLUS['type'], blocks={})
    layers = build(cfg).decode_head.conv_seg.layers
    norms = [m for m in layers.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 2
    assert all(norm.weight.eq(1).all() for norm in norms)
    assert 0.005 < layers[-1].weight.std() < 0.02
    assert layers[0].conv.weight.std() > 0.02


def test_without_fusing_convolutions_the_head_classifies_the_concatenation():
    head = MODELS.build({**student(fuse_convs=0)['decode_head']})
    assert head.conv_seg.in_channels == 12
    assert len(head.fuse) == 0
    with pytest.raises(ValueError, match=r'fuse_convs must be in \(0, 2\), but got 1'):
        MODELS.build(student(fuse_convs=1)['decode_head'])


@pytest.mark.parametrize(
    ('settings', 'rule'),
    [
        (dict(channels=0), 'channels must be an integer >= 1, but got 0'),
        (dict(num_blocks=-1), 'num_blocks must be an integer >= 0, but got -1'),
        (dict(kernel_size=2), 'kernel_size must be odd, but got 2'),
        (dict(dropout=1), r'dropout must be in \[0, 1\), but got 1'),
    ],
)
def test_bad_settings_are_named(settings, rule):
    with pytest.raises(ValueError, match=rule):
        ConvBlocks(4, **settings)


def test_a_head_without_such_a_classifier_is_refused():
    cfg = dict(
        type='BlockClassifierHead',
        head='DeepLabV2Head',
        in_channels=4,
        num_classes=CLASSES,
    )
    with pytest.raises(ValueError, match='but DeepLabV2Head has none'):
        MODELS.build(cfg)
