"""Losses of a segmentor with the logits and features of the same forward pass."""

import pytest
from torch.testing import assert_close
from zoo import ZOO
from zoo_models import build, images, samples, without_randomness

from mmsemiseg.models.adapter import SegmentorAdapter


def assert_untouched(net):
    for module in net.modules():
        assert not module._forward_hooks
        assert not {'extract_feat', 'forward'} & set(vars(module))


@pytest.mark.parametrize('name', [name for name in ZOO if name != 'pidnet'])
def test_losses_with_features_of_the_same_pass(name):
    net = without_randomness(build(ZOO[name]))
    adapter = SegmentorAdapter(net)
    expected = net.loss(images(), samples())
    output = adapter(net, images())
    losses, got = adapter.loss(net, images(), samples())
    assert losses.keys() == expected.keys()
    assert_untouched(net)
    for key, value in expected.items():
        assert_close(losses[key], value)
    assert_close(got.logits, output.logits)
    assert_close(got.features, output.features)


@pytest.mark.parametrize('feature', ['stage1', None])
def test_losses_with_features_of_a_stage(feature):
    net = build(ZOO['fcn'])
    _, got = SegmentorAdapter(net, feature).loss(net, images(), samples())
    if feature is None:
        assert got.features is None
    else:
        assert_close(got.features, net.extract_feat(images())[0])


def test_no_trace_after_a_loss_that_fails():
    net = build(ZOO['fcn'])
    with pytest.raises(AttributeError):
        SegmentorAdapter(net).loss(net, images(), [None, None])
    assert_untouched(net)


def test_a_wrapper_of_somebody_else_stays():
    net, seen = build(ZOO['fcn']), []
    original = net.extract_feat

    def wrapper(inputs):
        seen.append(len(inputs))
        return original(inputs)

    net.extract_feat = wrapper
    SegmentorAdapter(net).loss(net, images(), samples())
    assert net.extract_feat is wrapper
    assert seen == [2]
