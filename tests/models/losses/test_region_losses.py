"""The losses of RC²L: published vectors, loops, gradients, empty sets."""

import dataclasses

import pytest
import rc2l_reference as reference
import torch
from torch.testing import assert_close

from mmsemiseg.functional import Regions, Segments
from mmsemiseg.models.losses import (
    MatchedMaskConsistencyLoss,
    RegionClassConsistencyLoss,
    RegionFeatureContrastLoss,
    RegionMaskContrastLoss,
    SemanticMaskConsistencyLoss,
)

LOSSES = {
    'rmc': (RegionMaskContrastLoss, reference.rmc),
    'rfc': (RegionFeatureContrastLoss, reference.rfc),
    'rcc': (RegionClassConsistencyLoss, reference.rcc),
    'smc': (SemanticMaskConsistencyLoss, reference.smc),
    'matched': (MatchedMaskConsistencyLoss, reference.matched_masks),
}
VARIANTS = [
    ('rmc', {}),
    ('rmc', dict(include_positive=True)),
    ('rmc', dict(temperature=0.1)),
    ('rmc', dict(similarity='iou2')),
    ('rfc', {}),
    ('rfc', dict(include_positive=True, temperature=0.2)),
    ('rfc', dict(target_features='teacher')),
    ('rcc', {}),
    ('rcc', dict(no_object_weight=0.1)),
    ('smc', {}),
    ('smc', dict(focal_weight=0.0)),
    ('matched', {}),
    ('matched', dict(dice_weight=0.0)),
]


def example(segments=(0, 1, 2), query=(1, 0, 3)):
    """Six pixels, four queries, three segments of one image."""
    masks = torch.tensor(
        [
            [0.1, 0.2, 0.7, 0.9, 0.1, 0.2],
            [0.9, 0.8, 0.1, 0.1, 0.2, 0.1],
            [0.3] * 6,
            [0.2, 0.1, 0.3, 0.2, 0.8, 0.6],
        ]
    )
    targets = torch.eye(3, dtype=torch.bool).repeat_interleave(2, 1)[list(segments)]
    classes = torch.tensor(
        [
            [0.1, 0.7, 0.1, 0.1],
            [0.6, 0.2, 0.1, 0.1],
            [0.1, 0.1, 0.1, 0.7],
            [0.1, 0.5, 0.3, 0.1],
        ]
    )
    features = torch.tensor(
        [[1, 0.8, -0.2, 0.1, 0.3, -0.5], [0.2, 0.1, 0.9, 1.1, -0.7, -0.9]]
    )
    return Regions(
        class_logits=classes.log()[None],
        mask_logits=masks.logit().view(1, 4, 2, 3),
        segments=Segments(
            targets.view(1, -1, 2, 3),
            torch.tensor([list(segments)]),
            torch.ones(1, len(segments), dtype=torch.bool),
        ),
        query=torch.tensor([list(query)]),
        valid=torch.ones(1, 2, 3, dtype=torch.bool),
        features=features.view(1, 2, 2, 3),
    )


@pytest.mark.parametrize(
    ('name', 'settings', 'expected'),
    [
        ('rmc', {}, -1.481817),
        ('rmc', dict(include_positive=True), 1.433912),
        ('rmc', dict(temperature=0.1), -15.541733),
        ('rmc', dict(similarity='iou2'), -4.102016),
        ('rfc', {}, -4.705903),
        ('rfc', dict(include_positive=True), 0.626543),
        ('rcc', {}, 2.071473),
        ('smc', dict(focal_weight=1.0, dice_weight=0.0), 0.175528),
        ('smc', dict(focal_weight=0.0), 0.497596),
        ('smc', {}, 4.008148),
    ],
)
def test_vectors(name, settings, expected):
    loss = LOSSES[name][0](weight=1.0, **settings)
    found = loss(example(), divisor=1)
    assert_close(found, torch.tensor(expected), rtol=0, atol=2e-6)
    assert_close(loss(example()), found / 3)


def test_two_segments_of_the_vector():
    loss = RegionMaskContrastLoss(weight=3.0)
    found = loss(example((0, 1), (1, 0)), divisor=1)
    assert_close(found, torch.tensor(-3 * 2.666667), rtol=0, atol=1e-5)


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize(('name', 'settings'), VARIANTS)
def test_loops(name, settings, seed):
    regions = reference.random_regions(seed)
    kind, slow = LOSSES[name]
    found = kind(weight=1.0, **settings)(regions, divisor=1)
    assert found.dtype == torch.float64
    assert_close(found.item(), float(slow(regions, **settings)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(('name', 'settings'), VARIANTS)
def test_the_order_of_the_queries_does_not_matter(name, settings):
    regions = reference.random_regions(2)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(5))
    places = torch.argsort(order)
    shuffled = dataclasses.replace(
        regions,
        class_logits=regions.class_logits[:, order],
        mask_logits=regions.mask_logits[:, order],
        query=torch.where(regions.query < 0, -1, places[regions.query]),
    )
    loss = LOSSES[name][0](**settings)
    assert_close(loss(shuffled), loss(regions))


@pytest.mark.parametrize(('name', 'settings'), VARIANTS)
def test_an_image_alone_and_in_a_batch(name, settings):
    regions = reference.random_regions(4)
    loss = LOSSES[name][0](**settings)

    def alone(i):
        segments = Segments(*(x[i : i + 1] for x in regions.segments))
        rest = {
            field: getattr(regions, field)[i : i + 1]
            for field in regions.__dataclass_fields__
            if field != 'segments'
        }
        return loss(Regions(segments=segments, **rest), divisor=1)

    assert_close(sum(alone(i) for i in range(3)), loss(regions, divisor=1))


def leaves(regions):
    """The regions with all their inputs as leaves that need gradients."""
    names = ('class_logits', 'mask_logits', 'features', 'target_features')
    found = {
        name: getattr(regions, name).detach().clone().requires_grad_()
        for name in names
        if getattr(regions, name) is not None
    }
    return dataclasses.replace(regions, **found), found


REACHES = {
    'rmc': {'mask_logits'},
    'rfc': {'mask_logits', 'features'},
    'rcc': {'class_logits'},
    'smc': {'mask_logits'},
    'matched': {'mask_logits'},
}


@pytest.mark.parametrize(('name', 'settings'), VARIANTS)
def test_where_gradients_go(name, settings):
    regions, found = leaves(reference.random_regions(3))
    LOSSES[name][0](**settings)(regions).backward()
    reached = {k for k, x in found.items() if x.grad is not None and x.grad.any()}
    assert reached == REACHES[name]
    outside = ~regions.valid[:, None].expand_as(regions.mask_logits)
    if 'mask_logits' in reached:
        assert regions.mask_logits.grad[outside].eq(0).all()
    if name in ('rmc', 'rfc', 'matched', 'rcc') and not settings.get(
        'no_object_weight'
    ):
        key = 'class_logits' if name == 'rcc' else 'mask_logits'
        for i in range(3):
            queries = {q for _, q in reference.matches(regions, i)}
            for q in set(range(6)) - queries:
                assert found[key].grad[i, q].eq(0).all()


def test_target_features_with_a_gradient():
    regions, found = leaves(reference.random_regions(3))
    RegionFeatureContrastLoss()(regions).backward()
    kept = found['features'].grad.clone()
    regions, found = leaves(regions)
    RegionFeatureContrastLoss(detach_target=False)(regions).backward()
    assert not torch.allclose(found['features'].grad, kept)


def test_the_gradient_of_a_union_goes_to_its_maximum():
    regions, found = leaves(example())
    SemanticMaskConsistencyLoss()(regions).backward()
    reached = found['mask_logits'].grad[0].flatten(1) != 0
    assert reached[1].all()  # alone in class 0
    masks = regions.mask_logits[0].flatten(1)
    assert torch.equal(reached[0], masks[0] > masks[3])  # both are class 1
    assert torch.equal(reached[3], masks[3] > masks[0])
    assert not reached[2].any()


@pytest.mark.parametrize(
    ('loss', 'settings', 'name'),
    [(*one, name) for one in VARIANTS for name in sorted(REACHES[one[0]])],
)
def test_gradcheck(loss, settings, name):
    regions = reference.random_regions(1, n=2, queries=5, size=(2, 3))
    module = LOSSES[loss][0](**settings)
    if loss == 'rfc':
        module.detach_target = False

    def value(x):
        return module(dataclasses.replace(regions, **{name: x}))

    leaf = getattr(regions, name).clone().requires_grad_()
    torch.autograd.gradcheck(value, leaf)


def without_segments(regions):
    number = regions.query.shape[1]
    segments = regions.segments
    empty = Segments(
        torch.zeros_like(segments.masks),
        torch.zeros_like(segments.label),
        torch.zeros_like(segments.exists),
    )
    return dataclasses.replace(
        regions, segments=empty, query=torch.full((len(regions.valid), number), -1)
    )


@pytest.mark.parametrize(('name', 'settings'), VARIANTS)
@pytest.mark.parametrize('kind', ['padded', 'none', 'ignored'])
def test_without_segments(name, settings, kind):
    regions = without_segments(reference.random_regions(1))
    if kind == 'none':
        segments = Segments(*(x[:, :0] for x in regions.segments))
        regions = dataclasses.replace(
            regions, segments=segments, query=regions.query[:, :0]
        )
    if kind == 'ignored':
        regions.valid[:] = False
    regions, found = leaves(regions)
    loss = LOSSES[name][0](**settings)(regions)
    if settings.get('no_object_weight') and kind != 'ignored':
        assert loss > 0
        return
    assert loss == 0
    loss.backward()
    for key in REACHES[name]:
        assert found[key].grad is not None
        assert found[key].grad.eq(0).all()


@pytest.mark.parametrize('name', ['rmc', 'rfc'])
def test_one_segment_has_no_contrast(name):
    loss = LOSSES[name][0]()
    regions, found = leaves(example((1,), (0,)))
    value = loss(regions)
    value.backward()
    assert value == 0
    assert found['mask_logits'].grad.eq(0).all()
    assert loss(example((0, 1), (1, -1))) == 0


def test_features_that_are_zero_are_left_out():
    regions = example()
    features = regions.features.clone()
    features[..., 1, 1:] = 0  # the pixels of the third segment
    cut = dataclasses.replace(regions, features=features)
    two = dataclasses.replace(example((0, 1), (1, 0)), features=features)
    loss = RegionFeatureContrastLoss()
    assert loss(cut, divisor=1) != 0
    assert_close(loss(cut, divisor=1), loss(two, divisor=1))


@pytest.mark.parametrize(('name', 'settings'), VARIANTS)
def test_half_precision(name, settings):
    regions = reference.random_regions(0)
    single = {
        key: getattr(regions, key).bfloat16()
        for key in ('class_logits', 'mask_logits', 'features', 'target_features')
    }
    loss = LOSSES[name][0](**settings)
    half = dataclasses.replace(regions, **single)
    with torch.autocast('cpu', torch.bfloat16):
        found = loss(half)
    assert found.dtype == torch.float32
    whole = {key: value.float() for key, value in single.items()}
    assert_close(found, loss(dataclasses.replace(regions, **whole)))


@pytest.mark.parametrize(
    ('kind', 'settings', 'rule'),
    [
        (RegionMaskContrastLoss, dict(temperature=0), 'temperature must be > 0'),
        (RegionMaskContrastLoss, dict(similarity='iou'), 'similarity must be in'),
        (RegionFeatureContrastLoss, dict(temperature=-1), 'temperature must be > 0'),
        (RegionFeatureContrastLoss, dict(target_features='ema'), 'target_features'),
        (RegionClassConsistencyLoss, dict(weight=-1), 'weight must be'),
        (RegionClassConsistencyLoss, dict(no_object_weight=-1), 'no_object_weight'),
        (SemanticMaskConsistencyLoss, dict(focal_weight=-1), 'focal_weight must be'),
        (MatchedMaskConsistencyLoss, dict(dice_weight=-1), 'dice_weight must be'),
    ],
)
def test_settings(kind, settings, rule):
    with pytest.raises(ValueError, match=rule):
        kind(**settings)


@pytest.mark.parametrize(('name', 'settings'), VARIANTS)
def test_what_a_loss_says_that_it_does_not_read(name, settings):
    regions = reference.random_regions(3)
    loss = LOSSES[name][0](**settings)
    left_out = {}
    if not loss.reads_match:
        left_out['query'] = None
    if not loss.reads_target_features:
        left_out['target_features'] = None
    found = loss(dataclasses.replace(regions, **left_out))
    assert torch.equal(found, loss(regions))
    assert loss.reads_match == (name != 'smc')
    teacher = settings.get('target_features') == 'teacher'
    assert loss.reads_target_features == teacher
