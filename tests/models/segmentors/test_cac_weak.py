"""CACWeak: its loss against loops, where its gradient goes, its streams."""

import math

import pytest
import torch
from cac_crops import SIZE, random_pair
from helpers import CLASSES, batch, build, spread, student_cfg, total
from mmengine.structures import PixelData
from torch.testing import assert_close

from mmsemiseg.models import CACWeak
from mmsemiseg.models.adapter import SegmentorAdapter

WEAK = dict(size=SIZE, seed=7)


def student_at_8(**settings):
    backbone = dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 2))
    return student_cfg(backbone=backbone, **settings)


def make(head=None, contrast=None, **weak):
    contrast = {'threshold': 0.5, 'projector': dict(channels=6), **(contrast or {})}
    student = student_at_8(decode_head=head or {})
    cfg = dict(type='CACWeak', student=student, contrast=contrast, weak=weak)
    model = build(cfg)
    spread(model.student, seed=1)
    torch.nn.init.normal_(model.weak.classifier.weight)
    return model.train()


def losses_of(model, **streams):
    return model.loss(dict(labeled=batch(2, size=SIZE), **streams))


def crops(seed=5, ignored=0.3):
    """Two views with random masks, of which a share is 255."""
    views = random_pair(seed)
    generator = torch.Generator().manual_seed(seed)
    for view in views:
        for sample in view.data_samples:
            mask = torch.randint(CLASSES, (1, *SIZE), generator=generator)
            mask[torch.rand(mask.shape, generator=generator) < ignored] = 255
            sample.gt_sem_seg = PixelData(data=mask)
    return dict(view1=views[0], view2=views[1])


def weak_batch(ignored=0.0, **settings):
    weak = batch(3, **{**WEAK, **settings})
    for sample in weak.data_samples:
        mask = sample.gt_sem_seg.data
        mask[torch.rand(mask.shape) < ignored] = 255
    return weak


def set_iteration(monkeypatch, value):
    monkeypatch.setattr(CACWeak, 'iteration', property(lambda self: value))


def reference(model, part):
    """Mean over the pixels that count, each with its own softmax; no ramp."""
    features = model.adapter(model.student, part.inputs).features
    weight, bias = model.weak.classifier.weight[:, :, 0, 0], None
    bias = model.weak.classifier.bias
    logits = torch.einsum('cd,ndhw->nchw', weight, features) + bias[:, None, None]
    logits = torch.nn.functional.interpolate(
        logits,
        part.inputs.shape[2:],
        mode='bilinear',
        align_corners=model.align_corners,
    )
    terms = []
    for image, sample in zip(logits, part.data_samples, strict=True):
        for row, labels in enumerate(sample.gt_sem_seg.data[0].tolist()):
            for col, label in enumerate(labels):
                if label != 255:
                    values = image[:, row, col]
                    terms.append(values.logsumexp(0) - values[label])
    return torch.stack(terms).mean() if terms else 0 * logits.sum()


def grads(loss, model):
    names, params = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, params, allow_unused=True, retain_graph=True)
    return dict(zip(names, found, strict=True))


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('pool', [1, 2])
def test_own_stream_against_loops(align_corners, pool):
    model = make(dict(align_corners=align_corners), dict(pool=pool), weight=0.7)
    weak = weak_batch(ignored=0.4)
    views = random_pair(5, cell=8 * pool)
    unlabeled = dict(view1=views[0], view2=views[1])
    losses = losses_of(model, unlabeled=unlabeled, weak=weak)
    expected = 0.7 * reference(model, weak)
    assert_close(losses['loss_weak'], expected, rtol=1e-4, atol=1e-6)
    got, wanted = grads(losses['loss_weak'], model), grads(expected, model)
    for name in got:
        assert (got[name] is None) == (wanted[name] is None), name
        if got[name] is not None:
            assert_close(got[name], wanted[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize('started', [True, False])
def test_compared_crops_against_loops(started, monkeypatch):
    """Equation 11; one forward of each crop, also before the contrast begins."""
    model = make(None, dict(start=10), stream='unlabeled', weight=0.7)
    set_iteration(monkeypatch, 10 if started else 3)
    unlabeled = crops()
    calls, forward = [], SegmentorAdapter.__call__
    monkeypatch.setattr(
        SegmentorAdapter,
        '__call__',
        lambda *a, **k: calls.append(1) or forward(*a, **k),
    )
    losses = losses_of(model, unlabeled=unlabeled)
    assert len(calls) == 2
    assert (losses['loss_dc'] > 0) == started
    first, second = (reference(model, part) for part in unlabeled.values())
    assert not torch.isclose(first, second)
    assert_close(losses['loss_weak'], 0.7 * (first + second) / 2, rtol=1e-4, atol=1e-6)


def test_views_of_an_own_stream():
    """The mean over views, each over its own pixels."""
    model = make(weight=1.0)
    views = dict(a=weak_batch(), b=weak_batch(ignored=0.9, seed=8))
    losses = losses_of(model, unlabeled=crops(), weak=views)
    expected = sum(reference(model, part) for part in views.values()) / 2
    assert_close(losses['loss_weak'], expected, rtol=1e-4, atol=1e-6)


def test_the_contrast_is_that_of_cac():
    model = make()
    unlabeled = crops()
    losses = losses_of(model, unlabeled=unlabeled, weak=weak_batch())
    alone, _ = model.consistency(list(unlabeled.values()))
    assert losses['loss_dc'] > 0
    assert_close(losses['loss_dc'], alone['loss_dc'])


@pytest.mark.parametrize('stream', ['weak', 'unlabeled'])
def test_gradients_go_where_they_should(stream):
    model = make(stream=stream)
    inputs = dict(labeled=batch(2, size=SIZE), unlabeled=crops(), weak=weak_batch())
    losses = model.loss(inputs)
    weak = grads(losses['loss_weak'], model)
    rest = grads(total({k: v for k, v in losses.items() if k != 'loss_weak'}), model)
    for name in weak:
        moved = weak[name] is not None and weak[name].any()
        if 'conv_seg' in name or 'projector' in name:
            assert not moved, name
        elif name.startswith('weak.') or 'backbone.layer' in name:
            assert moved, name
        if name.startswith('weak.'):
            assert rest[name] is None, name
    assert rest['pairs.0.student.decode_head.conv_seg.weight'].any()


@pytest.mark.parametrize('stream', ['weak', 'unlabeled'])
def test_no_pixel_counts(stream):
    model = make(stream=stream)
    inputs = dict(unlabeled=crops(ignored=2.0), weak=weak_batch(ignored=2.0))
    losses = losses_of(model, **inputs)
    assert losses['loss_weak'] == 0
    losses['loss_weak'].backward()
    for name, param in model.weak.named_parameters():
        assert param.grad.eq(0).all(), name
    backbone = model.student.backbone
    assert all(param.grad.eq(0).all() for param in backbone.parameters())


def test_one_view_is_empty():
    model = make(weight=1.0)
    views = dict(a=weak_batch(), b=weak_batch(ignored=2.0))
    losses = losses_of(model, unlabeled=crops(), weak=views)
    expected = reference(model, views['a']) / 2
    assert_close(losses['loss_weak'], expected, rtol=1e-4, atol=1e-6)


def test_what_ignored_pixels_show_changes_no_mean():
    """Images of one class; the other pixels are 255: a mean, not a sum over all."""
    model = make(weight=1.0, head=dict(dropout_ratio=0))
    features = torch.randn(1, 8, 4, 6)
    mask = torch.full((1, *SIZE), 1)
    whole = model.weak.cross_entropy(features, mask)
    mask[:, 16:] = 255
    upper = model.weak.cross_entropy(features, mask)
    mask[:, :16], mask[:, 16:] = 255, 1
    lower = model.weak.cross_entropy(features, mask)
    assert_close(whole, (upper + lower) / 2)


@pytest.mark.parametrize(
    ('ramp', 'iteration', 'factor'),
    [
        (None, 0, 1.0),
        (dict(kind='exp', length=100), 0, math.exp(-5)),
        (dict(kind='exp', length=100), 50, math.exp(-1.25)),
        (dict(kind='exp', length=100), 100, 1.0),
        (dict(kind='exp', length=100), 1000, 1.0),
        (dict(length=100), 20, math.exp(-5 * 0.64)),
        (dict(kind='linear', length=100), 25, 0.25),
    ],
)
def test_ramp(ramp, iteration, factor, monkeypatch):
    model = make(ramp_up=ramp)
    set_iteration(monkeypatch, iteration)
    weak = weak_batch()
    losses = losses_of(model, unlabeled=crops(), weak=weak)
    expected = 0.4 * factor * reference(model, weak)
    assert_close(losses['loss_weak'], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ('head', 'setting', 'ratio'),
    [(0.3, None, 0.3), (0.3, 0, 0), (0, None, 0), (0, 0.2, 0.2)],
)
def test_dropout_is_that_of_the_head(head, setting, ratio):
    model = make(dict(dropout_ratio=head), dropout=setting)
    dropout = model.weak.dropout
    assert isinstance(dropout, torch.nn.Dropout2d) and dropout.p == ratio
    assert dropout is not model.student.decode_head.dropout


def test_dropout_is_of_elements_where_that_of_the_head_is():
    model = make(dict(type='ElementDropoutHead', head='FCNHead', dropout_ratio=0.3))
    dropout = model.weak.dropout
    assert type(dropout) is torch.nn.Dropout and dropout.p == 0.3


def test_first_weights_are_small():
    cfg = dict(type='CACWeak', student=student_at_8())
    conv = build(cfg).weak.classifier
    assert conv.weight.shape == (CLASSES, 8, 1, 1)
    assert 0 < conv.weight.abs().max() < 0.06
    assert conv.bias.eq(0).all()


def test_predictions_know_nothing_of_it():
    model = make().eval()
    images = batch(2, size=SIZE)
    before = model.predict(*images)
    torch.nn.init.constant_(model.weak.classifier.bias, 100)
    after = model.predict(*images)
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one.seg_logits.data, other.seg_logits.data)
    names = [name for name in model.state_dict() if name.startswith('weak.')]
    assert names == ['weak.classifier.weight', 'weak.classifier.bias']


def test_half_precision():
    model = make()
    weak = weak_batch()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = losses_of(model, unlabeled=crops(), weak=weak)
    assert losses['loss_weak'].dtype == torch.float32
    expected = 0.4 * reference(model, weak)
    assert_close(losses['loss_weak'], expected, rtol=0.05, atol=0.01)


def test_no_stream():
    with pytest.raises(ValueError, match="needs a stream 'weak', but train_dataloader"):
        losses_of(make(), unlabeled=crops())


def test_no_masks():
    model = make(stream='unlabeled')
    first, second = random_pair(5)
    with pytest.raises(ValueError, match='comes without: see LabeledOverlapCrops'):
        losses_of(model, unlabeled=dict(view1=first, view2=second))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(stream='labeled'), r"model\.weak\.stream must be .*'labeled'"),
        (dict(stream=''), r'model\.weak\.stream must be'),
        (dict(weight=-0.1), r'weak\.weight must be a number >= 0, but got -0.1'),
        (dict(ramp_up=dict(kind='exp')), r'weak\.ramp_up must be None or dict'),
        (dict(ramp_up=dict(length=5, power=2)), 'ramp_up must be None or dict'),
        (dict(ramp_up=dict(kind='up', length=5)), 'ramp-up kind'),
        (dict(dropout=1.0), r'model\.weak\.dropout must be in \[0, 1\)'),
        (dict(contrast=dict(temperature=0)), r'model\.contrast\.temperature'),
        (dict(wieght=1.0), "model.weak has no setting 'wieght'.*'weight'"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)


def test_without_the_second_classifier():
    with pytest.raises(ValueError, match='model.weak must be dict'):
        build(dict(type='CACWeak', student=student_cfg(), weak=None))
