import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import WEIGHTS_IGNORED
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample, build_pixel_sampler
from mmseg.utils import register_all_modules
from torch.testing import assert_close

from mmsemiseg.models.losses import OHEMLoss


def reference(logits, label, threshold, min_kept, norm, class_weight, weight, ignore):
    """Pixel by pixel, in float64."""
    n, c, h, w = logits.shape
    pixels = []
    for i in range(n):
        for y in range(h):
            for x in range(w):
                target = int(label[i, y, x])
                if target == ignore:
                    continue
                scores = logits[i, :, y, x].astype(np.float64)
                exps = np.exp(scores - scores.max())
                p = exps[target] / exps.sum()
                factor = 1.0 if class_weight is None else class_weight[target]
                factor *= 1.0 if weight is None else weight[i, y, x]
                pixels.append((p, factor))
    if not pixels:
        return 0.0
    hardest = sorted(p for p, _ in pixels)
    if min_kept == 0:
        limit = threshold
    elif min_kept > len(hardest):
        limit = 1.0
    else:
        limit = max(threshold, hardest[min_kept - 1])
    kept = [(p, f) for p, f in pixels if p <= limit * (1 + 1e-6)]
    total = sum(-f * math.log(p) for p, f in kept)
    if norm == 'kept':
        divisor = sum(f for _, f in kept)
    elif class_weight is not None:
        divisor = sum(f for _, f in pixels)
    else:
        divisor = n * h * w
    return total / divisor if divisor else 0.0


def batch(ignored=0.3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, 4, 5, 6, generator=generator)
    label = torch.randint(4, (2, 5, 6), generator=generator)
    label[torch.rand(label.shape, generator=generator) < ignored] = 255
    return logits, label


@pytest.mark.parametrize('class_weight', [None, [1.0, 2.0, 0.5, 0.0]])
@pytest.mark.parametrize('norm', ['kept', 'all'])
@pytest.mark.parametrize('min_kept', [0, 1, 10, 25, 1000])
@pytest.mark.parametrize('threshold', [0.05, 0.7, 1.0])
def test_slow_reference(threshold, min_kept, norm, class_weight):
    logits, label = batch()
    loss = OHEMLoss(threshold, min_kept, norm, class_weight)
    expected = reference(
        logits.numpy(), label, threshold, min_kept, norm, class_weight, None, 255
    )
    assert_close(loss(logits, label).item(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('norm', ['kept', 'all'])
def test_pixel_weights_and_another_ignore_index(norm):
    logits, label = batch()
    label[label == 255] = 0  # 0 is what the head ignores
    weight = torch.rand(label.shape)
    value = OHEMLoss(0.5, 5, norm)(logits, label, weight=weight, ignore_index=0)
    expected = reference(logits.numpy(), label, 0.5, 5, norm, None, weight.numpy(), 0)
    assert_close(value.item(), expected, rtol=1e-5, atol=1e-7)
    same = OHEMLoss(0.5, 5, norm, ignore_index=0)(logits, label, weight=weight)
    assert torch.equal(same, value)


def hand_batch():
    """Pixels with p = 1/2, 9/10, 1/4 and one without a label."""
    logits = torch.tensor([[0, math.log(9), -math.log(3), 5.0], [0, 0, 0, 0]])
    return logits.reshape(1, 2, 1, 4), torch.tensor([[[0, 0, 0, 255]]])


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [
        # 1/2 and 1/4 are below 0.7: (log 2 + log 4) / 2
        ({}, 1.5 * math.log(2)),
        # the same sum over all four pixels
        ({'ohem_norm': 'all'}, 0.75 * math.log(2)),
        # 0.3 leaves 1/4 alone, min_kept=2 brings 1/2 back
        ({'threshold': 0.3}, 2 * math.log(2)),
        ({'threshold': 0.3, 'min_kept': 2}, 1.5 * math.log(2)),
        # fewer pixels than min_kept: all with a label
        ({'min_kept': 100_000}, (3 * math.log(2) + math.log(10 / 9)) / 3),
        ({'loss_weight': 0.5}, 0.75 * math.log(2)),
    ],
)
def test_hand_number(settings, expected):
    value = OHEMLoss(**{'threshold': 0.7, 'min_kept': 1, **settings})(*hand_batch())
    assert_close(value, torch.tensor(expected))


def test_pixels_that_are_dropped_get_no_gradient():
    logits, label = hand_batch()
    logits.requires_grad_()
    OHEMLoss(threshold=0.7, min_kept=1)(logits, label).backward()
    assert logits.grad[..., [1, 3]].eq(0).all()  # p = 9/10, and no label
    # d/d logit = (p - 1) / kept for the label's channel
    assert_close(logits.grad[0, 0, 0, [0, 2]], torch.tensor([-0.25, -0.375]))
    assert_close(logits.grad[0, 1, 0, [0, 2]], torch.tensor([0.25, 0.375]))


@pytest.mark.parametrize('norm', ['kept', 'all'])
@pytest.mark.parametrize('class_weight', [None, [1.0, 2.0, 0.5, 1.0]])
def test_nothing_labeled_is_zero_and_on_the_graph(norm, class_weight):
    logits, label = batch()
    logits.requires_grad_()
    loss = OHEMLoss(0.7, 10, norm, class_weight)(logits, torch.full_like(label, 255))
    assert loss == 0
    loss.backward()
    assert logits.grad.eq(0).all()


def test_nothing_hard_is_zero():
    logits = torch.tensor([20.0, 0.0]).reshape(1, 2, 1, 1).requires_grad_()
    loss = OHEMLoss(0.7, 0)(logits, torch.zeros(1, 1, 1, dtype=torch.long))
    assert loss == 0
    loss.backward()
    assert logits.grad.eq(0).all()


def test_half_precision_logits_are_computed_in_float32():
    logits, label = batch()
    loss = OHEMLoss(0.7, 10)
    value = loss(logits.bfloat16(), label)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(logits.bfloat16().float(), label))


@pytest.mark.parametrize('class_weight', [None, [1.0, 2.0, 0.5, 1.5]])
def test_norm_all_is_mmseg_sampler_with_cross_entropy(class_weight):
    register_all_modules(init_default_scope=True)
    logits, label = batch()
    context = type('Head', (), {'ignore_index': 255})()
    sampler = build_pixel_sampler(
        {'type': 'OHEMPixelSampler', 'thresh': 0.5, 'min_kept': 10}, context=context
    )
    weight = sampler.sample(logits, label[:, None])
    theirs = MODELS.build({'type': 'CrossEntropyLoss', 'class_weight': class_weight})
    if class_weight is not None and not WEIGHTS_IGNORED:
        with pytest.raises(IndexError):
            theirs(logits, label, weight=weight, ignore_index=255)
        return
    expected = theirs(logits, label, weight=weight, ignore_index=255)
    # 10 for each of 2 images
    ours = OHEMLoss(0.5, 20, 'all', class_weight)(logits, label)
    assert_close(ours, expected)


def test_as_loss_of_a_head():
    register_all_modules(init_default_scope=True)
    head = MODELS.build(
        ConfigDict(
            type='FCNHead',
            in_channels=4,
            channels=4,
            num_convs=0,
            concat_input=False,
            num_classes=4,
            loss_decode=[
                {'type': 'OHEMLoss', 'min_kept': 10},
                {'type': 'CrossEntropyLoss', 'avg_non_ignore': True},
            ],
        )
    )
    logits, label = batch()
    samples = [SegDataSample(gt_sem_seg=PixelData(data=one[None])) for one in label]
    losses = head.loss_by_feat(logits, samples)
    assert torch.equal(losses['loss_ohem'], OHEMLoss(0.7, 10)(logits, label))
    assert_close(losses['loss_ce'], F.cross_entropy(logits, label, ignore_index=255))


def test_misspelt_keyword_is_refused():
    with pytest.raises(TypeError, match='wieght'):
        OHEMLoss()(*batch(), wieght=None)


def test_class_weight_is_not_in_the_checkpoint(tmp_path):
    file = tmp_path / 'weights.npy'
    np.save(file, np.array([1.0, 2.0, 0.5, 1.0]))
    loss = OHEMLoss(class_weight=str(file))
    assert loss.class_weight.tolist() == [1.0, 2.0, 0.5, 1.0]
    assert loss.state_dict() == {}


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'threshold': 0}, r'threshold must be in \(0, 1\], but got 0'),
        ({'threshold': 1.1}, r'threshold must be in \(0, 1\], but got 1.1'),
        ({'min_kept': -1}, 'min_kept must be an integer >= 0, but got -1'),
        ({'min_kept': 0.5}, 'min_kept must be an integer >= 0, but got 0.5'),
        (
            {'ohem_norm': 'mean'},
            "ohem_norm must be in .*'kept', 'all'.* 'mean'",
        ),
        ({'loss_weight': -1}, 'loss_weight must be >= 0, but got -1'),
        ({'class_weight': [1, -2]}, 'class_weight must be a list of numbers >= 0'),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        OHEMLoss(**settings)


def test_class_weight_of_another_number_of_classes():
    with pytest.raises(ValueError, match='each of the 4 classes, but has 2'):
        OHEMLoss(class_weight=[1.0, 2.0])(*batch())
