"""Files that end too early, found without decoding the others."""

import os

from PIL import Image

_STRIPS, _TILES = (273, 279), (324, 325)  # TIFF: tags of offsets and byte counts
_TAIL = 65536


def is_cut_off(image: Image.Image, path: str) -> bool:
    """Whether an open image ends too early; it is decoded where its end looks so."""
    if not _seems_cut_off(image, path):
        return False
    try:
        image.load()
    except (OSError, SyntaxError, ValueError):
        return True
    return False


def _seems_cut_off(image: Image.Image, path: str) -> bool:
    length, kind = os.path.getsize(path), image.format
    if kind in ('JPEG', 'MPO'):  # other programs' data may follow on the end marker
        return b'\xff\xd9' not in _bytes(path, max(length - _TAIL, length // 2))
    if kind == 'PNG':
        return b'IEND' not in _bytes(path, max(length - _TAIL, 0))
    if kind == 'WEBP':
        return int.from_bytes(_bytes(path, 4, 4), 'little') + 8 > length
    if kind == 'TIFF':
        return length < _tiff_end(image)
    if kind in ('BMP', 'PPM') and image.tile and image.tile[0][0] == 'raw':
        bits = 1 if image.mode == '1' else 8 * len(image.getbands())
        return length < image.tile[0][2] + image.width * image.height * bits // 8
    return False


def _bytes(path: str, start: int, count: int = -1) -> bytes:
    with open(path, 'rb') as file:
        file.seek(start)
        return file.read(count)


def _tiff_end(image: Image.Image) -> int:
    """Where the last strip or tile ends; 0 where the tags do not say."""
    for offsets, counts in (_STRIPS, _TILES):
        if offsets in image.tag_v2 and counts in image.tag_v2:
            pairs = zip(image.tag_v2[offsets], image.tag_v2[counts], strict=False)
            return max(map(sum, pairs), default=0)
    return 0
