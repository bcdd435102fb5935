"""Folders as a user has them, for tests of `start`."""

import numpy as np
from PIL import Image

RED = (200, 30, 30)


def write_folders(root, count=8, masked=6, size=(96, 64), suffix='_gt', extra=4):
    """``photos``, ``gt`` (coloured masks of some of them) and ``more`` below ``root``.

    Every image has a red rectangle on noise of its own; ``size`` is (width, height).
    """
    rng = np.random.default_rng(0)
    for folder in ('photos', 'gt', 'more'):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number in range(count + extra):
        coarse = rng.integers(0, 255, (5, 7, 3)).astype(np.uint8)
        image = np.array(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
        mask = np.zeros_like(image)
        x, y = rng.integers(5, size[0] // 2), rng.integers(5, size[1] // 2)
        for array, colour in ((image, RED), (mask, (255, 0, 0))):
            array[y : y + 25, x : x + 40] = colour
        name = f'shot{number:02}'
        folder = root / ('photos' if number < count else 'more')
        Image.fromarray(image).save(folder / f'{name}.jpg')
        if number < masked:
            Image.fromarray(mask).save(root / 'gt' / f'{name}{suffix}.png')
    return root
