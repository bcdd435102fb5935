"""Which features the adapter takes, and the two halves of a segmentor."""

import copy

import pytest
import torch
from torch.testing import assert_close
from zoo import ZOO
from zoo_models import build, images, samples, without_randomness

from mmsemiseg.models.adapter import SegmentorAdapter


@pytest.mark.parametrize(('feature', 'width'), [('stage4', 64), (0, 8), (-1, 64)])
def test_stage_features(feature, width):
    segmentor = build(ZOO['fcn']).eval()
    logits, features = SegmentorAdapter(segmentor, feature)(segmentor, images())
    assert features.shape[1] == width
    index = 3 if feature == 'stage4' else feature
    assert torch.equal(features, segmentor.extract_feat(images())[index])
    assert torch.equal(logits, segmentor(images(), mode='tensor'))


def test_no_features_when_not_asked():
    segmentor = build(ZOO['fcn']).eval()
    handles = []
    segmentor.decode_head.conv_seg.register_forward_hook(
        lambda m, i, o: handles.append(len(m._forward_hooks))
    )
    output = SegmentorAdapter(segmentor, None)(segmentor, images())
    assert output.features is None
    assert handles == [1]


# Width of the features


@pytest.mark.parametrize('name', ZOO)
def test_feature_channels(name):
    segmentor = build(ZOO[name]).train()
    adapter = SegmentorAdapter(segmentor)
    _, features = adapter(segmentor, images())
    assert adapter.feature_channels(segmentor) == features.shape[1]


@pytest.mark.parametrize('name', ['fcn', 'segformer', 'fpn', 'segmenter'])
@pytest.mark.parametrize('feature', ['stage1', -1])
def test_feature_channels_of_a_stage(name, feature):
    segmentor = build(ZOO[name]).train()
    segmentor.backbone.eval()
    modes = [m.training for m in segmentor.modules()]
    state = copy.deepcopy(segmentor.state_dict())
    adapter = SegmentorAdapter(segmentor, feature)
    width = adapter.feature_channels(segmentor)
    assert [m.training for m in segmentor.modules()] == modes
    assert all(torch.equal(v, state[k]) for k, v in segmentor.state_dict().items())
    assert width == adapter(segmentor, images()).features.shape[1]


def test_feature_channels_of_a_missing_stage():
    segmentor = build(ZOO['fcn'])
    with pytest.raises(ValueError, match=r'feature index 6 \(stage7\)'):
        SegmentorAdapter(segmentor, 'stage7').feature_channels(segmentor)


# Several taps; encode and decode


@pytest.mark.parametrize('name', ['fcn', 'segformer', 'ocrnet', 'pidnet'])
def test_several_features(name):
    segmentor = build(ZOO[name]).eval()
    taps = ['stage1', 'pre_cls']
    both = SegmentorAdapter(segmentor, taps)
    logits, features = both(segmentor, images())
    widths = both.feature_channels(segmentor)
    assert isinstance(features, tuple)
    for tap, feature, width in zip(taps, features, widths, strict=True):
        one = SegmentorAdapter(segmentor, tap)
        expected = one(segmentor, images())
        assert torch.equal(feature, expected.features)
        assert torch.equal(logits, expected.logits)
        assert width == one.feature_channels(segmentor) == feature.shape[1]
    assert not both.classifies_features
    assert isinstance(
        SegmentorAdapter(segmentor, ['stage1'])(segmentor, images())[1], tuple
    )


def test_losses_with_several_features():
    net = build(ZOO['fcn'])
    _, got = SegmentorAdapter(net, (0, 'pre_cls')).loss(net, images(), samples())
    assert [x.shape[1] for x in got.features] == [8, 16]


@pytest.mark.parametrize('feature', [[], ['pre_cls', None], ['pre_cls', 'stage0']])
def test_bad_features(feature):
    with pytest.raises(ValueError, match='feature must'):
        SegmentorAdapter(build(ZOO['fcn']), feature)


@pytest.mark.parametrize('name', ZOO)
def test_encode_and_decode(name):
    segmentor = without_randomness(build(ZOO[name]))
    adapter = SegmentorAdapter(segmentor)
    maps = adapter.encode(segmentor, images())
    output = adapter.decode(segmentor, maps)
    whole = adapter(segmentor, images())
    assert_close(output.logits, whole.logits)
    assert_close(output.features, whole.features)
    perturbed = [x * torch.linspace(0, 2, x.shape[1])[:, None, None] for x in maps]
    other = adapter.decode(segmentor, perturbed).logits
    assert other.shape == whole.logits.shape
    assert not torch.allclose(other, whole.logits)
    other.square().sum().backward()
    backbone = [p.grad for p in segmentor.backbone.parameters() if p.grad is not None]
    assert sum(grad.abs().sum() for grad in backbone) > 0


@pytest.mark.parametrize('name', ZOO)
def test_features_alone_are_those_of_a_call(name):
    segmentor = without_randomness(build(ZOO[name]))
    for feature in ('pre_cls', ('pre_cls', -1)):
        adapter = SegmentorAdapter(segmentor, feature)
        expected = adapter(segmentor, images()).features
        assert_close(adapter.features(segmentor, images()), expected)
    assert adapter.features(segmentor, images(), only=1).equal(expected[1])


def test_features_alone_come_from_before_the_dropout_and_no_classifier_runs():
    segmentor = build(ZOO['fcn']).train()
    calls = []
    for layer in (segmentor.decode_head.conv_seg, segmentor.decode_head):
        layer.register_forward_hook(lambda module, *_: calls.append(module))
    adapter = SegmentorAdapter(segmentor, ('pre_cls', -1))
    torch.manual_seed(0)
    expected = adapter(segmentor, images()).features
    assert len(calls) == 2
    torch.manual_seed(0)
    assert_close(adapter.features(segmentor, images()), expected)
    adapter.features(segmentor, images(), only=1)
    assert len(calls) == 2


@pytest.mark.parametrize('feature', ['stage0', 'stage', 'neck', 1.0, True])
def test_bad_feature(feature):
    with pytest.raises(ValueError, match=f'feature must be .* got {feature!r}'):
        SegmentorAdapter(build(ZOO['fcn']), feature)


def test_missing_stage():
    segmentor = build(ZOO['fcn']).eval()
    with pytest.raises(ValueError, match=r'feature index 4 \(stage5\)'):
        SegmentorAdapter(segmentor, 'stage5')(segmentor, images())
