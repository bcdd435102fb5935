"""Which mask belongs to which image, by their names alone."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ..datasets.files import strip_suffix

MASK_WORDS = frozenset(
    'mask masks label labels labelids labeltrainids trainids gt gtfine seg '
    'segmentation segmentations segmentationclass annotation annotations annot anno '
    'groundtruth truth matte'.split()
)
"""Words of a folder or a file that say "mask"."""

_SAMPLE = 40  # masks by which a rule is looked for
_TOKENS = re.compile(r'\d+|[^\W\d_]+|[\W_]+')
_NEAR = 20  # images of one part of a name that are compared


class Pairing(NamedTuple):
    """``masks`` of the images that have one; ``lonely`` masks have no image."""

    masks: dict[str, str]
    lonely: list[str]
    same_names: bool


def pair_names(images: Sequence[str], masks: Sequence[str]) -> Pairing:
    """Pair images and masks whose names are equal but for what all masks add.

    Names may differ by the suffix of the file, by a text before or behind, by a word
    in the middle (``frame_12`` and ``mask_12``), and by their folders.

    >>> pair_names(['a_1_rgb.jpg', 'a_2_rgb.jpg'], ['gt/a_2_gt.png']).masks
    {'a_2_rgb.jpg': 'gt/a_2_gt.png'}

    Args:
        images: Paths of images, relative to their folder.
        masks: Paths of masks, relative to theirs.

    Raises:
        ValueError: Two masks belong to one image, or no mask to any.
    """
    best: dict[str, list[str]] = {}
    same_names = True
    for number, key in enumerate(_rules(images, masks)):
        found = _apply(key, images, masks)
        if sum(map(len, found.values())) > sum(map(len, best.values())):
            best, same_names = found, number == 0
        if sum(map(len, best.values())) == len(masks):
            break
    if twice := {image: of for image, of in best.items() if len(of) > 1}:
        image, of = next(iter(twice.items()))
        raise ValueError(
            f'{len(twice)} images have more than one mask, as {image}: '
            f'{", ".join(of[:3])}; leave one of them in the folder'
        )
    if not best:
        raise ValueError(
            f'no mask belongs to an image: the masks are called {_some(masks)}, the '
            f'images {_some(images)}. A mask has the name of its image, but for what '
            'all masks add before, behind or as a word between'
        )
    pairs = {image: of[0] for image, of in best.items()}
    used = set(pairs.values())
    return Pairing(pairs, [mask for mask in masks if mask not in used], same_names)


def tell_masks(files: Sequence[str]) -> tuple[list[str], list[str]]:
    """(images, masks) of one folder, by the words of folders and files.

    Where no name says "mask", of two files with one name the PNG is the mask.

    >>> tell_masks(['1.jpg', '1.png', '2.jpg'])
    (['1.jpg', '2.jpg'], ['1.png'])
    >>> tell_masks(['img/1.png', 'labels/1.png'])
    (['img/1.png'], ['labels/1.png'])

    Raises:
        ValueError: Nothing tells them apart.
    """
    masks = {name for name in files if _says_mask(name)}
    if not masks:
        by_stem = defaultdict(list)
        for name in files:
            by_stem[strip_suffix(name)].append(name)
        for names in by_stem.values():
            png = [name for name in names if name.lower().endswith('.png')]
            if len(names) == 2 and len(png) == 1:
                masks.update(png)
    images = [name for name in files if name not in masks]
    if not masks or not images:
        raise ValueError(
            f'nothing tells images from masks among {_some(files)}: give the masks '
            'their own folder (--masks), or names that end in _mask'
        )
    return images, sorted(masks)


def _says_mask(name: str) -> bool:
    stem = strip_suffix(name) or name
    words = [w.lower() for w in re.split(r'[\W_]+', stem) if w]
    words += [re.sub(r'\d+', '', word) for word in words]
    return not MASK_WORDS.isdisjoint(words) or stem.endswith('_L')  # CamVid's


Key = Callable[[str, bool], str | None]
"""What a name has in common with its partner: (stem, is it a mask)."""


def _rules(images: Sequence[str], masks: Sequence[str]) -> Iterator[Key]:
    stems = [strip_suffix(name) or name for name in images]
    of_masks = [strip_suffix(name) or name for name in masks]
    yield lambda stem, _: stem
    yield lambda stem, _: os.path.basename(stem)
    names = [os.path.basename(stem) for stem in stems]
    of_masks = [os.path.basename(stem) for stem in of_masks]
    for rule in _affixes(names, of_masks):
        yield lambda stem, mask, rule=rule: _join(stem, rule.core(stem, mask))
        yield lambda stem, mask, rule=rule: rule.core(os.path.basename(stem), mask)
    common = _common_words(names), _common_words(of_masks)
    yield lambda stem, mask: _without(os.path.basename(stem), common[mask])


class _Affixes(NamedTuple):
    """Texts before and behind the common part of image and mask."""

    image: tuple[str, str]
    mask: tuple[str, str]

    def core(self, stem: str, mask: bool) -> str | None:
        before, behind = self.mask if mask else self.image
        name = os.path.basename(stem)
        fits = name.startswith(before) and name.endswith(behind)
        core = name[len(before) : len(name) - len(behind)]
        return core if fits and core else None


def _affixes(images: Sequence[str], masks: Sequence[str]) -> list[_Affixes]:
    """The rules that pair most masks of a sample, best first."""
    by_part = defaultdict(list)
    for image in images:
        for part, affix in _parts(image):
            if len(by_part[part]) < _NEAR:
                by_part[part].append(affix)
    votes: Counter = Counter()
    step = max(1, len(masks) // _SAMPLE)
    for mask in masks[::step]:
        rules = {
            _Affixes(affix, own)
            for part, own in _parts(mask)
            for affix in by_part.get(part, ())
        }
        votes.update(rules)
    ranked = sorted(
        votes, key=lambda r: (-votes[r], len(''.join([*r.image, *r.mask])), r)
    )
    return ranked[:8]


def _parts(name: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """(part, (before, behind)) of a name; parts without a digit only as a whole."""
    tokens = _TOKENS.findall(name)[:16]
    name = ''.join(tokens)
    ends = [0]
    for token in tokens:
        ends.append(ends[-1] + len(token))
    for i, start in enumerate(ends[:-1]):
        for end in ends[i + 1 :]:
            part = name[start:end]
            if any(c.isdigit() for c in part) or start == 0 or end == len(name):
                yield part, (name[:start], name[end:])


def _common_words(names: Sequence[str]) -> frozenset[str]:
    """The words, not numbers, that all names have."""
    found = None
    for name in names:
        words = {t for t in _TOKENS.findall(name) if not t.isdigit()}
        found = words if found is None else found & words
    return frozenset(found or ())


def _without(name: str, words: frozenset[str]) -> str | None:
    left = [t for t in _TOKENS.findall(name) if t not in words and t.strip('_-. ')]
    return ' '.join(left) or None


def _join(stem: str, core: str | None) -> str | None:
    return None if core is None else os.path.join(os.path.dirname(stem), core)


def _apply(
    key: Key, images: Sequence[str], masks: Sequence[str]
) -> dict[str, list[str]]:
    by_key = defaultdict(list)
    for image in images:
        by_key[key(strip_suffix(image) or image, False)].append(image)
    by_key.pop(None, None)
    found = defaultdict(list)
    for mask in masks:
        fits = by_key.get(key(strip_suffix(mask) or mask, True), ())
        if len(fits) == 1:
            found[fits[0]].append(mask)
    return found


def _some(names: Sequence[str]) -> str:
    return ', '.join(list(names)[:3]) + (', ...' if len(names) > 3 else '')
