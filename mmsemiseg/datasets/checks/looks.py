"""Images that look like label masks."""

import os
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..files import name_some
from ..headers import Header
from ..label_values import read_mask
from ..split import shuffled
from .streams import INDEX_MODES, StreamFiles

LOOKED_AT = 64
"""One-band images of a stream that are decoded, at most."""

_FEW = 32  # classes of a photograph, where no number of classes is known


def mask_like_images(
    stream: StreamFiles,
    headers: Mapping[str, Header],
    num_classes: int | None = None,
    ignore_index: int = 255,
) -> list[str]:
    """A line on images of one band with few small values, else nothing."""
    one_band = {
        p
        for p in stream.images
        if headers[p].mode in INDEX_MODES and not headers[p].problem
    }
    chosen = shuffled(sorted(one_band), 0)[:LOOKED_AT]
    highest = num_classes or _FEW
    with ThreadPoolExecutor(4) as pool:
        looks = pool.map(lambda path: _labels(path, highest, ignore_index), chosen)
        found = {p: number for p, number in zip(chosen, looks, strict=True) if number}
    if not found or max(found.values()) < 2:  # black pictures alone
        return []
    among = ''
    if len(one_band) > len(chosen):
        among = f' (of {len(chosen)} among {len(one_band)} of one band, looked at)'
    stems = Counter(_stem(path) for path in set(stream.images))
    paired = sum(stems[_stem(path)] > 1 for path in found)
    equal = f', {paired} have the name of another image' if paired else ''
    total = len(set(stream.images))
    return [
        f'{len(found)} of {total} images look like label masks{among}: '
        f'one band, values below {highest}{equal}. If they are masks leave them out '
        f'by exclude= or suffixes=: {name_some(sorted(found))}'
    ]


def _labels(path: str, highest: int, ignore_index: int) -> int:
    """Number of different values, where all could be labels; else 0."""
    try:
        values = np.unique(read_mask(path))
    except Exception:  # other rules name files that cannot be decoded
        return 0
    if len(values) > _FEW + 1:
        return 0
    labels = (values < highest) | (values == ignore_index)
    return len(values) if labels.all() else 0


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]
