"""RC²L: one step against loops, its parts, and what it must not do."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import rc2l_reference as reference
import torch
from helpers import CLASSES, batch, build, frozen_copy, streams, student_cfg, total
from mmengine.logging import MessageHub
from mmseg.registry import MODELS
from op_heads import MASKS, QUERIES, WIDTH, mask_student, needs_ops
from tiny_run import differing
from torch.testing import assert_close

from mmsemiseg.functional import Regions
from mmsemiseg.models.losses import RegionLoss
from mmsemiseg.models.segmentors.region_losses import BETAS

SIZE = (64, 96)
UNSUPERVISED = ('loss_rmc', 'loss_rfc', 'loss_rcc', 'loss_smc')
FINE = dict(min_area=4)
PARTS = (
    'mask_contrast',
    'feature_contrast',
    'class_consistency',
    'semantic_consistency',
)
pytestmark = needs_ops


def lively(net, seed):
    """Add to class and mask of a query what depends on its embedding alone.

    The queries of a network that is not trained are all alike.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = SIZE[0] // 4, SIZE[1] // 4
    to_class = torch.randn(WIDTH, CLASSES + 1, generator=generator) / WIDTH**0.5
    to_mask = torch.randn(WIDTH, height * width, generator=generator) / WIDTH**0.5

    def add(head, args, output):
        queries = head.query_embed.weight.detach()
        classes = 3 * queries @ to_class
        masks = 3 * (queries @ to_mask).view(-1, height, width)
        scores, logits = output
        return [x + classes for x in scores], [x + masks for x in logits]

    net.decode_head.register_forward_hook(add)


def make(name='maskformer', losses=None, **settings):
    settings = dict(segments=FINE, mix=None) | settings
    student = mask_student(name, CLASSES)
    cfg = dict(type='RC2L', student=student, region_losses=losses or {}, **settings)
    model = build(cfg)
    lively(model.student, 1)
    lively(model.teacher, 2)
    return model.train()


def half_valid():
    valid = torch.ones(SIZE, dtype=torch.bool)
    valid[:, 72:] = False
    return valid


def regions_of(model, data):
    """Regions of a step without mixing, from the two networks."""
    views = data['unlabeled']
    with torch.no_grad():
        teacher = model.adapter.queries(model.teacher, views['weak'].inputs)
        student = model.adapter.queries(model.student, views['strong'].inputs)
    valid = views['weak'].valid[:, 1::4, 1::4]  # nearest the centres of 4 x 4 pixels
    shares = teacher.class_logits[-1].softmax(-1)[..., :-1]
    masks = teacher.mask_logits[-1].sigmoid()
    label = torch.einsum('nqc,nqhw->nchw', shares, masks).argmax(1)
    label = torch.where(valid, label, -1)
    segments, counts = model.segments.cut(
        model.segments(
            teacher.class_logits[-1], teacher.mask_logits[-1], views['weak'].valid
        )
    )
    assert torch.equal(counts, valid)
    for n in range(len(label)):
        found = [c for c in range(CLASSES) if (label[n] == c).sum() >= 4]
        assert segments.label[n][segments.exists[n]].tolist() == found
        for s, c in enumerate(found):
            assert torch.equal(segments.masks[n, s], label[n] == c)
    queries = student.class_logits[-1], student.mask_logits[-1]
    query = model.region_losses.matcher(*queries, segments, valid)
    return Regions(*queries, segments, query, valid, student.features)


@pytest.mark.parametrize('name', MASKS)
def test_a_step_equals_the_slow_reference(name):
    model, data = make(name, alpha=0.5), streams(size=SIZE, valid=half_valid())
    regions = regions_of(model, data)
    count = regions.segments.exists.sum().item()
    assert count > len(regions.valid)
    losses = model.loss(data)
    for key, slow, weight in (
        ('loss_rmc', reference.rmc, 4.0),
        ('loss_rfc', reference.rfc, 4.0),
        ('loss_rcc', reference.rcc, 1.0),
        ('loss_smc', reference.smc, 1.0),
    ):
        expected = 0.5 * weight * slow(regions) / count
        assert losses[key].item() == pytest.approx(expected, rel=1e-3)
        assert losses[key] != 0


def test_the_divisor_may_be_the_number_of_images():
    data = streams(size=SIZE)
    model = make()
    segments = regions_of(model, data).segments.exists.sum()
    found = model.loss(data)
    other = make(losses=dict(reduction='images')).loss(data)
    for key in UNSUPERVISED:
        assert_close(found[key] * segments, other[key] * 2)


@pytest.mark.parametrize('beta', BETAS)
def test_presets_of_the_weights(beta):
    data = streams(size=SIZE)
    found = make(losses=dict(beta=beta))
    ones = dict(weight=1.0)
    plain = make(
        losses=dict(
            mask_contrast=ones,
            feature_contrast=ones,
            class_consistency=ones,
            semantic_consistency=BETAS[beta]['semantic_consistency'] | ones,
            beta=beta,
        )
    ).loss(data)
    losses = found.loss(data)
    weights = {'a': '4411', 'b': '1 20 4 4', 'c': '4 4 20 1', 'd': '4444'}[beta]
    weights = weights.split() if ' ' in weights else weights
    for key, weight in zip(UNSUPERVISED, weights, strict=True):
        assert_close(losses[key], float(weight) * plain[key])
    smc = found.region_losses.semantic_consistency
    expected = (20.0, 1.0) if beta == 'a' else (1.0, 1.0)
    assert (smc.focal_weight, smc.dice_weight) == expected


def test_the_order_of_the_queries_does_not_matter():
    data, model = streams(size=SIZE), make()
    expected = model.loss(data)
    other = copy.deepcopy(model)
    order = torch.randperm(QUERIES, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for net, seed in ((other.student, 0), (other.teacher, 1)):
            shift = order.roll(seed)
            net.decode_head.query_embed.weight.copy_(
                net.decode_head.query_embed.weight[shift]
            )
    found = other.loss(data)
    for key in UNSUPERVISED:
        assert_close(found[key], expected[key], rtol=1e-4, atol=1e-5)


REACHED = {
    'loss_rmc': {'mask_embed', 'pixel_decoder', 'backbone'},
    'loss_rfc': {'mask_embed', 'pixel_decoder', 'backbone'},
    'loss_rcc': {'cls_embed', 'backbone'},
    'loss_smc': {'mask_embed', 'pixel_decoder', 'backbone'},
    'loss_matched': {'mask_embed', 'pixel_decoder', 'backbone'},
    'loss_pixel': {'mask_embed', 'cls_embed', 'pixel_decoder', 'backbone'},
}


@pytest.mark.parametrize('key', REACHED)
def test_what_learns_from_each_loss(key):
    model = make(losses=dict(matched_consistency={}), pixel_consistency={})
    before = frozen_copy(model)
    losses = model.loss(streams(size=SIZE))
    losses[key].backward()
    parts = dict(
        mask_embed=model.student.decode_head.mask_embed,
        cls_embed=model.student.decode_head.cls_embed,
        pixel_decoder=model.student.decode_head.pixel_decoder,
        backbone=model.student.backbone,
    )
    reached = {
        name
        for name, part in parts.items()
        if any(p.grad is not None and p.grad.any() for p in part.parameters())
    }
    assert reached == REACHED[key]
    assert all(p.grad is None for p in model.teacher.parameters())
    norms = ('running_mean', 'running_var', 'num_batches_tracked')
    changed = differing(before, model.state_dict())
    assert all(k.startswith('pairs.0.student') and k.endswith(norms) for k in changed)


@pytest.mark.parametrize('name', MASKS)
def test_all_layers(name):
    data, last = streams(size=SIZE), make(name)
    alone = last.loss(data)
    found = make(name, losses=dict(aux_layers=True)).loss(data)
    layers = 2 if name == 'maskformer' else 3  # and the queries themselves
    keys = {
        f'{prefix}{key}'
        for key in UNSUPERVISED
        for prefix in ('', *(f'd{i}.' for i in range(layers - 1)))
    }
    assert {key for key in found if not key.startswith('sup.')} == keys
    for key in UNSUPERVISED:
        assert_close(found[key], alone[key])
    total(found).backward()


def test_losses_that_are_left_out():
    names = dict.fromkeys(PARTS)
    losses = make(losses=names | dict(matched_consistency={})).loss(streams(size=SIZE))
    assert {k for k in losses if not k.startswith('sup.')} == {'loss_matched'}
    losses = make(losses=names, pixel_consistency={}).loss(streams(size=SIZE))
    assert {k for k in losses if not k.startswith('sup.')} == {'loss_pixel'}


def test_the_student_sees_what_the_map_is_of(monkeypatch):
    """Image and map of each are the other one's, if the mixing takes all of it."""
    plain, model = make(), make(mix={})
    everything = torch.ones(2, 1, *SIZE, dtype=torch.bool)
    monkeypatch.setattr(model.mix, 'masks', lambda *args: everything)
    data = streams(size=SIZE, valid=half_valid())
    expected, found = plain.loss(data), model.loss(data)
    for key in UNSUPERVISED:
        assert_close(found[key], expected[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', MASKS)
@pytest.mark.parametrize('segments', ['SemanticSegments', 'QuerySegments'])
@pytest.mark.parametrize('mix', ['CutMix', 'ClassMix'])
def test_trains_with_mixing(name, segments, mix):
    model = make(
        name,
        dict(feature_contrast=dict(target_features='teacher')),
        segments=dict(FINE, type=segments),
        mix=dict(type=mix),
    )
    losses = model.loss(streams(size=SIZE, valid=half_valid()))
    assert all(value.isfinite().all() for value in losses.values())
    total(losses).backward()
    assert [n for n, p in model.student.named_parameters() if p.grad is None] == []
    stats = model.step_outputs['pseudo']
    assert stats.total.sum() <= 2 * 16 * 18
    assert (stats.count <= stats.total).all()


def test_statistics_count_what_is_learned():
    data = streams(size=SIZE)
    model = make(segments=dict(FINE, threshold=0.6))
    model.loss(data)
    stats = model.step_outputs['pseudo']
    assert 0 < stats.count.sum() < stats.total.sum() == 2 * 16 * 24
    assert model.filters == {'segments.min_area': 4, 'segments.threshold': 0.6}
    assert make(segments=dict(min_area=1)).filters == {}


def test_statistics_leave_small_segments_out():
    data, fine = streams(size=SIZE), make(segments=dict(min_area=1))
    fine.loss(data)
    areas = fine.step_outputs['pseudo'].total
    assert torch.equal(fine.step_outputs['pseudo'].count, areas)
    for min_area in (100, 1000):
        model = make(segments=dict(min_area=min_area))
        losses = model.loss(data)
        count = model.step_outputs['pseudo'].count
        assert count.sum() < areas.sum()
        assert (count > 0).any() == (losses['loss_rcc'] > 0)
    assert count.sum() == 0


def test_statistics_of_pixels():
    data, none = streams(size=SIZE), dict.fromkeys(PARTS)

    def stats(losses, min_area=4, **pixel):
        segments = dict(min_area=min_area)
        model = make(losses=losses, segments=segments, pixel_consistency=pixel)
        model.loss(data)
        return model.step_outputs['pseudo'], model.filters

    found, filters = stats(none, 10_000)
    assert torch.equal(found.count, found.total)
    assert filters == {}
    found, filters = stats(none, threshold=0.6)
    assert 0 < found.count.sum() < found.total.sum()
    assert filters == {'pixel_consistency.threshold': 0.6}
    both, filters = stats({}, 10_000, threshold=0.6)
    assert torch.equal(both.count, found.count)
    assert filters == {
        'segments.min_area': 10_000,
        'pixel_consistency.threshold': 0.6,
    }
    both, _ = stats({}, 1, threshold=0.6)
    assert torch.equal(both.count, both.total)


def test_the_threshold_of_segments_is_not_that_of_pixels():
    data = streams(size=SIZE)
    expected = make(pixel_consistency={}).loss(data)['loss_pixel']
    model = make(segments=dict(threshold=0.9), pixel_consistency={})
    assert_close(model.loss(data)['loss_pixel'], expected)


def test_only_what_a_loss_reads_is_computed(monkeypatch):
    data, seen = streams(size=SIZE), []

    def watched(losses, **settings):
        seen.clear()
        model = make(losses=losses, mix={}, **settings)
        part = model.region_losses
        matcher, forward = part.matcher.assign, part.forward

        def assign(*args):
            seen.append('match')
            return matcher(*args)

        def losses_of(student, segments, counts, features):
            seen.append('losses')
            if features is not None:
                seen.append('features')
            return forward(student, segments, counts, features)

        monkeypatch.setattr(part.matcher, 'assign', assign)
        monkeypatch.setattr(part, 'forward', losses_of)
        model.loss(data)
        return seen

    none = dict.fromkeys(PARTS)
    assert watched({}) == ['losses', 'match']
    assert watched(dict(aux_layers=True)) == ['losses', 'match']
    assert watched(none | dict(semantic_consistency={})) == ['losses']
    assert watched(none | dict(class_consistency={})) == ['losses', 'match']
    assert watched(none, pixel_consistency={}) == []
    teacher = dict(feature_contrast=dict(target_features='teacher'))
    assert watched(teacher) == ['losses', 'features', 'match']


@MODELS.register_module()
class RegionArea(RegionLoss):
    """A loss of a user's own."""

    def total(self, regions):
        return regions.matched_masks.sum()


@MODELS.register_module()
class WithoutWeight(RegionLoss):
    def __init__(self):
        super().__init__()

    def total(self, regions):
        return regions.mask_logits.sum()


def test_a_loss_of_ones_own_has_the_weight_of_the_preset():
    def weight(beta, **settings):
        losses = dict(feature_contrast=dict(type='RegionArea', **settings), beta=beta)
        return make(losses=losses).region_losses.feature_contrast.weight

    assert [weight(beta) for beta in BETAS] == [4.0, 20.0, 4.0, 4.0]
    assert weight('b', weight=3.0) == 3.0
    losses = dict(matched_consistency=dict(type='RegionArea'))
    assert make(losses=losses).region_losses.matched_consistency.weight == 1.0
    rule = "model.region_losses.mask_contrast has no setting 'weight': WithoutWeight"
    with pytest.raises(ValueError, match=rule):
        make(losses=dict(mask_contrast=dict(type='WithoutWeight')))


def test_the_ramp_up(monkeypatch):
    data = streams(size=SIZE)
    plain = make().loss(data)
    model = make(ramp_up=dict(kind='step', length=10))
    seen = []
    model.teacher.backbone.register_forward_hook(lambda *args: seen.append(1))
    hub = MessageHub.get_current_instance()
    iteration = {'iter': 9}
    monkeypatch.setattr(hub, 'get_info', lambda name, default=None: iteration[name])
    losses = model.loss(data)
    assert not seen
    assert all(key.startswith('sup.') for key in losses)
    assert model.step_outputs == {}
    iteration['iter'] = 10
    for key in UNSUPERVISED:
        assert_close(model.loss(data)[key], plain[key])


@pytest.mark.parametrize(
    'settings',
    [
        dict(alpha=0),
        dict(losses=dict.fromkeys(PARTS)),
        dict(losses={part: dict(weight=0) for part in PARTS}),
        dict(losses=dict.fromkeys(PARTS), pixel_consistency=dict(weight=0)),
    ],
    ids=['alpha', 'none', 'weights', 'pixels'],
)
def test_no_unlabeled_image_is_looked_at_if_nothing_learns_from_it(settings):
    model = make(**settings)
    assert not model.learns_unlabeled
    model.teacher.backbone.register_forward_hook(lambda *args: pytest.fail('teacher'))
    losses = model.loss(streams(size=SIZE))
    assert all(key.startswith('sup.') for key in losses)
    assert make().learns_unlabeled


def test_an_image_of_padding_alone():
    model = make()
    data = streams(size=SIZE, valid=torch.zeros(SIZE, dtype=torch.bool))
    losses = model.loss(data)
    for key in UNSUPERVISED:
        assert losses[key] == 0
    total(losses).backward()
    assert all(p.grad.isfinite().all() for p in model.student.parameters())


@pytest.mark.parametrize('name', MASKS)
def test_bfloat16(name):
    model = make(name)
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.loss(streams(size=SIZE))
    assert all(losses[key].dtype == torch.float32 for key in UNSUPERVISED)
    total(losses).backward()
    assert all(p.grad.isfinite().all() for p in model.student.parameters())


def test_a_plain_checkpoint_fills_student_and_teacher():
    plain = build(mask_student('maskformer', CLASSES), seed=4)
    model = make()
    model.load_state_dict(dict(plain.state_dict()))
    for network in model.networks.values():
        assert differing(plain.state_dict(), network.state_dict()) == []


def test_predicts():
    model = make().eval()
    for name in ('student', 'teacher', 'mean'):
        results = model.predict_as(name, batch(1, size=SIZE).inputs, None)
        assert results[0].pred_sem_seg.shape == SIZE
    assert model.predict_with == 'student'


@pytest.mark.parametrize(
    ('settings', 'rule'),
    [
        (dict(alpha=-1), 'alpha must be a number >= 0'),
        (dict(ramp_up=dict(kind='late', length=1)), 'ramp-up kind must'),
        (dict(beta='a'), 'did you mean region_losses.beta'),
        (dict(segments=dict(min_area=0)), r'model.segments.min_area must be'),
        (dict(segments=dict(type='CutMix')), r'model.segments.type must be in'),
        (
            dict(region_losses=dict(beta='e')),
            r'model.region_losses.beta must be in .* got .e',
        ),
        (
            dict(region_losses=dict(mask_contrast=dict(temperature=0))),
            'model.region_losses.mask_contrast.temperature must be > 0',
        ),
        (
            dict(region_losses=dict(feature_contrast=dict(temperatur=1))),
            "has no setting 'temperatur' .did you mean 'temperature'",
        ),
        (
            dict(region_losses=dict(matcher=dict(class_weight=-1))),
            'model.region_losses.matcher.class_weight must be',
        ),
        (dict(region_losses=dict(reduction='sum')), 'reduction must be in'),
    ],
)
def test_settings(settings, rule):
    student = mask_student('maskformer', CLASSES)
    with pytest.raises(ValueError, match=rule):
        build(dict(type='RC2L', student=student, **settings))


def test_the_student_must_classify_masks():
    with pytest.raises(ValueError, match='MaskFormerHead.* but got FCNHead'):
        build(dict(type='RC2L', student=student_cfg()))


def test_without_compiled_operators():
    """All other methods work, and RC2L says what to install."""
    code = (
        'import sys\n'
        "sys.modules['mmcv._ext'] = None\n"
        'from helpers import batch, build, student_cfg\n'
        'from op_heads import MISSING, mask_student\n'
        'assert MISSING\n'
        "model = build(dict(type='MeanTeacher', student=student_cfg()))\n"
        "for student in (mask_student('maskformer', 3), student_cfg()):\n"
        '    try:\n'
        "        build(dict(type='RC2L', student=student))\n"
        '    except ValueError as error:\n'
        "        print('REFUSED', error)\n"
    )
    child = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        capture_output=True,
        text=True,
        env=dict(PYTHONPATH=str(Path(__file__).parents[2])),
    )
    refused = [line for line in child.stdout.splitlines() if 'REFUSED' in line]
    assert 'mmdet' in refused[0], child.stderr
    assert 'make ops' in refused[0]
    assert 'but got FCNHead' in refused[1]
