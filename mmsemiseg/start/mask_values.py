"""What mask files hold: class numbers, grey levels or colours."""

import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from PIL import Image

MANY = 4096
"""Different values of one mask beyond which it is a photograph."""

COLOUR_MODES = ('RGB', 'RGBA', 'LA', 'CMYK', 'PA', 'La', 'RGBa', 'YCbCr', 'HSV', 'LAB')


class MaskValues(NamedTuple):
    """Pixels by value of one mask; ``kind`` is 'grey', 'palette' or 'colour'.

    Values of colours are numbers ``0xRRGGBB``, as are those of ``palette``, the colours
    of the values that occur. ``size`` is (width, height).
    """

    path: str
    kind: str
    size: tuple[int, int]
    counts: dict[int, int]
    palette: dict[int, int]


def read_values(path: str) -> tuple[str, np.ndarray, dict[int, int]]:
    """(kind, values (H, W), palette) of a mask.

    A picture of three equal bands is grey; what is fully transparent is 0.

    Raises:
        ValueError: The file cannot be read, or has values above 65 535.
    """
    try:
        with open(path, 'rb') as file, Image.open(io.BytesIO(file.read())) as image:
            mode, palette = image.mode, image.getpalette() if image.mode == 'P' else []
            image.load()
            if mode in COLOUR_MODES:
                return _colours(np.asarray(image.convert('RGBA')))
            values = np.asarray(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f'mask {path} cannot be read: {error}') from error
    if values.ndim != 2 or values.dtype.kind == 'f':
        raise ValueError(f'mask {path} has numbers with a fraction, not classes')
    if values.dtype == bool:
        return 'grey', values.astype(np.uint8), {}
    low, high = values.min(initial=0), values.max(initial=0)
    if low < 0 or high > 0xFFFF:
        raise ValueError(f'mask {path} has values from {low} to {high}, not classes')
    if mode != 'P':
        return 'grey', values.astype(np.uint16), {}
    colours = np.asarray(palette, np.int64).reshape(-1, 3) @ [1 << 16, 1 << 8, 1]
    used = [int(value) for value in np.unique(values) if value < len(colours)]
    return 'palette', values, {value: int(colours[value]) for value in used}


def survey(path: str) -> MaskValues:
    """Count the values of one mask.

    Raises:
        ValueError: It cannot be read, or has more than ``MANY`` values.
    """
    kind, values, palette = read_values(path)
    found, counts = np.unique(values, return_counts=True)
    if len(found) > MANY:
        raise ValueError(
            f'mask {path} has {len(found)} different values: it is a photograph, '
            'perhaps folders of images and masks are exchanged'
        )
    pixels = dict(zip(found.tolist(), counts.tolist(), strict=True))
    return MaskValues(path, kind, values.shape[::-1], pixels, palette)


def survey_all(paths: Iterable[str], threads: int = 4) -> list[MaskValues]:
    """The values of many masks, in their order.

    Raises:
        ValueError: One cannot be read.
    """
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(survey, paths))


def hex_colour(value: int) -> str:
    """A colour as text.

    >>> hex_colour(0x80ff00)
    '#80ff00'
    """
    return f'#{value:06x}'


def _colours(rgba: np.ndarray) -> tuple[str, np.ndarray, dict[int, int]]:
    rgb = rgba[..., :3] * (rgba[..., 3:] > 0)
    if (rgb == rgb[..., :1]).all():
        return 'grey', rgb[..., 0].astype(np.uint16), {}
    return 'colour', rgb.astype(np.int64) @ [1 << 16, 1 << 8, 1], {}
