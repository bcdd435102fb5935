"""Images that are nearly the same: frames of one video, and copies."""

import io
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from PIL import Image

SIDE = 16  # of the thumbnails
_LIKE_FRAMES = 0.75  # of the distance of any two images
_COPY = 0.08  # distance of thumbnails of unit variance
_NEAR_BITS = 3  # of 64
_GAP = 10  # times the usual step of the numbers: another sequence
_PAIRS = 4000
_NUMBERED = re.compile(r'(.*?)(\d+)(\D*)$', re.DOTALL)


class Groups(NamedTuple):
    """``of``: images with one number are near-copies of each other.

    ``videos`` are groups that are video sequences; ``copies`` counts pairs that were
    found by their content alone; ``said`` says so in words.
    """

    of: dict[str, int]
    videos: dict[int, str]
    copies: int
    said: list[str]


def thumbnails(paths: Sequence[str], threads: int = 4) -> dict[str, np.ndarray | None]:
    """A small grey picture of each image; None where one cannot be read."""
    with ThreadPoolExecutor(threads) as pool:
        return dict(zip(paths, pool.map(thumbnail, paths), strict=True))


def thumbnail(path: str) -> np.ndarray | None:
    """``SIDE`` x ``SIDE`` grey values with mean 0 and a deviation near 1."""
    try:
        with open(path, 'rb') as file, Image.open(io.BytesIO(file.read())) as image:
            image.draft('L', (8 * SIDE, 8 * SIDE))
            small = image.convert('L').resize((SIDE, SIDE), Image.Resampling.BOX)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    values = np.asarray(small, np.float32)
    values = values - values.mean()
    return values / (values.std() + 4)


def sequences(names: Sequence[str]) -> list[list[str]]:
    """Names that differ in their last number alone, in its order.

    Where the numbers make a leap of ten usual steps, another sequence begins.

    >>> sequences(['b_3.png', 'a_2.png', 'a_10.png', 'a_1.png'])
    [['a_1.png', 'a_2.png', 'a_10.png'], ['b_3.png']]
    """
    series = defaultdict(list)
    for name in names:
        found = _NUMBERED.match(name.rpartition('.')[0] or name)
        key = (found[1], found[3]) if found else (name, '')
        series[key].append((int(found[2]) if found else 0, name))
    parts = []
    for key in sorted(series):
        frames = sorted(series[key])
        steps = [b[0] - a[0] for a, b in zip(frames, frames[1:], strict=False)]
        usual = float(np.median(steps)) if steps else 0
        part = [frames[0][1]]
        for step, (_, name) in zip(steps, frames[1:], strict=True):
            if step > _GAP * max(usual, 1):
                parts.append(part)
                part = []
            part.append(name)
        parts.append(part)
    return parts


def near_copies(thumbs: Mapping[str, np.ndarray | None]) -> Groups:
    """Groups of images that must not be spread over training and validation.

    Names alone say nothing (photographs are numbered, too): names that count on are
    frames of a video only where images that follow each other are clearly more alike
    than any two images.
    """
    names = [name for name, thumb in thumbs.items() if thumb is not None]
    parts = [part for part in sequences(names) if len(part) > 1]
    groups = _Union(thumbs)
    said, videos = [], []
    ratio = _likeness(parts, names, thumbs)
    if ratio < _LIKE_FRAMES:
        videos = parts
        for part in parts:
            for name in part[1:]:
                groups.join(part[0], name)
        said.append(
            f'{sum(map(len, parts))} images are frames of {len(parts)} video sequences '
            f'(names count on, and images that follow each other are {ratio:.0%} as '
            'different as any two): frames of one are kept together'
        )
    before = groups.number()
    pairs = _copies(names, thumbs)
    for one, other in pairs:
        groups.join(one, other)
    copies = before - groups.number()
    if copies:
        one, other = next(pair for pair in pairs)
        said.append(
            f'{copies} images are nearly equal to another, as {one} and {other}: they '
            'are kept together'
        )
    of = groups.numbers()
    return Groups(of, {of[part[0]]: part[0] for part in videos}, copies, said)


def _likeness(
    parts: Sequence[Sequence[str]], names: Sequence[str], thumbs: Mapping
) -> float:
    """Median distance of neighbours over that of any two images."""
    neighbours = [pair for part in parts for pair in zip(part, part[1:], strict=False)]
    if len(neighbours) < 3 or len(names) < 6:
        return 1.0
    rng = np.random.default_rng(0)
    step = max(1, len(neighbours) // _PAIRS)
    close = [_distance(thumbs[a], thumbs[b]) for a, b in neighbours[::step]]
    drawn = rng.integers(0, len(names), (min(_PAIRS, 4 * len(names)), 2))
    far = [_distance(thumbs[names[a]], thumbs[names[b]]) for a, b in drawn if a != b]
    return float(np.median(close) / max(np.median(far), 1e-6))


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).mean())


def _copies(names: Sequence[str], thumbs: Mapping) -> list[tuple[str, str]]:
    """Pairs whose 64-bit hashes differ in few bits, and whose thumbnails are equal.

    Of four parts of a hash one is equal where at most three bits differ.
    """
    hashes = {name: _hash(thumbs[name]) for name in names if np.any(thumbs[name])}
    buckets = defaultdict(list)
    for name, bits in hashes.items():
        for part in range(4):
            buckets[part, bits >> 16 * part & 0xFFFF].append(name)
    found = {}
    for bucket in buckets.values():
        for number, name in enumerate(bucket):
            for other in bucket[max(0, number - 50) : number]:
                near = (hashes[name] ^ hashes[other]).bit_count() <= _NEAR_BITS
                if near and _distance(thumbs[name], thumbs[other]) < _COPY:
                    found[other, name] = None
    return list(found)


def _hash(thumb: np.ndarray) -> int:
    cells = thumb.reshape(8, 2, 8, 2).mean((1, 3))
    bits = np.diff(cells, axis=1, append=cells[:, :1]) > 0
    return int.from_bytes(np.packbits(bits).tobytes(), 'big')


class _Union:
    """Sets of names that grow together."""

    def __init__(self, names) -> None:
        self.parent = {name: name for name in names}

    def root(self, name: str) -> str:
        while self.parent[name] != name:
            self.parent[name] = self.parent[self.parent[name]]
            name = self.parent[name]
        return name

    def join(self, one: str, other: str) -> None:
        self.parent[self.root(other)] = self.root(one)

    def number(self) -> int:
        return sum(self.parent[name] == name for name in self.parent)

    def numbers(self) -> dict[str, int]:
        known: dict[str, int] = {}
        return {
            name: known.setdefault(self.root(name), len(known)) for name in self.parent
        }
