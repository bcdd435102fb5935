"""Colours and blur against references, and what the settings promise."""

import colorsys

import cv2
import numpy as np
import pytest
from mmseg.registry import TRANSFORMS
from mmseg.utils import register_all_modules
from PIL import Image, ImageEnhance

from mmsemiseg.datasets.stream_dataset import sample_rng
from mmsemiseg.datasets.transforms import ColorJitter, GaussianBlur

register_all_modules()
STRONG = dict(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
GREY = dict(
    type='RandomGrayscale', keep_channels=True, channel_weights=(0.114, 0.587, 0.299)
)


@pytest.fixture
def image():
    """BGR, smooth enough to be an image, with all values from 0 to 255."""
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.random((6, 7, 3)), (35, 28), interpolation=cv2.INTER_CUBIC)
    image = (image - image.min()) / (image.max() - image.min())
    return (255 * image).round().astype(np.uint8)


def apply(transform, image, seed=0):
    with sample_rng(seed):
        return transform(dict(img=image.copy()))['img']


class Fixed(ColorJitter):
    """One adjustment with a known factor, through ``transform`` itself."""

    def __init__(self, name, value, monkeypatch):
        super().__init__(**{name: 0.5}, prob=1)
        monkeypatch.setattr(np.random, 'uniform', lambda low, high: value)


ENHANCE = dict(
    brightness=ImageEnhance.Brightness,
    contrast=ImageEnhance.Contrast,
    saturation=ImageEnhance.Color,
)


@pytest.mark.parametrize('factor', [0.0, 0.6, 1.0, 1.4])
@pytest.mark.parametrize('name', ENHANCE)
def test_factors_are_those_of_pillow(image, name, factor, monkeypatch):
    out = Fixed(name, factor, monkeypatch)(dict(img=image.copy()))['img']
    rgb = Image.fromarray(image[..., ::-1].copy())
    expected = np.asarray(ENHANCE[name](rgb).enhance(factor))[..., ::-1]
    # Pillow cuts off what we round, and rounds its grey values as well
    assert abs(out.astype(int) - expected).max() <= 2
    assert factor == 1 or abs(out.astype(int) - image).max() > 20


@pytest.mark.parametrize('turn', [-0.5, -0.1, 0.0, 0.07, 0.1, 0.4])
def test_hue_turns_the_colour_circle(image, turn, monkeypatch):
    out = Fixed('hue', turn, monkeypatch)(dict(img=image.copy()))['img']
    expected = np.empty_like(image, dtype=float)
    for place in np.ndindex(image.shape[:2]):
        hue, *rest = colorsys.rgb_to_hsv(*image[place][::-1] / 255)
        rgb = colorsys.hsv_to_rgb((hue + turn) % 1, *rest)
        expected[place] = 255 * np.array(rgb[::-1])
    # hue in steps of 1 / 256 of the circle: up to 6 of 255
    assert abs(out - expected).max() <= 9
    assert abs(out - expected).mean() <= 2


@pytest.mark.parametrize(
    ('settings', 'low', 'high'),
    [
        (dict(brightness=0.4), 0.6, 1.4),
        (dict(contrast=0.3), 0.7, 1.3),
        (dict(saturation=2.0), 0.0, 3.0),
        (dict(hue=0.1), -0.1, 0.1),
    ],
)
def test_ranges(image, settings, low, high, monkeypatch):
    asked = []
    monkeypatch.setattr(np.random, 'uniform', lambda *a: asked.append(a) or 0.5)
    ColorJitter(**settings, prob=1)(dict(img=image))
    assert asked == [pytest.approx((low, high))]


def test_type_and_shape_stay(image):
    blur, jitter = GaussianBlur(prob=1), ColorJitter(**STRONG, prob=1)
    for seed in range(20):
        for transform in (blur, jitter):
            out = apply(transform, image, seed)
            assert out.dtype == np.uint8 and out.shape == image.shape


def test_values_saturate(monkeypatch):
    bright = np.full((4, 4, 3), 250, np.uint8)
    out = Fixed('brightness', 1.4, monkeypatch)(dict(img=bright))['img']
    assert (out == 255).all()
    dark = np.zeros((4, 4, 3), np.uint8)
    dark[:2] = 250
    out = Fixed('contrast', 1.4, monkeypatch)(dict(img=dark))['img']
    assert (out[:2] == 255).all() and (out[2:] == 0).all()


@pytest.mark.parametrize('seed', range(5))
def test_grey_stays_grey(image, seed):
    grey = np.repeat(image[..., :1], 3, axis=2)
    out = apply(ColorJitter(saturation=0.4, hue=0.1, prob=1), grey, seed)
    assert abs(out.astype(int) - grey).max() <= 1


def test_the_order_is_random(image, monkeypatch):
    order = []

    def spy(name):
        return lambda image, value: order.append(name) or image

    spies = {name: spy(name) for name in STRONG}
    monkeypatch.setattr('mmsemiseg.datasets.transforms.photometric._ADJUST', spies)
    orders = set()
    for seed in range(200):
        order.clear()
        apply(ColorJitter(**STRONG, prob=1), image, seed)
        assert sorted(order) == sorted(STRONG)
        orders.add(tuple(order))
    assert len(orders) == 24


def test_only_what_is_set_is_adjusted(image):
    for seed in range(5):
        assert np.array_equal(apply(ColorJitter(prob=1), image, seed), image)


TRANSFORMS_OF_PROB = {
    'blur': lambda prob: GaussianBlur(prob=prob),
    'jitter': lambda prob: ColorJitter(**STRONG, prob=prob),
    'grey': lambda prob: TRANSFORMS.build(dict(GREY, prob=prob)),
}


@pytest.mark.parametrize('build', TRANSFORMS_OF_PROB.values(), ids=TRANSFORMS_OF_PROB)
def test_probability(image, build):
    def share(prob, seeds):
        changed = [
            not np.array_equal(apply(build(prob), image, s), image) for s in seeds
        ]
        return np.mean(changed)

    assert share(0.0, range(30)) == 0
    assert share(1.0, range(30)) == 1
    assert 0.2 < share(0.3, range(400)) < 0.4


@pytest.mark.parametrize('build', TRANSFORMS_OF_PROB.values(), ids=TRANSFORMS_OF_PROB)
def test_the_seed_decides(image, build):
    outs = [apply(build(0.5), image, seed) for seed in range(12)]
    again = [apply(build(0.5), image, seed) for seed in range(12)]
    assert all(np.array_equal(a, b) for a, b in zip(outs, again, strict=True))
    assert len({out.tobytes() for out in outs}) > 1


def test_grey_of_mmcv_has_equal_channels(image):
    """The transform of mmcv serves, with these settings, for BGR images."""
    out = apply(TRANSFORMS.build(dict(GREY, prob=1.0)), image)
    assert out.shape == image.shape and out.dtype == np.uint8
    assert (out == out[..., :1]).all()
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    assert abs(out[..., 0].astype(int) - grey).max() <= 1


def gaussian(size, sigma):
    place = np.arange(size) - size // 2
    kernel = np.exp(-(place**2) / (2 * sigma**2))
    return np.outer(kernel, kernel) / kernel.sum() ** 2


@pytest.mark.parametrize(('size', 'sigma'), [(5, 0), (5, 0.5), (7, 2.0), (3, 1.0)])
def test_blur_is_the_gaussian(size, sigma):
    point = np.zeros((15, 17, 3), np.uint8)
    point[7, 8] = (255, 100, 0)
    out = apply(GaussianBlur(size, sigma, prob=1), point).astype(float)
    expected = np.zeros(point.shape)
    half = size // 2
    window = np.s_[7 - half : 8 + half, 8 - half : 9 + half]
    expected[window] = gaussian(size, sigma or 1.1)[..., None] * point[7, 8]
    # its kernels are in fixed point, so a value may be off by a few
    assert abs(out - expected).max() <= 3
    assert (out[expected == 0] == 0).all()


def test_blur_keeps_float_images():
    out = apply(GaussianBlur(prob=1), np.ones((6, 6, 3), np.float32))
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, 1, rtol=1e-6)


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: GaussianBlur(4), 'kernel_size must be odd, but got 4'),
        (lambda: GaussianBlur(-1), 'kernel_size must be odd, but got -1'),
        (lambda: GaussianBlur(sigma=-1), 'sigma must be at least 0, but got -1'),
        (lambda: GaussianBlur(prob=1.1), r'prob must be in \[0, 1\], but got 1.1'),
        (lambda: ColorJitter(prob=-0.1), r'prob must be in \[0, 1\], but got -0.1'),
        (lambda: ColorJitter(contrast=-1), 'contrast must be at least 0, but got -1'),
        (lambda: ColorJitter(brightness=-1), 'brightness must be at least 0'),
        (lambda: ColorJitter(saturation=-1), 'saturation must be at least 0'),
        (lambda: ColorJitter(hue=0.6), r'hue must be in \[0, 0.5\], but got 0.6'),
        (lambda: ColorJitter(hue=-0.1), r'hue must be in \[0, 0.5\], but got -0.1'),
    ],
)
def test_wrong_settings_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    'image', [np.ones((4, 4, 3), np.float32), np.ones((4, 4), np.uint8)]
)
def test_jitter_of_another_image_is_an_error(image):
    with pytest.raises(ValueError, match='needs an 8-bit image of 3 channels'):
        ColorJitter(**STRONG, prob=1)(dict(img=image))


def test_they_build_from_configs_and_tell_their_settings():
    blur = TRANSFORMS.build(dict(type='GaussianBlur', sigma=0.5))
    assert repr(blur) == 'GaussianBlur(kernel_size=5, sigma=0.5, prob=0.5)'
    jitter = TRANSFORMS.build(dict(type='ColorJitter', hue=0.1))
    assert repr(jitter) == (
        'ColorJitter(brightness=0, contrast=0, saturation=0, hue=0.1, prob=0.8)'
    )
