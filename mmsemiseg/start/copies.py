"""Small copies of large images: training sees no more than these hold."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import mmcv
import numpy as np
from PIL import Image

from ..datasets.files import listed_name, name_some, read_names, strip_suffix
from ..datasets.strict_decode import decode_image
from .configs import DataFiles
from .plan import RATIO

LARGE = 2.5  # times the side: above, decoding takes longer than it should
QUALITY = 95


def copy_side(usual: int, side: int) -> int | None:
    """Long side of the copies, None where the images are not large.

    Args:
        usual: Median of the long sides of the images.
        side: Long side to which training resizes, times a ratio of up to 2.

    >>> copy_side(1500, 320), copy_side(700, 320)
    (640, None)
    """
    return round(RATIO[1] * side) if usual > LARGE * side else None


def write_copies(files: DataFiles, folder: str, side: int) -> DataFiles:
    """Copy the training images and masks so that their long side is ``side``.

    Validation stays on the originals. Smaller images keep their size.

    Args:
        folder: Folder of the copies.

    Raises:
        ValueError: An image cannot be read.
    """
    os.makedirs(folder, exist_ok=True)
    labeled = [name for _, name in read_names(files.labeled)]
    unlabeled = [name for _, name in read_names(files.unlabeled)]
    stems = [strip_suffix(name) for name in labeled]
    jobs = [
        (os.path.join(files.images, name), f'labeled/{stem}.jpg', f'{stem}.png')
        for name, stem in zip(labeled, stems, strict=True)
    ]
    jobs += [
        (path, f'unlabeled/{number:06}_{Path(path).stem}.jpg', None)
        for number, path in enumerate(unlabeled)
    ]
    made = files._replace(
        images=os.path.join(folder, 'labeled'),
        masks=os.path.join(folder, 'masks'),
        labeled=os.path.join(folder, 'labeled.txt'),
        unlabeled=os.path.join(folder, 'unlabeled.txt'),
    )

    def copy(job: tuple[str, str, str | None]) -> str | None:
        source, name, mask = job
        target = os.path.join(folder, name)
        try:
            image = decode_image(source)
        except Exception as error:  # decoders raise many types for garbage
            return f'{source} [{error}]'
        os.makedirs(os.path.dirname(target), exist_ok=True)
        size = _size(image, side)
        if mask is not None:
            _copy_mask(os.path.join(files.masks, mask), made.masks, mask, size)
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        mmcv.imwrite(small, target, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        return None

    with ThreadPoolExecutor(4) as pool:
        broken = [text for text in pool.map(copy, jobs) if text is not None]
    if broken:
        raise ValueError(
            f'{len(broken)} images cannot be read: {name_some(broken, 5)}. Repair them '
            'or take them out of the folder'
        )
    _write_list(made.labeled, [f'{stem}.jpg' for stem in stems])
    copies = [os.path.join(folder, name) for _, name, mask in jobs if mask is None]
    _write_list(made.unlabeled, copies)
    return made


def _size(image: np.ndarray, side: int) -> tuple[int, int]:
    """(width, height) of the copy."""
    height, width = image.shape[:2]
    factor = min(1.0, side / max(height, width))
    return max(1, round(factor * width)), max(1, round(factor * height))


def _copy_mask(source: str, folder: str, name: str, size: tuple[int, int]) -> None:
    target = os.path.join(folder, name)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with Image.open(source) as mask:
        mask.resize(size, Image.Resampling.NEAREST).save(target)


def _write_list(path: str, names: Sequence[str]) -> None:
    text = ''.join(f'{listed_name(name)}\n' for name in names)
    Path(path).write_text(text, encoding='utf-8')
