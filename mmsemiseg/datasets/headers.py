"""What the header of an image file tells, without decoding a pixel."""

import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from PIL import Image

from .orientation import stored_orientation, turns
from .tails import is_cut_off

_SAMPLES_PER_PIXEL = 277
_TIFF_SIZE = 256, 257  # tags of width and height
_OPENCV_PIXELS = int(os.environ.get('OPENCV_IO_MAX_IMAGE_PIXELS', 2**30))


def pixel_limit() -> int:
    """The most pixels of an image or mask: Pillow reads the masks, OpenCV the images.

    Pillow refuses what has more than twice ``PIL.Image.MAX_IMAGE_PIXELS``.
    """
    pillow = Image.MAX_IMAGE_PIXELS
    return _OPENCV_PIXELS if pillow is None else min(2 * pillow, _OPENCV_PIXELS)


class Header(NamedTuple):
    """``problem`` is None, 'missing', 'unreadable', 'large', 'bands', 'depth' or 'end'.

    ``size`` is (width, height) as stored in the file, ``mask_size`` as Pillow reads it,
    which is the reader of masks. ``orientation`` is that of EXIF where the reader of
    images turns by it (1: nothing is turned). ``detail`` explains the problem.
    """

    size: tuple[int, int] = (0, 0)
    mode: str = ''
    orientation: int = 1
    problem: str | None = None
    detail: str = ''
    mask_size: tuple[int, int] = (0, 0)
    bands: int = 0

    @property
    def read_size(self) -> tuple[int, int]:
        """(width, height) after the rotation by EXIF, as the loader returns it.

        >>> Header(size=(480, 360), orientation=6).read_size
        (360, 480)
        """
        return self.size[::-1] if self.orientation >= 5 else self.size


def read_header(path: str) -> Header:
    """Header of one file. Never raises for a bad file: see ``Header.problem``."""
    if '://' in path:  # a remote file backend: only its loader can tell
        return Header(problem='remote')
    if not os.path.isfile(path):
        return Header(problem='missing')
    try:
        with Image.open(path) as image:
            return _describe(image, path)
    except Image.DecompressionBombError as error:
        pixels = re.search(r'\d+', str(error))
        return Header(problem='large', detail=f'{pixels[0]} pixels' if pixels else '')
    except Exception as error:  # Pillow's readers raise many types for garbage
        bands = _tiff_bands(path)
        if bands > 4:
            return Header(problem='bands', detail=f'{bands} bands')
        return Header(problem='unreadable', detail=type(error).__name__)


def read_headers(paths: Iterable[str], threads: int = 8) -> dict[str, Header]:
    """Headers of many files, each read once."""
    unique = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(threads) as pool:
        return dict(zip(unique, pool.map(read_header, unique), strict=True))


def _describe(image: Image.Image, path: str) -> Header:
    size, mode = image.size, image.mode
    if size[0] * size[1] > pixel_limit():
        return Header(problem='large', detail=f'{size[0] * size[1]} pixels')
    tags = getattr(image, 'tag_v2', {})
    bands = tags.get(_SAMPLES_PER_PIXEL, len(image.getbands()))
    if bands > 4:
        return Header(size, mode, problem='bands', detail=f'{bands} bands')
    raw = _raw_mode(image)
    if ';16' in raw or mode in ('I', 'F') or mode.startswith('I;'):
        return Header(size, mode, problem='depth', detail=raw or mode)
    if is_cut_off(image, path):
        return Header(size, mode, problem='end')
    return Header(
        size=tuple(tags.get(tag, size[i]) for i, tag in enumerate(_TIFF_SIZE)),
        mode=mode,
        orientation=stored_orientation(image) if turns(image.format) else 1,
        mask_size=size,
        bands=bands,
    )


def _raw_mode(image: Image.Image) -> str:
    # A PNG of 16 bits a channel has the mode 'RGB': only the decoder's arguments
    # tell ('RGB;16B').
    if not image.tile:
        return ''
    args = image.tile[0][3]
    args = args[0] if isinstance(args, tuple) and args else args
    return args if isinstance(args, str) else ''


def _tiff_bands(path: str) -> int:
    """Samples per pixel of a TIFF that Pillow cannot open; 0 for other files."""
    with open(path, 'rb') as file:
        head = file.read(8)
        order = {b'II*\0': 'little', b'MM\0*': 'big'}.get(head[:4])
        if order is None:
            return 0
        file.seek(int.from_bytes(head[4:], order))
        for _ in range(int.from_bytes(file.read(2), order)):
            entry = file.read(12)
            if int.from_bytes(entry[:2], order) == _SAMPLES_PER_PIXEL:
                return int.from_bytes(entry[8:10], order)
    return 0
