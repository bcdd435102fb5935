import colorsys
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import correlate1d
from torch.testing import assert_close

from mmsemiseg.functional.augment import color_jitter, gaussian_blur, scale_crop

COLORS = ('brightness', 'contrast', 'saturation', 'hue')


def scaled(images, maps, fills, scale, place):
    return scale_crop(images, maps, fills, torch.tensor(scale), torch.tensor(place))


def slow_scale_crop(image, label, fill, scale, place):
    """One pixel after the other: the definition."""
    height, width = label.shape
    new_image, new_label = torch.zeros_like(image), torch.full_like(label, fill)
    for i, j in itertools.product(range(height), range(width)):
        y = (i + 0.5 + place[0] * (scale - 1) * height) / scale
        x = (j + 0.5 + place[1] * (scale - 1) * width) / scale
        if not (0 <= y < height and 0 <= x < width):
            continue
        new_label[i, j] = label[int(y), int(x)]
        top, left = math.floor(y - 0.5), math.floor(x - 0.5)
        for a, b in itertools.product((0, 1), (0, 1)):
            weight = 1 - abs(y - 0.5 - (top + a))
            weight *= 1 - abs(x - 0.5 - (left + b))
            row = min(max(top + a, 0), height - 1)
            column = min(max(left + b, 0), width - 1)
            new_image[:, i, j] += weight * image[:, row, column]
    return new_image, new_label


def test_a_scale_of_1_changes_no_bit():
    images, label = torch.rand(3, 3, 7, 10), torch.randint(0, 9, (3, 7, 10))
    place = torch.rand(2, 3).tolist()
    new, maps = scaled(images, dict(x=label), dict(x=255), [1.0] * 3, place)
    assert_close(new, images, rtol=0, atol=2e-6)
    assert maps['x'].equal(label)


def test_twice_as_large_shows_a_quarter():
    label = torch.arange(24).view(1, 4, 6).repeat(4, 1, 1)
    images = torch.rand(1, 3, 4, 6).repeat(4, 1, 1, 1)
    corners = [(0, 0), (0, 1), (1, 0), (1, 1)]
    place = torch.tensor(corners).float().T.tolist()
    new, maps = scaled(images, dict(x=label), dict(x=255), [2.0] * 4, place)
    large = label[0].repeat_interleave(2, 0).repeat_interleave(2, 1)
    smooth = F.interpolate(images[:1], scale_factor=2, mode='bilinear')
    for k, (bottom, right) in enumerate(corners):
        window = slice(4 * bottom, 4 * bottom + 4), slice(6 * right, 6 * right + 6)
        assert maps['x'][k].equal(large[window])
        assert_close(new[k], smooth[0][(slice(None), *window)])


def test_half_as_large_lies_in_padding():
    label = torch.arange(1, 33).view(1, 4, 8).repeat(3, 1, 1)
    maps = dict(
        label=label,
        confidence=label / 33,
        valid=torch.ones(3, 4, 8, dtype=torch.bool),
        byte=label.byte(),
    )
    fills = dict(label=255, confidence=0, valid=False, byte=7)
    place = [[0.0, 1.0, 0.5], [0.0, 1.0, 0.5]]
    new, small = scaled(torch.ones(3, 3, 4, 8), maps, fills, [0.5] * 3, place)
    assert {name: value.dtype for name, value in small.items()} == {
        name: value.dtype for name, value in maps.items()
    }
    # place 0: the image is at the top left, 1: at the bottom right, 0.5: centred
    for k, (top, left) in enumerate([(0, 0), (2, 4), (1, 2)]):
        inside = torch.zeros(4, 8, dtype=torch.bool)
        inside[top : top + 2, left : left + 4] = True
        assert small['valid'][k].equal(inside)
        assert new[k].eq(inside.float()).all()
        assert small['label'][k][inside].view(2, 4).equal(label[0, 1::2, 1::2])
        for name, fill in fills.items():
            assert small[name][k][~inside].eq(fill).all()


@pytest.mark.parametrize('seed', range(6))
def test_against_one_pixel_after_the_other(seed):
    torch.manual_seed(seed)
    size = (5 + seed, 9 - seed)
    images, label = torch.rand(4, 2, *size), torch.randint(0, 200, (4, *size))
    scale, place = 0.4 + 2 * torch.rand(4), torch.rand(2, 4)
    new, maps = scale_crop(images, dict(x=label), dict(x=255), scale, place)
    for k in range(4):
        image, labels = slow_scale_crop(
            images[k], label[k], 255, scale[k].item(), place[:, k].tolist()
        )
        assert maps['x'][k].equal(labels)
        assert_close(new[k], image, rtol=0, atol=1e-5)


@pytest.mark.parametrize('size', [(64, 80), (321, 321), (37, 500)])
def test_image_and_maps_move_together(size):
    torch.manual_seed(0)
    n = 12
    # each pixel shows where it is
    y, x = (at.expand(n, *size) for at in torch.meshgrid(*map(torch.arange, size)))
    images = torch.stack([y, x, torch.ones(n, *size)], 1).float()
    maps = dict(y=y, x=x, valid=torch.ones(n, *size, dtype=torch.bool))
    fills = dict(y=-1, x=-1, valid=False)
    scale, place = 0.75 + torch.rand(n), torch.rand(2, n)
    new, maps = scale_crop(images, maps, fills, scale, place)
    valid = maps['valid']
    for axis, name in enumerate('yx'):
        assert (new[:, axis] - maps[name])[valid].abs().max() < 0.51
        assert maps[name][~valid].eq(-1).all()
    assert_close(new[:, 2], valid.float(), rtol=0, atol=1e-5)
    share = valid.flatten(1).float().mean(1)
    assert share[scale >= 1].eq(1).all()
    rounding = 2 / min(size)
    assert_close(share, scale.clamp(max=1) ** 2, rtol=0, atol=rounding)


def slow_color_jitter(pixel, changes):
    for name, change in changes:
        if name in ('brightness', 'contrast'):
            add, factor = (change, 1) if name == 'brightness' else (0, 1 + change)
            pixel = [min(max(p * factor + add, 0.0), 1.0) for p in pixel]
            continue
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        if name == 'hue':
            hue = (hue + change) % 1
        else:
            saturation = min(saturation * (1 + change), 1)
        pixel = colorsys.hsv_to_rgb(hue, saturation, value)
    return pixel


@pytest.mark.parametrize('order', [*itertools.permutations(COLORS)][::3])
def test_colors_against_colorsys(order):
    torch.manual_seed(0)
    images = torch.rand(3, 3, 4, 5)
    images[0, :, 0] = torch.tensor([[0.0, 1, 0.5, 1, 0]] * 3)  # grey
    images[1, :, 0] = torch.eye(3, 5)  # pure colours, black
    most = dict(brightness=0.4, contrast=0.5, saturation=0.9, hue=0.5)
    changes = {name: most[name] * (2 * torch.rand(3) - 1) for name in order}
    new = color_jitter(images, changes)
    for k, i, j in itertools.product(range(3), range(4), range(5)):
        one = [(name, change[k].item()) for name, change in changes.items()]
        expected = slow_color_jitter(images[k, :, i, j].tolist(), one)
        assert_close(new[k, :, i, j], torch.tensor(expected), rtol=0, atol=2e-5)


@pytest.mark.parametrize('name', COLORS)
def test_a_change_of_0_is_none(name):
    images = torch.rand(2, 3, 8, 8)
    new = color_jitter(images, {name: torch.zeros(2)})
    assert_close(new, images, rtol=0, atol=2e-6)


def test_kornia_has_the_same_saturation():
    from kornia.enhance import adjust_saturation

    images, change = torch.rand(5, 3, 16, 16), 4 * torch.rand(5) - 1
    expected = adjust_saturation(images, 1 + change)
    assert_close(
        color_jitter(images, dict(saturation=change)), expected, rtol=0, atol=1e-5
    )


@pytest.mark.parametrize('size', [(40, 50), (5, 7), (12, 30), (1, 9)])
def test_blur_against_scipy(size):
    torch.manual_seed(0)
    images = torch.rand(3, 2, *size)
    sigmas = torch.tensor([[0.1, 1.5, 0.7], [2.0, 1.5, 0.3]])
    new = gaussian_blur(images, sigmas, 23)
    for k in range(3):
        expected = images[k].double().numpy()
        for axis in (1, 2):
            side = min(23, 2 * size[axis - 1] - 1)
            at = torch.arange(side) - side // 2
            weights = (-(at**2) / (2 * sigmas[axis - 1, k].double() ** 2)).exp()
            weights = (weights / weights.sum()).numpy()
            expected = correlate1d(expected, weights, axis, mode='mirror')
        assert_close(new[k].double(), torch.from_numpy(expected), rtol=0, atol=1e-5)
