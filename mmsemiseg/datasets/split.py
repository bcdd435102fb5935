"""Choosing which images are labeled: seeded, and the same on every machine."""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import zip_longest

from .files import name_some

Pixels = Mapping[str, Mapping[int, int]]
"""Number of pixels of each class of each image: ``pixels[stem][label]``."""

POOL = 32
"""Images that compete for the next place of a stratified split."""


def shuffled(stems: Sequence[str], seed: int) -> list[str]:
    """``stems`` in an order that depends on the seed and the names alone.

    >>> shuffled(['c', 'a', 'b'], 0) == shuffled(['a', 'b', 'c'], 0)
    True
    """
    return sorted(stems, key=lambda s: (_digest(f'{seed}:{s}'), s))


def evenly_spaced(stems: Sequence[str], count: int) -> list[str]:
    """``count`` of the sorted stems, with equal distances.

    >>> evenly_spaced(['0', '1', '2', '3', '4', '5'], 3)
    ['1', '3', '5']
    """
    stems, total = sorted(stems), len(stems)
    return [stems[(2 * i + 1) * total // (2 * count)] for i in range(count)]


def with_prefix(stems: Sequence[str], prefixes: Sequence[str]) -> list[str]:
    """Stems whose path or last part begins with one of the prefixes.

    >>> with_prefix(['train/0001TP_1', 'train/0006R0_1'], ['0006R0'])
    ['train/0006R0_1']

    Raises:
        ValueError: A prefix fits no stem.
    """
    prefixes = tuple(prefixes)
    forms = {stem: (stem, stem.rsplit('/', 1)[-1]) for stem in stems}
    for prefix in prefixes:
        if not any(f.startswith(prefix) for pair in forms.values() for f in pair):
            raise ValueError(f'prefix={prefix!r} fits none of {len(stems)} images')
    return [s for s, pair in forms.items() if any(f.startswith(prefixes) for f in pair)]


def grouped(stems: Sequence[str], pattern: str) -> dict[str, list[str]]:
    r"""The stems of each group; what the first (...) of ``pattern`` finds names it.

    >>> grouped(['1_2_s', '10_1_s', '1_3_s'], r'^(\d+)_')
    {'1': ['1_2_s', '1_3_s'], '10': ['10_1_s']}

    Raises:
        ValueError: ``pattern`` is no regular expression with a group in parentheses,
            or a stem has no group.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f'group={pattern!r} is no regular expression: {error}'
        ) from None
    if not expression.groups:
        raise ValueError(
            f'group={pattern!r} must hold parentheses around the name of the group, '
            r"as in '^(\d+)_'"
        )
    groups: dict[str, list[str]] = {}
    lost = []
    for stem in stems:
        found = expression.search(stem)
        if found is None or found[1] is None:
            lost.append(stem)
        else:
            groups.setdefault(found[1], []).append(stem)
    if lost:
        raise ValueError(
            f'group={pattern!r} finds no group in {len(lost)} of {len(stems)} names: '
            f'{name_some(lost)}'
        )
    return groups


def from_each_group(
    groups: Mapping[str, Sequence[str]], count: int, seed: int
) -> list[str]:
    """``count`` stems, from every group as many as from the others.

    Round by round each group, in seeded order, gives the next of its stems in seeded
    order. So a group that is smaller than its share gives all it has and the others
    give more, and a remainder comes from the groups that are first in seeded order.

    >>> from_each_group(dict(x=['x1', 'x2', 'x3'], y=['y1']), 3, seed=0)
    ['y1', 'x1', 'x3']

    Raises:
        ValueError: There are more groups than ``count``.
    """
    if count < len(groups):
        raise ValueError(
            f'count={count} is too small: there are {len(groups)} groups, and each '
            'gives at least one image'
        )
    members = [shuffled(groups[name], seed) for name in shuffled([*groups], seed)]
    rounds = zip_longest(*members)
    return [stem for one in rounds for stem in one if stem is not None][:count]


def stratified(
    stems: Sequence[str], count: int, pixels: Pixels, seed: int
) -> list[str]:
    """``count`` stems that hold every class and whose class shares are near the whole.

    First the classes that occur in the fewest images are covered. Then, of the next
    ``POOL`` images in seeded order, the one is taken that brings the shares of
    pixels and of images per class nearest (L1) to those of all images. Plain Python
    numbers: the result does not depend on the machine.

    Raises:
        ValueError: ``count`` images cannot hold all classes.
    """
    order = shuffled(stems, seed)
    images_of = Counter(label for stem in stems for label in pixels[stem])
    for pool in (POOL, len(order)):
        chosen = _cover(order, pixels, images_of, pool)
        if len(chosen) <= count:
            break
    else:
        raise ValueError(
            f'count={count} is too small for a stratified split: {len(images_of)} '
            f'classes need {len(chosen)} images'
        )
    whole = _Shares(images_of)
    for stem in stems:
        whole.add(pixels[stem])
    part = _Shares(images_of)
    for stem in chosen:
        part.add(pixels[stem])
    taken = set(chosen)
    left = [stem for stem in order if stem not in taken]
    while len(chosen) < count:
        pool = left[:POOL]
        best = min(pool, key=lambda s: whole.distance(part, pixels[s]))
        part.add(pixels[best])
        chosen.append(best)
        left.remove(best)
    return chosen


def _cover(
    order: list[str], pixels: Pixels, images_of: Counter, pool: int
) -> list[str]:
    missing = set(images_of)
    chosen: list[str] = []
    while missing:
        rarest = min(missing, key=lambda label: (images_of[label], label))
        fits = [stem for stem in order if rarest in pixels[stem]][:pool]
        best = max(fits, key=lambda s: len(missing & pixels[s].keys()))
        chosen.append(best)
        missing -= pixels[best].keys()
    return chosen


class _Shares:
    """Pixels and images of each class, in a growing set of images."""

    def __init__(self, labels: Counter) -> None:
        self.labels = sorted(labels)
        self.pixels: Counter = Counter()
        self.images: Counter = Counter()
        self.number = 0

    def add(self, pixels: Mapping[int, int]) -> None:
        self.pixels.update(pixels)
        self.images.update(pixels.keys())
        self.number += 1

    def distance(self, part: '_Shares', more: Mapping[int, int]) -> float:
        """L1 distance of the shares of ``part`` and one more image to ours."""
        total = max(sum(self.pixels.values()), 1)
        size = max(sum(part.pixels.values()) + sum(more.values()), 1)
        sums = 0.0
        for label in self.labels:
            n = part.pixels[label] + more.get(label, 0)
            sums += abs(n / size - self.pixels[label] / total)
            n = part.images[label] + (label in more)
            sums += abs(n / (part.number + 1) - self.images[label] / self.number)
        return sums


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
