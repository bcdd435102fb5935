"""The class numbers in mask files, as the training pipeline reads them."""

import io
from collections.abc import Mapping

import numpy as np
from PIL import Image


def read_mask(path: str) -> np.ndarray:
    """Class indices (H, W) of an index image; ValueError where it is none."""
    with open(path, 'rb') as file:  # from a path Pillow garbles TIFFs that EXIF turns
        content = io.BytesIO(file.read())
    with Image.open(content) as image:
        mask = np.asarray(image)
    if mask.ndim != 2 or mask.dtype not in (np.uint8, np.bool_):
        raise ValueError(
            f'mask {path} must have one band of 8 bits, but has the shape {mask.shape} '
            f'and type {mask.dtype}'
        )
    return mask.astype(np.uint8)


def count_values(mask: np.ndarray) -> dict[int, int]:
    """Number of pixels of each value that occurs.

    >>> count_values(np.array([[0, 2], [2, 255]], np.uint8))
    {0: 1, 2: 2, 255: 1}
    """
    counts = np.bincount(mask.ravel(), minlength=256)
    return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}


def map_counts(
    counts: Mapping[int, int],
    reduce_zero_label: bool = False,
    label_map: Mapping[int, int] | None = None,
) -> dict[int, int]:
    """Counts after ``LoadAnnotations``: zero to 255, then the classes of a subset.

    >>> map_counts({0: 5, 1: 2, 255: 1}, reduce_zero_label=True)
    {0: 2, 255: 6}
    """
    mapped: dict[int, int] = {}
    for value, count in counts.items():
        if reduce_zero_label:
            value = 255 if value in (0, 255) else value - 1
        value = (label_map or {}).get(value, value)
        mapped[value] = mapped.get(value, 0) + count
    return dict(sorted(mapped.items()))
