"""Decoding in which a warning of the decoder means a damaged file."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import mmcv
import numpy as np
from PIL import Image

_STDERR = 2
_ONE_AT_A_TIME = Lock()  # the whole process has one stderr
_JPEG = re.compile(
    r'^(Corrupt JPEG data|Premature end of JPEG|Invalid JPEG|Unsupported JPEG'
    r'|Inconsistent progression sequence|libjpeg).*$',
    re.MULTILINE | re.IGNORECASE,
)


def decode_image(path: str) -> np.ndarray:
    """The image as the training pipeline loads it, (H, W, 3) uint8.

    Raises:
        ValueError: libjpeg complains (bytes in the middle are damaged), a checksum of a
            PNG is wrong, or the file ends too early. Other errors of the decoders pass.
    """
    with Image.open(path) as image:
        kind = image.format
        if kind == 'PNG':
            image.verify()  # checksums, which decoding ignores
    with Image.open(path) as image:
        image.load()  # raises for a file that is cut off, OpenCV does not
    if kind not in ('JPEG', 'MPO'):
        decoded, complaint = mmcv.imread(path), None
    else:
        with _ONE_AT_A_TIME, _captured_stderr() as written:
            decoded = mmcv.imread(path)
        complaint = _JPEG.search(written[0])
    if decoded is None:
        raise ValueError('OpenCV cannot decode it')
    if complaint:
        raise ValueError(complaint[0].strip())
    return decoded


@contextmanager
def _captured_stderr() -> Iterator[list[str]]:
    """What C code writes to stderr, in a list of one text when the block has ended.

    OpenCV prints libjpeg's warnings and gives the picture all the same; Pillow drops
    them. What is no complaint of libjpeg, of another thread say, is written on.
    """
    written: list[str] = []
    before = os.dup(_STDERR)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), _STDERR)
        try:
            yield written
        finally:
            os.dup2(before, _STDERR)
            file.seek(0)
            text = file.read().decode(errors='replace')
            written.append(text)
            if others := _JPEG.sub('', text).strip('\n'):
                os.write(before, f'{others}\n'.encode())
            os.close(before)
