"""Heads that classify masks or points, inside of the adapter."""

import pytest
import torch
from helpers import batch, build
from op_heads import MASKS, QUERIES, mask_student, needs_ops, op_student
from torch.testing import assert_close
from zoo import CLASSES

from mmsemiseg.functional import score_logits
from mmsemiseg.models import SegmentorAdapter

SIZE = (64, 96)
ALL = (*MASKS, 'pointrend')


def images(n=2):
    return torch.randn(n, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def metas(size, n=2):
    return [dict(img_shape=size, pad_shape=size, ori_shape=size)] * n


def raw_queries(net, maps):
    """What the head itself gives in MMSegmentation's prediction."""
    seen = []
    handle = net.decode_head.register_forward_hook(
        lambda head, args, output: seen.append(output)
    )
    net.decode_head.predict(maps, metas(SIZE), net.test_cfg)
    handle.remove()
    ((classes, masks),) = seen
    return classes[-1], masks[-1]


@needs_ops
@pytest.mark.parametrize('name', MASKS)
def test_logits_are_those_of_semantic_inference(name):
    net = build(mask_student(name)).eval()
    logits, features = SegmentorAdapter(net)(net, images())
    maps = net.extract_feat(images())
    classes, masks = raw_queries(net, maps)
    assert classes.shape == (2, QUERIES, CLASSES + 1)
    scores = torch.zeros(2, CLASSES, *masks.shape[2:])
    for i in range(2):
        for q in range(QUERIES):
            shares = classes[i, q].exp() / classes[i, q].exp().sum()
            for c in range(CLASSES):
                scores[i, c] += shares[c] * masks[i, q].sigmoid()
    assert_close(logits, score_logits(scores))
    # MMSegmentation's prediction, asked for at the resolution of the masks
    head, size = net.decode_head, tuple(masks.shape[2:])
    predicted = head.predict(maps, metas(size), net.test_cfg)
    assert_close(scores, predicted)
    assert torch.equal(logits.argmax(1), predicted.argmax(1))
    assert features.shape == (2, 64, *size)


@needs_ops
@pytest.mark.parametrize('name', MASKS)
def test_masks_are_products_with_the_features(name):
    net = build(mask_student(name)).eval()
    adapter, queries = SegmentorAdapter(net), []
    handle = net.decode_head.mask_embed.register_forward_hook(
        lambda layers, args, output: queries.append(output)
    )
    features = adapter(net, images()).features
    handle.remove()
    embedding = queries[-1][-1] if name == 'maskformer' else queries[-1]
    _, masks = raw_queries(net, net.extract_feat(images()))
    assert_close(torch.einsum('nqd,ndhw->nqhw', embedding, features), masks)


@needs_ops
@pytest.mark.parametrize('name', MASKS)
def test_queries_of_all_layers(name):
    net = build(mask_student(name)).train()
    adapter, seen = SegmentorAdapter(net, None), []
    handle = net.decode_head.register_forward_hook(
        lambda head, args, output: seen.append(output)
    )
    found = adapter.queries(net, images())
    handle.remove()
    ((classes, masks),) = seen
    assert len(found.class_logits) == len(found.mask_logits) == len(masks)
    for layer in range(len(masks)):
        assert torch.equal(found.class_logits[layer], classes[layer])
        assert torch.equal(found.mask_logits[layer], masks[layer])
    assert torch.equal(found.features, SegmentorAdapter(net)(net, images()).features)
    assert adapter.has_queries
    assert not any(module._forward_hooks for module in net.modules())


@needs_ops
@pytest.mark.parametrize('name', ALL)
@pytest.mark.parametrize('training', [True, False], ids=['train', 'eval'])
def test_gradients_and_no_trace(name, training):
    net = build(op_student(name)).train(training)
    adapter = SegmentorAdapter(net)
    logits, features = adapter(net, images())
    assert logits.shape[:2] == (2, CLASSES)
    assert adapter.feature_channels(net) == features.shape[1]
    assert not any(module._forward_hooks for module in net.modules())
    logits.log_softmax(1)[:, 0].mean().backward()
    for part in (net.backbone, net.decode_head):
        grads = [p.grad for p in part.parameters() if p.grad is not None]
        assert sum(grad.abs().sum() for grad in grads) > 0
    if name == 'pointrend':
        assert net.decode_head[1].fc_seg.weight.grad.abs().sum() > 0
    else:
        assert net.decode_head.cls_embed.weight.grad.abs().sum() > 0
        assert net.decode_head.mask_embed[0].weight.grad.abs().sum() > 0


@needs_ops
@pytest.mark.parametrize('name', ALL)
def test_losses_with_the_output_of_the_same_pass(name):
    net, labeled = build(op_student(name)).train(), batch(2, size=SIZE)
    adapter = SegmentorAdapter(net)
    torch.manual_seed(3)  # Mask2Former and PointRend draw points
    expected = net.loss(*labeled)
    torch.manual_seed(3)
    losses, got = adapter.loss(net, *labeled)
    output = adapter(net, labeled.inputs)
    assert losses.keys() == expected.keys()
    for key, value in expected.items():
        assert_close(losses[key], value)
    assert_close(got.logits, output.logits)
    assert_close(got.features, output.features)


@needs_ops
@pytest.mark.parametrize('name', ALL)
def test_encode_and_decode(name):
    net = build(op_student(name)).train()
    adapter = SegmentorAdapter(net, ['stage1', 'pre_cls'])
    maps = adapter.encode(net, images())
    whole = adapter(net, images())
    assert_close(adapter.decode(net, maps).logits, whole.logits)
    perturbed = [x * torch.linspace(0, 2, x.shape[1])[:, None, None] for x in maps]
    logits, features = adapter.decode(net, perturbed)
    assert features[0] is perturbed[0]
    assert not torch.allclose(logits, whole.logits)
    logits.square().sum().backward()
    backbone = [p.grad for p in net.backbone.parameters() if p.grad is not None]
    assert sum(grad.abs().sum() for grad in backbone) > 0
