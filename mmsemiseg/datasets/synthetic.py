"""A small seeded data set of textured shapes, for tests and first steps.

A class is a pair of a shape and a texture: disks are striped or dotted, stripes are on
disks or squares, and so on. Many objects of a class share a colour, about as many as
the difficulty leaves; other colours, sizes, angles and light are random for every
object, and the clutter of the background has the same textures in other shapes and
the same shapes without texture. Few labels therefore leave much to be learned.

Only integers and IEEE-exact operations (no sine, no blur, no codec with losses) are
used: a seed gives the same pixels on every machine.
"""

import os
from typing import NamedTuple

import numpy as np
from mmseg.registry import DATASETS
from PIL import Image

from .folder import FolderSegDataset

KINDS = (
    ('disk', 'stripes'),
    ('disk', 'dots'),
    ('square', 'stripes'),
    ('square', 'checks'),
    ('triangle', 'dots'),
)
"""(shape, texture) of the classes 1 to 5; 0 is the background."""

PARTS = ('labeled', 'unlabeled', 'val')


@DATASETS.register_module()
class SyntheticShapesDataset(FolderSegDataset):
    """Textured shapes as written by ``tools/make_synthetic.py``."""

    METAINFO = dict(
        classes=('background', *(f'{shape} with {look}' for shape, look in KINDS)),
        palette=[
            [0, 0, 0],
            [220, 50, 47],
            [38, 139, 210],
            [133, 153, 0],
            [181, 137, 0],
            [108, 113, 196],
        ],
    )


class Sample(NamedTuple):
    """``image`` (H, W, 3) RGB and ``mask`` (H, W) of classes, both uint8."""

    image: np.ndarray
    mask: np.ndarray


def make_sample(
    key: tuple[int, ...], size: int = 96, difficulty: float = 0.5
) -> Sample:
    """One image with its mask. ``key`` is the seed of this image alone.

    ``difficulty`` in [0, 1] sets clutter, noise, light, the number and the size of
    objects, and the share of objects in another colour than their class's.
    """
    if size < 32:
        raise ValueError(f'size must be at least 32, but got {size}')
    if not 0 <= difficulty <= 1:
        raise ValueError(f'difficulty must be in [0, 1], but got {difficulty}')
    rng = np.random.Generator(np.random.PCG64(list(key)))
    image = _background(rng, size)
    mask = np.zeros((size, size), np.uint8)
    for _ in range(int(rng.integers(1, 3) + 8 * difficulty)):
        _draw_clutter(rng, image)
    first = int(rng.integers(len(KINDS)))
    for i in range(int(rng.integers(2, 4 + round(2 * difficulty)))):
        kind = (first + i) % len(KINDS)
        shape, texture = KINDS[kind]
        radius = (1.5 - difficulty) * (0.11 + 0.12 * rng.random()) * size
        inside, u, v = _place(rng, shape, size, radius)
        typical = rng.random() >= difficulty
        colour = SyntheticShapesDataset.METAINFO['palette'][kind + 1]
        paint = _texture(rng, texture, u, v, radius, colour if typical else None)
        image[inside] = paint[inside]
        mask[inside] = kind + 1
    return Sample(_light(rng, image, difficulty), mask)


def write_synthetic(
    folder: str,
    counts: dict[str, int],
    size: int = 96,
    seed: int = 0,
    difficulty: float = 0.5,
    hidden: bool = False,
) -> None:
    """Write the parts ``counts`` ('labeled', 'unlabeled', 'val') in VOC's layout.

    JPEGImages/ (PNG, without losses), SegmentationClass/, and
    ImageSets/Segmentation/<part>.txt. Masks of 'unlabeled' are written to HiddenClass/
    if ``hidden``, else not at all. An image depends on the seed, its part and its
    number: more images of one part change no other.
    """
    for name in ('JPEGImages', 'SegmentationClass', 'ImageSets/Segmentation'):
        os.makedirs(os.path.join(folder, name), exist_ok=True)
    if hidden:
        os.makedirs(os.path.join(folder, 'HiddenClass'), exist_ok=True)
    for number, part in enumerate(PARTS):
        stems = [f'{part}_{i:05}' for i in range(counts.get(part, 0))]
        for i, stem in enumerate(stems):
            sample = make_sample((seed, number, i), size, difficulty)
            _save(sample.image, os.path.join(folder, 'JPEGImages', stem))
            if part != 'unlabeled':
                _save(sample.mask, os.path.join(folder, 'SegmentationClass', stem))
            elif hidden:
                _save(sample.mask, os.path.join(folder, 'HiddenClass', stem))
        listed = os.path.join(folder, 'ImageSets', 'Segmentation', f'{part}.txt')
        with open(listed, 'w', encoding='utf-8', newline='\n') as file:
            file.writelines(f'{stem}\n' for stem in stems)


def write_folders(
    folder: str,
    counts: dict[str, int],
    size: int = 96,
    seed: int = 0,
    difficulty: float = 0.5,
) -> None:
    """Write the images of :func:`write_synthetic` in folders as a user has them.

    images/ has those of 'labeled' and 'unlabeled', masks/ the masks of the former under
    the same names; val/images/ and val/masks/; classes.txt names the classes and has
    their colours.
    """
    roots = dict.fromkeys(PARTS, folder) | dict(val=os.path.join(folder, 'val'))
    for root in roots.values():
        for name in ('images', 'masks'):
            os.makedirs(os.path.join(root, name), exist_ok=True)
    meta = SyntheticShapesDataset.METAINFO
    classes = zip(meta['classes'], meta['palette'], strict=True)
    lines = [' '.join([name, *map(str, colour)]) for name, colour in classes]
    with open(os.path.join(folder, 'classes.txt'), 'w', encoding='utf-8') as file:
        file.writelines(f'{line}\n' for line in lines)
    for number, part in enumerate(PARTS):
        name = 'val' if part == 'val' else 'shapes'
        first = counts.get('labeled', 0) if part == 'unlabeled' else 0
        for i in range(counts.get(part, 0)):
            sample = make_sample((seed, number, i), size, difficulty)
            stem = f'{name}_{first + i:04}'
            _save(sample.image, os.path.join(roots[part], 'images', stem))
            if part != 'unlabeled':
                _save(sample.mask, os.path.join(roots[part], 'masks', stem))


def _save(pixels: np.ndarray, stem: str) -> None:
    picture = Image.fromarray(pixels)
    if pixels.ndim == 2:
        picture.putpalette(sum(SyntheticShapesDataset.METAINFO['palette'], []))
    picture.save(f'{stem}.png', compress_level=1)


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    return np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)


def _smooth(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Noise (H, W) in [0, 1]: random values on a grid, linear between them."""
    values = rng.random((cells + 1, cells + 1))
    at = np.arange(size) * cells / size
    low = at.astype(int)
    part = at - low
    rows = values[low] * (1 - part)[:, None] + values[low + 1] * part[:, None]
    return rows[:, low] * (1 - part) + rows[:, low + 1] * part


def _colours(rng: np.random.Generator, contrast: int) -> np.ndarray:
    """Two colours (2, 3) of which the brightness differs by ``contrast`` or more."""
    while True:
        pair = rng.integers(20, 236, (2, 3))
        if abs(int(pair[0].sum()) - int(pair[1].sum())) >= 3 * contrast:
            return pair.astype(float)


def _background(rng: np.random.Generator, size: int) -> np.ndarray:
    pair = _colours(rng, 20)
    mix = 0.6 * _smooth(rng, size, 3) + 0.4 * _smooth(rng, size, 12)
    return pair[0] + (pair[1] - pair[0]) * mix[..., None]


def _place(
    rng: np.random.Generator, shape: str, size: int, radius: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the shape is, and its own rotated coordinates: (inside, u, v)."""
    t = 2 * rng.random() - 1  # rotation by a rational point of the circle
    cosine, sine = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    centre = (0.1 + 0.8 * rng.random(2)) * size
    x, y = _grid(size)
    x, y = x - centre[0], y - centre[1]
    u, v = cosine * x + sine * y, cosine * y - sine * x
    if rng.random() < 0.5:
        u, v = v, u
    stretch = 0.8 + 0.2 * rng.random()
    return _SHAPES[shape](u, v / stretch, radius), u, v


_SHAPES = {
    'disk': lambda u, v, r: u * u + v * v < r * r,
    'square': lambda u, v, r: np.maximum(abs(u), abs(v)) < 0.87 * r,
    'triangle': lambda u, v, r: (v < 0.7 * r) & (v > 1.8 * abs(u) - 1.3 * r),
    'bar': lambda u, v, r: (abs(u) < 1.5 * r) & (abs(v) < 0.3 * r),
    'ring': lambda u, v, r: abs(u * u + v * v - 0.7 * r * r) < 0.3 * r * r,
    'cross': lambda u, v, r: np.minimum(abs(u), abs(v)) < 0.25 * r,
}


def _texture(
    rng: np.random.Generator,
    name: str,
    u: np.ndarray,
    v: np.ndarray,
    radius: float,
    colour: list[int] | None = None,
) -> np.ndarray:
    """Colours (H, W, 3) of a texture: two random ones, or one near ``colour``."""
    pair = _colours(rng, 35)
    if colour is not None:
        pair[0] = np.clip(np.add(colour, rng.integers(-50, 51, 3)), 0, 255)
    if name == 'plain':
        return np.broadcast_to(pair[0], (*u.shape, 3))
    period = max(radius * (0.28 + 0.12 * rng.random()), 3.0)
    u, v = u / period + rng.random(), v / period + rng.random()
    if name == 'stripes':
        on = np.floor(2 * u) % 2 == 0
    elif name == 'checks':
        on = (np.floor(1.6 * u) + np.floor(1.6 * v)) % 2 == 0
    else:
        du, dv = u - np.floor(u) - 0.5, v - np.floor(v) - 0.5
        on = du * du + dv * dv < 0.1
    return np.where(on[..., None], pair[0], pair[1])


def _draw_clutter(rng: np.random.Generator, image: np.ndarray) -> None:
    """Background: a shape of no class with a texture, or a class's without one."""
    radius = (0.05 + 0.11 * rng.random()) * len(image)
    if rng.random() < 0.6:
        shape = ('bar', 'ring', 'cross')[rng.integers(3)]
        texture = ('stripes', 'dots', 'checks', 'plain')[rng.integers(4)]
    else:
        shape = ('disk', 'square', 'triangle')[rng.integers(3)]
        texture = 'plain'
    inside, u, v = _place(rng, shape, len(image), radius)
    inside &= u * u + v * v < 4 * radius * radius
    image[inside] = _texture(rng, texture, u, v, radius)[inside]


def _light(
    rng: np.random.Generator, image: np.ndarray, difficulty: float
) -> np.ndarray:
    """Uneven light, a tint, and noise; then 8 bits."""
    size = len(image)
    light = 1 - 0.8 * difficulty * _smooth(rng, size, 2)
    tint = 1 - 0.4 * difficulty * rng.random(3)
    image = image * light[..., None] * tint
    if rng.random() < difficulty:  # a shadow with a hard edge
        inside, _, _ = _place(rng, 'bar', size, 0.4 * size)
        image = np.where(inside[..., None], 0.6 * image, image)
    # the sum of four uniform numbers is close enough to a normal one
    noise = rng.random((4, *image.shape)).sum(0) - 2
    image = image + (5 + 40 * difficulty) * noise
    return np.clip(np.floor(image + 0.5), 0, 255).astype(np.uint8)
