"""Which images train with labels, which without, and which validate."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..datasets.split import shuffled, stratified

VAL_SHARE = 0.2
MOST_VAL = 500
LEAST_LABELED = 4
_BLOCKS = 10  # of a video that is cut
_MOST_SET_ASIDE = 0.5  # of the unlabeled images, as frames of validation videos


class Partition(NamedTuple):
    """Names of the images of each stream, and what was decided, in words.

    ``aside`` are unlabeled images that are near-copies of validation images.
    """

    labeled: list[str]
    val: list[str]
    unlabeled: list[str]
    aside: list[str]
    said: list[str]


def partition(
    pixels: Mapping[str, Mapping[int, int]],
    unlabeled: Sequence[str],
    groups: Mapping[str, int],
    seed: int = 0,
    labels: int | None = None,
    val_share: float = VAL_SHARE,
    given_val: Sequence[str] = (),
) -> Partition:
    """Hold out whole groups of the images that have masks; the others train.

    Args:
        pixels: Pixels of each class (255 left out) of the images that have masks.
        unlabeled: Names of the images without masks.
        groups: Number of the group of near-copies of each image.
        labels: How many labels to use; the other images with masks count as
            unlabeled. None: all.
        val_share: Share of the images with masks that is held out.
        given_val: Names of validation images that the user gives: nothing is held
            out.

    Raises:
        ValueError: There are too few images with masks, or no unlabeled one.
    """
    said: list[str] = []
    names = sorted(pixels)
    val = list(given_val)
    if val:
        held = {groups[name] for name in val}
        near = [name for name in names if groups[name] in held]
        if near:
            said.append(
                f'{len(near)} images with masks are near-copies of validation images '
                f'({near[0]} ...): they train all the same, so validation flatters'
            )
    else:
        if len(names) < LEAST_LABELED:
            raise ValueError(
                f'{len(names)} images have masks, but {LEAST_LABELED} are needed, to '
                'train and to validate; or give validation images by --val'
            )
        val = _held_out(names, pixels, groups, val_share, seed, said)
    chosen = set(val)
    labeled = [name for name in names if name not in chosen]
    rest = list(unlabeled)
    if labels is not None:
        labeled, others = _some_labels(labeled, labels, pixels, seed)
        rest += others
        said.append(
            f'{labels} labels are used (--labels), stratified by class; the other '
            f'{len(others)} images with masks count as unlabeled'
        )
    rest, aside = _set_aside(rest, val, groups, said)
    if not rest:
        raise ValueError(
            'there is no image without a mask, and nothing to learn from without '
            'labels: give more images by --unlabeled, or let only some of the labels '
            'count (--labels 20, say)'
        )
    return Partition(sorted(labeled), sorted(val), sorted(rest), sorted(aside), said)


def _held_out(
    names: Sequence[str],
    pixels: Mapping[str, Mapping[int, int]],
    groups: Mapping[str, int],
    share: float,
    seed: int,
    said: list[str],
) -> list[str]:
    """Whole groups until the share is reached, with all classes where possible."""
    wanted = min(max(2, round(share * len(names))), MOST_VAL, len(names) - 2)
    members = _members(names, groups, wanted, said)
    order = shuffled([part[0] for part in members.values()], seed)
    order = sorted(members, key=lambda g: order.index(members[g][0]))
    left = Counter(label for name in names for label in pixels[name])
    val: list[str] = []
    seen: set[int] = set()
    while len(val) < wanted:
        able = [g for g in order if _may_leave(members[g], pixels, left)]
        fits = [g for g in able if len(val) + len(members[g]) <= 1.5 * wanted]
        if not (fits or (able and not val)):
            break
        best = max(
            fits or [min(able, key=lambda g: len(members[g]))],
            key=lambda g: len({c for n in members[g] for c in pixels[n]} - seen),
        )
        order.remove(best)
        for name in members[best]:
            left.subtract(pixels[name].keys())
            seen.update(pixels[name])
        val += members[best]
    if not val:  # every class is in one group alone: images, one by one
        val = shuffled(names, seed)[:wanted]
        said.append(
            'a class is in so few images that no group can be left out of training: '
            'validation images are drawn one by one'
        )
    reason = f'--val-share {share:g}'
    said.append(
        f'{len(val)} of {len(names)} images with masks are held out to validate '
        f'({reason}), the other {len(names) - len(val)} train'
    )
    if len(val) < 10:
        said.append(
            f'{len(val)} validation images are few: differences of some points mean '
            'nothing'
        )
    lacking = sorted({label for name in names for label in pixels[name]} - seen)
    if lacking and seen:
        said.append(f'no validation image shows the classes of number {lacking}')
    return val


def _members(
    names: Sequence[str], groups: Mapping[str, int], wanted: int, said: list[str]
) -> dict[str, list[str]]:
    """Names of each group; a group that is most of all is cut into blocks."""
    by_group = defaultdict(list)
    for name in names:
        by_group[groups[name]].append(name)
    members = {}
    for number, part in by_group.items():
        if len(part) <= max(2 * wanted, len(names) // 2):
            members[f'{number}'] = part
            continue
        size = -(-len(part) // _BLOCKS)
        for block in range(0, len(part), size):
            members[f'{number}.{block}'] = part[block : block + size]
        said.append(
            f'{len(part)} of {len(names)} images with masks are one group of '
            f'near-copies ({part[0]} ...): it is cut into blocks of {size} that '
            'follow each other, so validation flatters'
        )
    return members


def _may_leave(
    part: Sequence[str], pixels: Mapping[str, Mapping[int, int]], left: Counter
) -> bool:
    """Whether training keeps an image of each class without this group."""
    own = Counter(label for name in part for label in pixels[name])
    return all(left[label] > count for label, count in own.items())


def _some_labels(
    names: list[str], count: int, pixels: Mapping[str, Mapping[int, int]], seed: int
) -> tuple[list[str], list[str]]:
    if not 2 <= count <= len(names):
        raise ValueError(
            f'--labels must be from 2 to {len(names)}, the images with masks that are '
            f'not held out, but got {count}'
        )
    try:
        chosen = set(stratified(names, count, pixels, seed))
    except ValueError as error:
        raise ValueError(f'--labels {count}: {error}') from None
    return sorted(chosen), [name for name in names if name not in chosen]


def _set_aside(
    unlabeled: list[str], val: list[str], groups: Mapping[str, int], said: list[str]
) -> tuple[list[str], list[str]]:
    """(kept, left out): near-copies of validation images do not train."""
    held = {groups[name] for name in val}
    aside = [name for name in unlabeled if groups[name] in held]
    if not aside:
        return unlabeled, []
    if len(aside) > _MOST_SET_ASIDE * len(unlabeled):
        said.append(
            f'{len(aside)} of {len(unlabeled)} unlabeled images are near-copies of '
            'validation images; they are too many to leave out, so validation flatters'
        )
        return unlabeled, []
    said.append(
        f'{len(aside)} unlabeled images are near-copies of validation images and left '
        'out'
    )
    left = set(aside)
    return [name for name in unlabeled if name not in left], aside
