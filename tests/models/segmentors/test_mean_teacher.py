"""The unsupervised loss against a reference written from its equation."""

import math
import warnings

import pytest
import torch
from helpers import batch, build, sample, spread, streams, student_cfg, total
from mmengine.logging import MessageHub
from mmseg.registry import MODELS
from torch.testing import assert_close

from mmsemiseg.functional import PseudoLabel
from mmsemiseg.models import Batch

NORMS = ('valid', 'weights', 'all')


CUTMIX, CLASSMIX = dict(type='CutMix'), dict(type='ClassMix')
SOFT = dict(type='SoftLabel')


def make(loss=None, **settings):
    """Student and teacher with weights of their own, in train mode."""
    settings = dict(pseudo_loss={'threshold': None, **(loss or {})}, **settings)
    model = build(dict(type='MeanTeacher', student=student_cfg(), **settings))
    spread(model.student, seed=1)
    spread(model.teacher, seed=2)
    return model.train()


def logits_at_full_size(net, images, mode):
    training = net.training
    net.train(mode == 'train')
    maps = net.decode_head(net.extract_feat(images))
    net.train(training)
    return torch.nn.functional.interpolate(maps, images.shape[2:], mode='bilinear')


def slow_loss(teacher, student, valid, threshold, power, soft, temperature, norm):
    """Pixel by pixel in Python, from the two networks' logits."""
    n, c, height, width = student.shape
    numerator, counts = 0.0, dict(valid=0, weights=0.0, all=n * height * width)
    for i in range(n):
        for y in range(height):
            for x in range(width):
                if not valid[i, y, x]:
                    continue
                probs = torch.softmax(teacher[i, :, y, x].double(), 0)
                confidence, label = probs.max(0)
                target = torch.zeros(c, dtype=torch.double)
                target[label] = 1
                if soft:
                    scaled = teacher[i, :, y, x].double() / temperature
                    target = torch.softmax(scaled, 0)
                weight = 1.0 if power is None else confidence.item() ** power
                if threshold is not None and confidence < threshold:
                    weight = 0.0
                log_p = torch.log_softmax(student[i, :, y, x].double(), 0)
                numerator -= weight * (target * log_p).sum().item()
                counts['valid'] += 1
                counts['weights'] += weight
    return numerator / counts[norm]


@pytest.mark.parametrize('norm', NORMS)
@pytest.mark.parametrize(
    ('threshold', 'power', 'soft', 'temperature'),
    [
        (None, None, False, 1.0),
        (0.8, None, False, 1.0),
        (None, 6, False, 1.0),
        (0.8, 2, True, 0.5),
        (None, None, True, 2.0),
    ],
)
def test_loss_equals_the_slow_reference(threshold, power, soft, temperature, norm):
    valid = torch.ones(32, 32, dtype=torch.bool)
    valid[:, 20:] = False
    data = streams(valid=valid)
    loss = dict(threshold=threshold, confidence_power=power, norm=norm, weight=0.5)
    label = dict(SOFT, temperature=temperature) if soft else dict(type='HardLabel')
    model = make(loss, mix=None, pseudo_label=label)
    views = data['unlabeled']
    with torch.no_grad():
        teacher = logits_at_full_size(model.teacher, views['weak'].inputs, 'eval')
        student = logits_at_full_size(model.student, views['strong'].inputs, 'train')
    confidence = teacher.softmax(1).amax(1)
    if threshold is not None:  # the threshold divides the pixels
        kept = (confidence >= threshold).float().mean()
        assert 0.1 < kept < 0.9
    expected = 0.5 * slow_loss(
        teacher, student, views['weak'].valid, threshold, power, soft, temperature, norm
    )
    losses = model.loss(data)
    assert losses['loss_unsup'].item() == pytest.approx(expected, rel=1e-4)
    assert losses['loss_unsup'] > 0


@pytest.mark.parametrize('share_threshold', [0.0, 0.7, 0.9])
def test_the_loss_times_the_share_of_confident_pixels(share_threshold):
    data = streams(valid=half_valid())
    model = make(dict(share_threshold=share_threshold), mix=None)
    views = data['unlabeled']
    with torch.no_grad():
        teacher = logits_at_full_size(model.teacher, views['weak'].inputs, 'eval')
    confident = teacher.softmax(1).amax(1)[:, half_valid()] >= share_threshold
    share = confident.float().mean()
    if share_threshold:  # it divides the pixels
        assert 0.1 < share < 0.9
    got = model.loss(data)['loss_unsup']
    assert_close(got, share * make(mix=None).loss(data)['loss_unsup'])


def test_the_share_is_of_the_mixed_images(monkeypatch):
    model, data = make(dict(share_threshold=0.5), mix=CLASSMIX), streams()
    ones = torch.ones(2, 32, 32)
    mixed = PseudoLabel(ones.long(), 0.25 * ones, ones.bool())
    mixed.confidence[0, :8] = 0.5  # the threshold itself counts
    strong = data['unlabeled']['strong'].inputs
    monkeypatch.setattr(model, 'mixed', lambda *args: (strong, mixed))
    got = model.loss(data)['loss_unsup']
    model.pseudo_loss.share_threshold = None
    assert_close(got, model.loss(data)['loss_unsup'] / 8)


def test_the_teacher_sees_the_weak_and_the_student_the_strong_view():
    model, data = make(mix=None), streams()
    seen = {}
    for name, net in model.networks.items():
        net.backbone.register_forward_pre_hook(
            lambda module, args, name=name: seen.update({name: args[0].clone()})
        )
    model.loss(data)
    assert torch.equal(seen['teacher'], data['unlabeled']['weak'].inputs)
    assert torch.equal(seen['student'], data['unlabeled']['strong'].inputs)


@pytest.mark.parametrize(
    ('iteration', 'kind', 'factor'),
    [
        (0, 'linear', 0.0),
        (25, 'linear', 0.25),
        (50, 'exp', math.exp(-1.25)),
        (100, 'linear', 1.0),
    ],
)
def test_ramp_up(monkeypatch, iteration, kind, factor):
    plain = make(mix=None)
    ramped = make(dict(ramp_up=dict(kind=kind, length=100)), mix=None)
    hub = MessageHub.get_instance('ramp')
    hub.update_info('iter', iteration)
    monkeypatch.setattr(MessageHub, 'get_current_instance', lambda: hub)
    full = plain.loss(streams())['loss_unsup']
    got = ramped.loss(streams())['loss_unsup']
    assert_close(got, factor * full)


# Mixing


@pytest.mark.parametrize('kind', [CUTMIX, CLASSMIX], ids=str)
def test_one_mask_mixes_all(kind):
    """Each tensor tells for each pixel the image that it comes from: the same."""
    model = make(mix=kind, pseudo_label=SOFT)
    n, size = 4, (16, 16)
    source = torch.arange(n).view(n, 1, 1).expand(n, *size)
    strong = batch(n, size=size, labels=False)
    strong = Batch(
        source[:, None].expand(n, 3, *size).float().clone(), strong.data_samples
    )
    label = source % 3
    label = torch.where(torch.arange(16).view(1, 1, 16) < 8, label, (label + 1) % 3)
    pseudo = PseudoLabel(
        label=label,
        confidence=source / 10,
        valid=source != 2,
        probs=source[:, None].expand(n, 3, *size) / 7,
    )
    torch.manual_seed(0)
    images, mixed = model.mixed(strong.inputs, pseudo)
    origin = images[:, 0].long()
    assert (origin != source).any() and (origin == source).any()
    assert torch.equal(images, origin[:, None].expand(n, 3, *size).float())
    assert_close(mixed.confidence, origin / 10)
    assert torch.equal(mixed.valid, origin != 2)
    assert_close(mixed.probs, origin[:, None].expand(n, 3, *size) / 7)
    half = torch.arange(16).view(1, 1, 16) < 8
    assert torch.equal(mixed.label, torch.where(half, origin % 3, (origin % 3 + 1) % 3))


def test_classmix_pastes_whole_classes_of_the_donor():
    model = make(mix=CLASSMIX)
    strong = batch(2, size=(8, 8), labels=False)
    half = torch.arange(8) // 4  # classes 0 and 1
    label = torch.stack([half.expand(8, 8), half.expand(8, 8).T])
    ones = torch.ones(2, 8, 8)
    images, mixed = model.mixed(strong.inputs, PseudoLabel(label, ones, ones.bool()))
    pasted = (images != strong.inputs).all(1)
    for mask, donor in zip(pasted, label.flip(0), strict=True):
        assert mask.sum() == 32  # one of the donor's two classes, all of it
        assert donor[mask].unique().numel() == 1
    assert torch.equal(mixed.label, torch.where(pasted, label.flip(0), label))


def test_cutmix_area_is_handed_on():
    model = make(mix=dict(CUTMIX, area=(0.25, 0.25), aspect=(1.0, 1.0)))
    strong = batch(2, size=(16, 16), labels=False)
    ones = torch.ones(2, 16, 16)
    pseudo = PseudoLabel(ones.long(), ones, ones.bool())
    images, _ = model.mixed(strong.inputs, pseudo)
    pasted = (images != strong.inputs).all(1)
    assert pasted.sum((1, 2)).tolist() == [64, 64]
    assert pasted.any(1).sum(1).tolist() == [8, 8]


@pytest.mark.parametrize('kind', [CUTMIX, CLASSMIX], ids=str)
def test_a_batch_of_one_is_not_mixed_and_says_so_once(kind):
    model, data = make(mix=kind), streams(1)
    unmixed = make(mix=None).loss(data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        first = model.loss(data)
        model.loss(data)
        model.loss(data)
    told = [str(w.message) for w in caught if 'batch_size=1' in str(w.message)]
    assert len(told) == 1
    assert told[0].startswith(kind['type'])
    assert_close(first['loss_unsup'], unmixed['loss_unsup'])


# Padding


def half_valid():
    valid = torch.ones(32, 32, dtype=torch.bool)
    valid[20:] = False
    valid[:, 24:] = False
    return valid


def gradient_of_logits(model, data, monkeypatch):
    """d loss / d student logits at the size of the images."""
    kept, upsampled = [], model.upsampled

    def record(*args):
        logits = upsampled(*args)
        if logits.requires_grad:
            logits.retain_grad()
            kept.append(logits)
        return logits

    monkeypatch.setattr(model, 'upsampled', record)
    model.loss(data)['loss_unsup'].backward()
    (logits,) = kept
    return logits.grad


@pytest.mark.parametrize('soft', [False, True])
@pytest.mark.parametrize('padded', ['weak', 'strong', 'both'])
def test_padding_gives_no_gradient(monkeypatch, soft, padded):
    model = make(mix=None, pseudo_label=SOFT if soft else dict(type='HardLabel'))
    data, valid = streams(), half_valid()
    views = data['unlabeled']
    for name in ('weak', 'strong'):
        samples = [
            sample(i, labels=False, valid=valid if padded in (name, 'both') else None)
            for i in range(2)
        ]
        views[name] = Batch(views[name].inputs, samples)
    grad = gradient_of_logits(model, data, monkeypatch)
    assert grad[:, :, ~valid].eq(0).all()
    assert grad.abs().sum(1)[:, valid].gt(0).all()


def test_pasted_padding_gives_no_gradient(monkeypatch):
    # the padding of one image lands in the other one, and only there
    model, data = make(mix=CUTMIX), streams()
    views, valid = data['unlabeled'], half_valid()
    samples = [sample(0, labels=False, valid=valid), sample(1, labels=False)]
    data['unlabeled'] = {k: Batch(v.inputs, samples) for k, v in views.items()}
    seen = []
    mixed = model.mixed
    monkeypatch.setattr(model, 'mixed', lambda *a: seen.append(mixed(*a)) or seen[0])
    grad = gradient_of_logits(model, data, monkeypatch)
    ((_, pseudo),) = seen
    assert not pseudo.valid.all(0).all() and not pseudo.valid[1].all()
    assert torch.equal(grad.abs().sum(1) > 0, pseudo.valid)


@pytest.mark.parametrize('norm', NORMS)
@pytest.mark.parametrize('kind', [None, CUTMIX, CLASSMIX], ids=str)
def test_all_padding_is_a_finite_zero(norm, kind):
    loss = dict(confidence_power=1.0, share_threshold=0.5, norm=norm)
    model = make(loss, mix=kind)
    data = streams(valid=torch.zeros(32, 32, dtype=torch.bool))
    loss = model.loss(data)['loss_unsup']
    assert loss.item() == 0
    loss.backward()
    grads = [p.grad for p in model.student.parameters() if p.grad is not None]
    assert grads and all(g.eq(0).all() for g in grads)
    assert model.step_outputs['pseudo'].total.sum() == 0


@pytest.mark.parametrize('norm', NORMS)
def test_no_pixel_above_the_threshold_is_a_finite_zero(norm):
    model = make(dict(threshold=1.0, norm=norm))
    with torch.no_grad():
        model.teacher.decode_head.conv_seg.weight.zero_()
    loss = model.loss(streams())['loss_unsup']
    assert loss.item() == 0
    loss.backward()


# Gradient, keys, step_outputs


@pytest.mark.parametrize('mode', ['eval', 'train'])
def test_the_gradient_reaches_the_student_alone(mode):
    teacher = dict(mode=mode, buffers='copy')
    model = make(teacher=teacher)
    model.loss(streams())['loss_unsup'].backward()
    assert all(p.grad is None for p in model.teacher.parameters())
    head = model.student.decode_head.conv_seg.weight
    assert head.grad.abs().sum() > 0
    assert model.student.backbone.stem[0].weight.grad.abs().sum() > 0


def test_keys_and_what_is_summed():
    model, data = make(), streams()
    losses = model.loss(data)
    assert set(losses) == {'sup.decode.loss_ce', 'sup.decode.acc_seg', 'loss_unsup'}
    summed, _ = model.parse_losses(losses)
    assert_close(summed, total(losses))
    assert_close(summed, losses['sup.decode.loss_ce'] + losses['loss_unsup'])


def test_statistics_are_those_of_the_step():
    valid = half_valid()
    model, data = make(dict(threshold=0.8), mix=None), streams(valid=valid)
    with torch.no_grad():
        logits = logits_at_full_size(
            model.teacher, data['unlabeled']['weak'].inputs, 'eval'
        )
    confidence, label = logits.softmax(1).max(1)
    confidence, label = confidence[:, valid], label[:, valid]
    model.loss(data)
    stats = model.step_outputs['pseudo']
    assert len(label.unique()) > 1
    for c in range(3):
        assert stats.total[c] == (label == c).sum()
        assert stats.count[c] == ((label == c) & (confidence >= 0.8)).sum()
        assert stats.confidence[c].item() == pytest.approx(
            confidence[label == c].sum().item(), rel=1e-5
        )
    assert not any(v.requires_grad for v in stats)


# Views


def test_another_size_is_an_error():
    data = streams()
    data['unlabeled']['strong'] = batch(2, size=(32, 16), labels=False)
    with pytest.raises(ValueError, match=r'one geometry.*\(32, 32\) and \(32, 16\)'):
        make().loss(data)


def test_a_missing_view_is_an_error():
    data = streams()
    del data['unlabeled']['strong']
    with pytest.raises(ValueError, match=r"views \['weak'\].*needs \['strong'\]"):
        make().loss(data)


def test_views_by_other_names():
    data = streams()
    views = data['unlabeled']
    renamed = dict(
        labeled=data['labeled'], unlabeled=dict(a=views['weak'], b=views['strong'])
    )
    expected = make(mix=None).loss(data)['loss_unsup']
    got = make(views=('a', 'b'), mix=None).loss(renamed)['loss_unsup']
    assert_close(got, expected)


def test_a_stream_without_views_is_both():
    data = streams()
    weak = data['unlabeled']['weak']
    twice = dict(data, unlabeled=dict(weak=weak, strong=weak))
    expected = make(mix=None).loss(twice)['loss_unsup']
    got = make(mix=None).loss(dict(data, unlabeled=weak))['loss_unsup']
    assert_close(got, expected)


# Settings


def loss(**settings):
    return dict(pseudo_loss=settings)


@pytest.mark.parametrize(
    ('setting', 'message'),
    [
        (loss(threshold=1.5), r'threshold must be in \[0, 1\], but got 1.5'),
        (loss(threshold=-0.1), r'threshold must be in \[0, 1\], but got -0.1'),
        (loss(threshold=math.nan), 'threshold must be .* nan'),
        (loss(share_threshold=2), r'share_threshold must be in \[0, 1\], but got 2'),
        (loss(share_threshold=math.nan), 'share_threshold must be .* nan'),
        (loss(confidence_power=-1), r'confidence_power must be .* got -1'),
        (loss(norm='mean'), r"norm must be in .*'weights'.* got 'mean'"),
        (loss(weight=-2), 'weight must be .* got -2'),
        (loss(ramp_up=dict(kind='fast', length=9)), "ramp-up kind must be .* 'fast'"),
        (loss(ramp_up=dict(kind='exp', length=-9)), 'ramp-up length must be .* -9'),
        (loss(ramp_up=dict(lenght=9)), 'ramp_up must be None or dict.*lenght'),
        (loss(treshold=0.9), "has no setting 'treshold' .did you mean 'threshold'"),
    ],
    ids=str,
)
def test_bad_settings_of_the_loss_name_their_path(setting, message):
    with pytest.raises(ValueError, match=r'^model\.pseudo_loss.*' + message):
        MODELS.build(dict(type='MeanTeacher', student=student_cfg(), **setting))


@pytest.mark.parametrize(
    ('setting', 'message'),
    [
        (dict(mix=dict(type='MixUp')), r"model\.mix\.type .*'CutMix'.* got 'MixUp'"),
        (dict(mix='cutmix'), r"model\.mix must be dict\(type=.* got 'cutmix'"),
        (
            dict(mix=dict(type='CutMix', area=(0.5, 1.5))),
            r'model\.mix\.area must be .* got \(0.5, 1.5\)',
        ),
        (dict(mix=dict(area=(0.0, 0.5))), r'model\.mix\.area must be .* \(0.0, 0.5\)'),
        (dict(mix=dict(aspect=(2, 1))), r'model\.mix\.aspect must be .* got \(2, 1\)'),
        (
            dict(pseudo_label=dict(type='SoftLabel', temperature=0)),
            r'model\.pseudo_label\.temperature must be > 0, but got 0',
        ),
        (dict(views=('weak',)), r"views must be 2 names, .* \('weak',\)"),
        (dict(threshold=0.9), r"'threshold' .did you mean pseudo_loss\.threshold"),
        (dict(veiws=('a', 'b')), "model has no setting 'veiws' .did you mean 'views'"),
        (dict(contrast=dict(type='CutMix')), r'model\.contrast\.type must be in'),
    ],
    ids=str,
)
def test_bad_settings_are_named_at_construction(setting, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type='MeanTeacher', student=student_cfg(), **setting))
