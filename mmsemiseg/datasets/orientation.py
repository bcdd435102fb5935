"""EXIF orientation, as the reader of images applies it."""

import io
from functools import lru_cache

import mmcv
from PIL import Image

_ORIENTATION = 0x0112
_AS_JPEG = {'MPO': 'JPEG'}
_WITH_EXIF = ('JPEG', 'PNG', 'TIFF', 'WEBP')


@lru_cache
def turns(kind: str | None) -> bool:
    """Whether ``mmcv.imread`` turns images of a format by their EXIF orientation.

    That differs between formats, and between versions of OpenCV, so it is tried.

    Args:
        kind: Name of the image format in Pillow, such as ``'JPEG'``.

    >>> turns('JPEG'), turns('BMP')
    (True, False)
    """
    kind = _AS_JPEG.get(kind, kind)
    if kind not in _WITH_EXIF:
        return False
    tags, file = Image.Exif(), io.BytesIO()
    tags[_ORIENTATION] = 6
    Image.new('RGB', (16, 8)).save(file, kind, exif=tags)
    read = mmcv.imfrombytes(file.getvalue())
    return read is not None and read.shape[:2] == (16, 8)


def stored_orientation(image: Image.Image) -> int:
    """Orientation 1 to 8 in the EXIF of an open image; 1 where there is none.

    XMP, which Pillow would consult too, is not what OpenCV reads.
    """
    tags = getattr(image, 'tag_v2', None)  # a TIFF
    if tags is None:
        tags = Image.Exif()
        if exif := image.info.get('exif'):
            tags.load(exif)
    orientation = tags.get(_ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1
