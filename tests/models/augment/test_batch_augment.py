"""Decisions, their order and their limits; the geometry: functional/test_augment.py."""

import contextlib
import sys
import warnings

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from no_sync import NoHostSync
from torch.testing import assert_close

from mmsemiseg.functional.augment import color_jitter, gaussian_blur
from mmsemiseg.models import SemiDataPreProcessor
from mmsemiseg.models.augment import (
    BatchAugment,
    BatchColorJitter,
    ImageOp,
    PixelOp,
    build_augment,
)

AUGMENT = 'mmsemiseg.models.augment'
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
PREPROCESSORS = dict(
    rgb=dict(mean=MEAN, std=STD, bgr_to_rgb=True),
    bgr=dict(mean=MEAN[::-1], std=STD[::-1]),
    caffe=dict(mean=[104.008, 116.669, 122.675], std=[255.0] * 3),
    none=dict(),
)
FILLS = dict(label=255, confidence=0.0, valid=False)
COLORS = dict(brightness=0.3, contrast=0.3, saturation=0.15, hue=0.1)
STRONG = [
    dict(type='BatchClassMix', prob=0.8),
    dict(type='BatchScaleCrop', prob=0.8),
    dict(type='BatchFlip', prob=0.5),
    dict(type='BatchColorJitter', prob=0.8, **COLORS),
    dict(type='BatchBlur', prob=0.5),
]


def one(kind, prob=1.0, **settings):
    """Augmentation by one operation."""
    return build_augment([dict(type=f'Batch{kind}', prob=prob, **settings)])


def with_all(ops, **settings):
    """Settings of operations, each with some of them replaced."""
    return [dict(op, **settings) for op in ops]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def preprocessor(kind='rgb'):
    return SemiDataPreProcessor(**PREPROCESSORS[kind])


def raw(n=4, size=(12, 16)):
    """BGR images as files have them, 0 to 255."""
    return torch.randint(0, 256, (n, 3, *size)).float()


def normalised(images, kind='rgb'):
    return torch.stack([preprocessor(kind)._normalise(image) for image in images])


def maps_of(n=4, size=(12, 16), classes=5):
    return dict(
        label=torch.randint(0, classes, (n, *size)),
        confidence=torch.rand(n, *size),
        valid=torch.ones(n, *size, dtype=torch.bool),
    )


def augmented(augment, images, maps, kind='rgb', **settings):
    return augment(images, maps, FILLS, preprocessor=preprocessor(kind), **settings)


def changed(new, old):
    """(N,) bool: the images that are not bit-equal."""
    return (new != old).flatten(1).any(1)


def test_nothing_is_done_by_default():
    images, maps = normalised(raw()), maps_of()
    new, new_maps = augmented(build_augment(None), images, maps)
    assert new.equal(images)
    assert list(new_maps) == list(maps)
    assert all(new_maps[name].equal(maps[name]) for name in maps)


def test_inputs_stay_as_they_are():
    images, maps = normalised(raw(8)), maps_of(8)
    before = images.clone(), {name: value.clone() for name, value in maps.items()}
    for _ in range(5):
        augmented(build_augment(STRONG), images, maps)
    assert images.equal(before[0])
    assert all(value.equal(before[1][name]) for name, value in maps.items())


def test_shapes_and_types_stay():
    images, maps = normalised(raw(8)), maps_of(8)
    new, new_maps = augmented(build_augment(STRONG), images, maps)
    assert (new.shape, new.dtype) == (images.shape, images.dtype)
    for name, value in maps.items():
        assert new_maps[name].shape == value.shape
        assert new_maps[name].dtype == value.dtype


def test_flips_are_exact():
    images, maps = normalised(raw(64)), maps_of(64)
    new, new_maps = augmented(one('Flip', 0.5), images, maps)
    flipped = changed(new, images)
    assert 16 < flipped.sum() < 48
    for value, new_value in [(images, new), *((maps[k], new_maps[k]) for k in maps)]:
        assert new_value[flipped].equal(value[flipped].flip(-1))
        assert new_value[~flipped].equal(value[~flipped])


SINGLE = dict(
    Flip={},
    ScaleCrop={},
    ColorJitter=dict(brightness=0.3),
    Blur=dict(sigma=(0.5, 1.5)),
)


@pytest.mark.parametrize('prob', [0.2, 0.75])
@pytest.mark.parametrize(('kind', 'settings'), SINGLE.items())
def test_each_image_by_its_own_draw(kind, settings, prob):
    images, n = normalised(raw(1000, (4, 6))), 1000
    new, _ = augmented(one(kind, prob, **settings), images, maps_of(n, (4, 6)))
    count = changed(new, images).sum().item()
    assert abs(count - n * prob) < 4 * (n * prob * (1 - prob)) ** 0.5


@pytest.mark.parametrize(('kind', 'settings'), SINGLE.items())
def test_one_draw_of_the_batch(kind, settings):
    augment = one(kind, 0.5, per='batch', **settings)
    image = normalised(raw(1)).repeat(6, 1, 1, 1)
    maps = {key: value[:1].repeat(6, 1, 1) for key, value in maps_of().items()}
    counts = []
    for _ in range(40):
        new, new_maps = augmented(augment, image, maps)
        counts.append(changed(new, image).sum().item())
        if kind in ('Flip', 'ScaleCrop'):  # one scale, one place
            assert new.equal(new[:1].expand_as(new))
            assert all(v.equal(v[:1].expand_as(v)) for v in new_maps.values())
        elif counts[-1]:  # each image has its own strength
            assert len({tuple(one.flatten().tolist()) for one in new}) == 6
    assert set(counts) == {0, 6}
    assert 8 < counts.count(6) < 32


def test_scales_and_places_fill_their_range():
    images, maps = torch.ones(4000, 3, 16, 16), maps_of(4000, (16, 16))
    augment = one('ScaleCrop', scale=(0.5, 1.5))
    valid = augmented(augment, images, maps)[1]['valid']
    padded = (~valid).flatten(1).any(1)
    # half of the scales are below 1, nearly half leave at least one row
    assert 0.42 < padded.float().mean() < 0.52
    rows = valid[padded].any(2)
    assert rows.sum(1).min() == 8
    top = rows.int().argmax(1)
    bottom = 16 - top - rows.sum(1)
    assert top.max() == bottom.max() == 8
    assert abs(top.float().mean() - bottom.float().mean()) < 0.3


def test_labels_follow_the_image():
    size, n = (48, 64), 40
    blocks = torch.randint(0, 6, (n, 6, 8)).float()[:, None]
    label = F.interpolate(blocks, size=size)[:, 0]
    images = label[:, None].repeat(1, 3, 1, 1)  # the image shows the label
    maps = dict(
        label=label.long(), confidence=label / 10, valid=torch.rand(n, *size) < 0.9
    )
    augment = build_augment(with_all(STRONG[:3], prob=0.6))
    new, maps = augmented(augment, images, maps)
    padding = maps['label'] == 255
    assert padding.flatten(1).any(1).sum() > 5
    assert new[:, 0][padding].eq(0).all()
    assert not maps['valid'][padding].any()
    assert maps['confidence'].equal(
        (maps['label'].float() / 10).masked_fill(padding, 0.0)
    )
    # inside of the areas of one label, image and label agree
    label = maps['label'].float()
    inner = F.max_pool2d(label, 5, stride=1).eq(-F.max_pool2d(-label, 5, stride=1))
    inner = F.pad(inner, (2, 2, 2, 2)) & ~padding
    assert inner.float().mean() > 0.2
    assert_close(new[:, 0][inner], label[inner], rtol=0, atol=1e-4)


def test_classmix_pastes_whole_classes_of_another_image():
    n, size = 4, (12, 16)
    label = torch.randint(0, 6, (n, *size))
    label[:, 0] = 255
    label += (label < 255) * 10 * torch.arange(n)[:, None, None]  # whose class
    images = label[:, None].repeat(1, 3, 1, 1).float()
    maps = dict(
        label=label, confidence=label / 300, valid=label.ne(255), who=label // 10
    )
    new, mixed = one('ClassMix')(images, maps, dict(FILLS, who=0), preprocessor=None)
    for i in range(n):
        pasted = mixed['label'][i] != label[i]
        donors = mixed['who'][i][pasted].unique().tolist()
        assert len(donors) == 1
        assert donors != [i]
        donor = label[donors[0]]
        chosen = donor[pasted].unique()
        assert len(chosen) == 6 // 2 + 1
        assert pasted.equal(torch.isin(donor, chosen))
        expected = torch.where(pasted, donor, label[i])
        assert mixed['label'][i].equal(expected)
        assert new[i].equal(expected.expand(3, *size).float())
        assert mixed['confidence'][i].equal(expected / 300)
        assert mixed['valid'][i].equal(expected != 255)


def test_classmix_of_some_images():
    images, maps = torch.rand(200, 3, 4, 6), maps_of(200, (4, 6))
    augment = one('ClassMix', 0.25, extra=0)
    new, mixed = augmented(augment, images, maps)
    count = changed(new, images).sum().item()
    assert 30 < count < 70
    alone = ~changed(new, images)
    assert mixed['confidence'][alone].equal(maps['confidence'][alone])
    whole = one('ClassMix', 0.5, per='batch')
    counts = [
        changed(augmented(whole, images, maps)[0], images).sum().item()
        for _ in range(20)
    ]
    assert set(counts) == {0, 200}


def test_mixing_can_be_left_out_of_a_call():
    images, maps = torch.rand(4, 3, 4, 6), maps_of(4, (4, 6))
    augment = one('ClassMix')
    assert augmented(augment, images, maps, mixing=False)[0].equal(images)
    assert changed(augmented(augment, images, maps)[0], images).all()


def test_classmix_skips_the_background_where_there_is_more():
    label = torch.zeros(3, 4, 6, dtype=torch.int64)
    label[1, :, 3:] = 5
    label[2, :2] = 255  # nothing else but background
    images = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 3, 4, 6)
    maps = dict(label=label)
    augment = one('ClassMix', skip=0)
    for _ in range(20):
        new, mixed = augment(images, maps, FILLS, preprocessor=None)
        for i in range(3):
            pasted = new[i, 0] != i
            (donor,) = new[i, 0][pasted].unique().long().tolist()
            # 0: its background, it has no more; 1: class 5; 2: what has a label
            expected = {0: label[0] == 0, 1: label[1] == 5, 2: label[2] == 0}
            assert pasted.equal(expected[donor])
            assert mixed['label'][i][pasted].eq(5 if donor == 1 else 0).all()


def test_classmix_never_pastes_the_ignored_label_whatever_it_is():
    label = torch.full((2, 4, 6), 9)
    label[:, :, 3:] = 5
    images = torch.arange(2.0).view(2, 1, 1, 1).expand(2, 3, 4, 6)
    augment = one('ClassMix')
    settings = dict(preprocessor=None, ignore_index=9)
    new, _ = augment(images, dict(label=label), FILLS, **settings)
    for i in range(2):
        assert new[i, 0].ne(i).equal(label[i] == 5)


def test_one_image_is_not_mixed_and_warned_of_once():
    images, maps = torch.rand(1, 3, 4, 6), maps_of(1, (4, 6))
    augment = one('ClassMix')
    with pytest.warns(UserWarning, match='BatchClassMix has no effect'):
        new, _ = augmented(augment, images, maps)
    assert new.equal(images)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        augmented(augment, images, maps)


@pytest.mark.parametrize('kind', PREPROCESSORS)
def test_colors_are_of_the_file_not_of_the_normalised(kind, monkeypatch):
    files = raw(5)
    seen = []

    def jitter(images, changes):
        seen.append((images, changes))
        return color_jitter(images, changes)

    monkeypatch.setattr(f'{AUGMENT}.color_jitter.color_jitter', jitter)
    settings = dict(brightness=0.3, contrast=0.2, saturation=0.5, hue=0.1)
    new, _ = augmented(
        one('ColorJitter', **settings),
        normalised(files, kind),
        maps_of(5),
        kind,
    )
    ((images, changes),) = seen
    assert_close(images, files.flip(1) / 255, rtol=0, atol=1e-5)
    for name, change in changes.items():
        assert change.shape == (5,)
        assert 0 < change.abs().max() <= settings[name]
    shares = {(change / settings[name])[0].item() for name, change in changes.items()}
    assert len(shares) == 4
    back = (color_jitter(files.flip(1) / 255, changes) * 255).flip(1)
    assert_close(new, normalised(back, kind), rtol=1e-4, atol=1e-3)
    assert changed(new, normalised(files, kind)).all()


def test_the_order_of_the_colors_varies(monkeypatch):
    orders = set()

    def jitter(images, changes):
        orders.add(tuple(changes))
        return images

    monkeypatch.setattr(f'{AUGMENT}.color_jitter.color_jitter', jitter)
    augment = one('ColorJitter', brightness=0.1, contrast=0.1, hue=0.1)
    for _ in range(60):
        augmented(augment, normalised(raw(2)), maps_of(2))
    assert len(orders) == 6
    assert all(len(order) == 3 for order in orders)  # no saturation of 0


def test_strengths_cover_their_range():
    drawn = []

    class Recorded(BatchColorJitter):
        def change(self, images, context):
            new = super().change(images, context)
            drawn.append((new - images).flatten(1).mean(1))
            return new

    augment = BatchAugment([Recorded(prob=1.0, brightness=0.2)])
    images = torch.full((2000, 3, 2, 2), 127.5)
    augmented(augment, images, maps_of(2000, (2, 2)), 'none')
    added = drawn[0] / 255
    assert -0.2 <= added.min() < -0.19
    assert 0.19 < added.max() <= 0.2
    assert abs(added.mean()) < 0.02


@pytest.mark.parametrize('size', [(40, 50), (5, 7)])
def test_blur_is_gaussian(size, monkeypatch):
    seen = []

    def blur(images, sigmas, kernel):
        seen.append(sigmas)
        return gaussian_blur(images, sigmas, kernel)

    monkeypatch.setattr(f'{AUGMENT}.blur.gaussian_blur', blur)
    images = normalised(raw(50, size))
    new, _ = augmented(one('Blur'), images, maps_of(50, size))
    (sigmas,) = seen
    assert sigmas[0].equal(sigmas[1])
    assert 0.1 <= sigmas.min() < 0.2
    assert 1.4 < sigmas.max() <= 1.5
    assert_close(new, gaussian_blur(images, sigmas, 23))


def test_blur_by_axis():
    image = torch.zeros(2, 3, 31, 31)
    image[:, :, 15, 15] = 1
    augment = one('Blur', axis_sigmas=(0.1, 1.5))
    new, _ = augmented(augment, image, maps_of(2, (31, 31)))
    assert new[:, :, [14, 16]].abs().max() < 1e-6  # 0.1 is no blur, by rows
    assert_close(
        new[0, 0, 15, 16] / new[0, 0, 15, 15], torch.tensor(-0.5 / 1.5**2).exp()
    )


def test_padding_keeps_its_value_in_colors_and_blur():
    images, maps = normalised(raw(6)), maps_of(6)
    maps['valid'][:, :, 10:] = False
    images[:, :, :, 10:] = 0
    colors = [
        dict(type='BatchColorJitter', prob=1.0, brightness=0.3, hue=0.2),
        dict(type='BatchBlur', prob=1.0),
    ]
    new, new_maps = augmented(build_augment(colors), images, maps)
    assert new[..., 10:].eq(0).all()
    assert new[..., :10].ne(images[..., :10]).float().mean() > 0.9
    assert new_maps['valid'].equal(maps['valid'])
    # and what the scale padded, with and without a map of it
    smaller = dict(type='BatchScaleCrop', prob=1.0, scale=(0.5, 0.6))
    both = build_augment([smaller, *colors])
    new, new_maps = augmented(both, images, maps)
    outside = ~new_maps['valid'] | (new_maps['label'] == 255)
    assert new_maps['label'].eq(255).float().mean() > 0.5
    assert new[:, 0][outside].abs().max() < 3  # blend of image and 0 at the edge
    assert new[:, 0][new_maps['label'] == 255].eq(0).all()
    new, new_maps = both(
        images, dict(label=maps['label']), dict(label=255), preprocessor=preprocessor()
    )
    assert list(new_maps) == ['label']
    assert new[:, 0][new_maps['label'] == 255].eq(0).all()


def test_a_seed_says_it_all():
    images, maps = normalised(raw(8)), maps_of(8)
    augment = build_augment(STRONG)
    torch.manual_seed(3)
    first = augmented(augment, images, maps)
    state = torch.get_rng_state()
    second = augmented(augment, images, maps)
    assert not first[0].equal(second[0])
    torch.set_rng_state(state)
    again = augmented(build_augment(STRONG), images, maps)
    assert again[0].equal(second[0])
    assert all(value.equal(second[1][name]) for name, value in again[1].items())


def test_autocast_and_gradients_are_off():
    images, maps = normalised(raw(8)).requires_grad_(), maps_of(8)
    augment = build_augment(STRONG)
    torch.manual_seed(1)
    expected = augmented(augment, images, maps)[0]
    torch.manual_seed(1)
    with torch.autocast('cpu', torch.bfloat16):
        new = augmented(augment, images, maps)[0]
    assert new.dtype == torch.float32
    assert new.equal(expected)
    assert not new.requires_grad


class NoWaitForMeta(NoHostSync):
    """Host data may be read; nothing from the meta device, no copy to it may block."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        self.ops.append(name)
        on_device = [arg for arg in args if getattr(arg, 'is_meta', False)]
        if name in ('_to_copy', 'copy_') and not kwargs.get('non_blocking', False):
            targets = {str(kwargs.get('device')), *(str(a.device) for a in on_device)}
            sources = [a for a in args if getattr(a, 'is_cpu', False)]
            assert not (sources and 'meta' in targets), f'{name} blocks'
        if on_device:
            return super().__torch_dispatch__(func, types, args, kwargs)
        return func(*args, **kwargs)


@pytest.mark.parametrize('settings', [{}, dict(per='batch')])
def test_nothing_waits_for_the_device(settings, monkeypatch):
    # meta tensors have no values: an item(), a bool() of one is an error
    monkeypatch.setattr(torch, 'autocast', lambda *a, **k: contextlib.nullcontext())
    images = normalised(raw(6)).to('meta')
    maps = {name: value.to('meta') for name, value in maps_of(6).items()}
    pre = preprocessor().to('meta')
    mix, *others = with_all(STRONG, prob=1.0, **settings)
    every = [dict(mix, skip=0), mix, *others]
    with NoWaitForMeta() as seen:
        new, _ = build_augment(every)(images, maps, FILLS, preprocessor=pre)
    assert new.is_meta
    assert {'grid_sampler_2d', 'flip', 'argsort', 'convolution'} <= {
        *seen.ops,
        'argsort',
    }


def test_a_wait_for_the_device_would_be_seen():
    with pytest.raises(AssertionError, match='blocks'), NoWaitForMeta():
        torch.rand(3).to('meta')
    x = torch.rand(3, device='meta')
    for waiting in (lambda: x.sum().item(), lambda: x[x > 0], lambda: x.nonzero()):
        with pytest.raises((AssertionError, RuntimeError)), NoWaitForMeta():
            waiting()


@pytest.mark.parametrize(
    ('kind', 'settings', 'message'),
    [
        ('Flip', dict(prob=1.5), r'prob must be in \[0, 1\], but got 1.5'),
        ('ClassMix', dict(prob=-0.1), r'prob must be in \[0, 1\], but got -0.1'),
        ('ClassMix', dict(extra=2), r'extra must be in \(0, 1\), but got 2'),
        ('ColorJitter', dict(hue=0.6), r'hue must be in \[0, 0.5\], but got 0.6'),
        ('ColorJitter', dict(brightness=2), r'brightness must be .* got 2'),
        ('ColorJitter', {}, 'prob above 0 needs one of'),
        ('ScaleCrop', dict(scale=(1.5, 0.5)), r'scale must .* \(1.5, 0.5\)'),
        ('ScaleCrop', dict(scale=(0, 1)), r'scale must .* \(0, 1\)'),
        ('Blur', dict(sigma=(0.0, 1.0)), r'sigma must .* \(0.0, 1.0\)'),
        ('Blur', dict(axis_sigmas=(1.0,)), r'axis_sigmas must .* \(1.0,\)'),
        ('Blur', dict(axis_sigmas=(1.0, 0)), r'axis_sigmas must .* \(1.0, 0\)'),
        ('Blur', dict(kernel=22), 'kernel must be odd and > 0, but got 22'),
        ('Flip', dict(per='pixel'), r"per must be in .*, but got 'pixel'"),
    ],
)
def test_bad_settings_are_named(kind, settings, message):
    ops = [STRONG[0], dict(dict(type=f'Batch{kind}', prob=0.5), **settings)]
    with pytest.raises(ValueError, match=rf'^model.my_augment\[1\]\.{message}'):
        build_augment(ops, 'model.my_augment')


@pytest.mark.parametrize(
    ('ops', 'message'),
    [
        (dict(flip_prob=0.5), r"^augment must be a list .* got {'flip_prob': 0.5}"),
        ('BatchFlip', r"^augment must be a list .* got 'BatchFlip'"),
        ([None], r'^augment\[0\] must be dict'),
        ([dict(type='BatchFlp', prob=1)], r"^augment\[0\].type .* mean 'BatchFlip'"),
        ([dict(type='CutMix', prob=1)], r'^augment\[0\].type must be in'),
        ([dict(type='BatchFlip')], r"^augment\[0\] must have the setting 'prob'"),
        ([dict(type='BatchFlip', p=1)], r"^augment\[0\] has no setting 'p'"),
    ],
)
def test_bad_lists_are_named(ops, message):
    with pytest.raises(ValueError, match=message):
        build_augment(ops)


def test_images_of_one_band_have_no_colours():
    jitter = dict(type='BatchColorJitter', prob=0.5, brightness=0.1)
    with pytest.raises(ValueError, match=r'^augment\[1\].prob=0.5 .* 1 band'):
        build_augment([STRONG[0], jitter], bands=1)
    build_augment([STRONG[0], dict(jitter, prob=0.0)], bands=1)


@pytest.fixture
def registered():
    """Registers classes for the time of a test."""
    names = []

    def register(kind):
        MODELS.register_module(module=kind)
        names.append(kind.__name__)

    yield register
    for name in names:
        MODELS.module_dict.pop(name)


def test_operations_of_ones_own(registered):
    class Erase(ImageOp):
        """Blanks the first rows, whose labels count no more."""

        def __init__(self, prob, rows, per='image'):
            super().__init__(prob, per)
            self.rows = rows

        def apply(self, images, maps, context):
            maps = {name: value.clone() for name, value in maps.items()}
            maps['label'][:, : self.rows] = context.ignore_index
            images = images.clone()
            images[:, :, : self.rows] = 0
            return images, maps

    class Invert(PixelOp):
        def change(self, images, context):
            return -images

    registered(Erase)
    registered(Invert)
    images, maps = normalised(raw(64)), maps_of(64)
    maps['valid'][:, 10:] = False
    augment = build_augment(
        [dict(type='Erase', prob=0.5, rows=3), dict(type='Invert', prob=1.0)]
    )
    new, new_maps = augmented(augment, images, maps)
    erased = new_maps['label'].ne(maps['label']).flatten(1).any(1)
    assert 16 < erased.sum() < 48
    assert new[erased][:, :, :3].eq(0).all()
    assert new_maps['label'][erased][:, :3].eq(255).all()
    assert new[:, :, 3:10].equal(-images[:, :, 3:10])
    assert new[:, :, 10:].equal(images[:, :, 10:])
    with pytest.raises(ValueError, match=r"^augment\[0\] must have .* 'rows'"):
        build_augment([dict(type='Erase', prob=1.0)])


def test_the_order_is_that_of_the_list():
    images, maps = normalised(raw(2)), maps_of(2)
    maps['valid'][:, :, 8:] = False
    scale = dict(type='BatchScaleCrop', prob=1.0, scale=(1.5, 1.5), per='batch')
    flip = dict(type='BatchFlip', prob=1.0)
    found = []
    for ops in ([scale, flip], [flip, scale]):
        torch.manual_seed(2)
        found.append(augmented(build_augment(ops), images, maps)[0])
    assert not found[0].equal(found[1])


def test_bad_maps_are_named():
    images = torch.rand(2, 3, 4, 6)
    with pytest.raises(ValueError, match=r"map 'label' must .*\(2, 4, 6\).*\(2, 2\)"):
        augmented(build_augment(()), images, dict(label=torch.zeros(2, 2)))
    with pytest.raises(ValueError, match="value for the map 'coords'"):
        augmented(build_augment(()), images, dict(coords=torch.zeros(2, 4, 6)))


@pytest.mark.parametrize(
    ('kind', 'settings'), [('ColorJitter', dict(hue=0.1)), ('Blur', {})]
)
def test_what_needs_kornia_says_so(kind, settings, monkeypatch):
    for name in [name for name in sys.modules if name.split('.')[0] == 'kornia']:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=f'Batch{kind} needs kornia, .* pip install'):
        one(kind, **settings)
    one(kind, prob=0.0, **settings)
    build_augment(STRONG[:3])


@pytest.mark.parametrize('prob', [0.5, 1.0])
def test_images_keep_their_layout(prob):
    pytest.importorskip('kornia')
    augment = build_augment(with_all(STRONG, prob=prob))
    images, maps = normalised(raw()), maps_of()
    for layout in (torch.channels_last, torch.contiguous_format):
        given = images.contiguous(memory_format=layout)
        found, _ = augment(given, maps, FILLS, preprocessor=preprocessor())
        assert not found.equal(given)
        assert found.is_contiguous(memory_format=layout)
