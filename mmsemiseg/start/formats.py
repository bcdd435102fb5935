"""Which classes the values of masks stand for, where no file says so."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .classes import IGNORE, ClassEntry, ClassTable, default_name, paint, rgb
from .mask_values import MaskValues, hex_colour

VOID_OF_VOC = 0xE0E0C0
MOST_CLASSES = 64
_HIGHEST_INDEX = 64  # class numbers are below, grey levels to look at are not
_HIGHEST_DENSE = 200  # the same where most numbers occur
_RARE = 0.1  # share of black that is hardly a background
_LEVELS_APART = 5  # between grey levels that were drawn
_NEAR_ENDS = 48  # of a smoothed black and white mask
_APART = 60  # between the colours of two classes in a smoothed mask
_LEAST_SHARE = 2e-3  # of pixels of exactly this colour
_BLEND_SHARE = 0.05  # a colour between two others needs more


class Guess(NamedTuple):
    """Classes of masks, and in words how they were found."""

    table: ClassTable
    said: list[str]


def guess_classes(masks: Sequence[MaskValues], ignored: Sequence[int] | None) -> Guess:
    """Classes of the values that occur in the masks.

    Args:
        masks: Values of all masks.
        ignored: Values that are no class; None: those that are known as such.

    Raises:
        ValueError: There are fewer than two classes, or too many values.
    """
    if uses_colours(masks):
        return _guess_colours(totals(masks, True), ignored)
    pixels = totals(masks, False)
    said = []
    if any(mask.kind == 'palette' for mask in masks):
        said.append('masks are palette images: their numbers are the classes')
    guess = _guess_numbers(pixels, ignored)
    table = _with_palette(guess.table, masks)
    return Guess(table, said + guess.said)


def uses_colours(masks: Sequence[MaskValues]) -> bool:
    """Whether colours tell the classes: palettes of one number may differ by file."""
    if any(mask.kind == 'colour' for mask in masks):
        return True
    colours: dict[int, int] = {}
    return any(
        colours.setdefault(value, colour) != colour
        for mask in masks
        for value, colour in mask.palette.items()
    )


def totals(masks: Sequence[MaskValues], colours: bool) -> Counter:
    """Pixels of each value, or of each colour, over all masks."""
    pixels: Counter = Counter()
    for mask in masks:
        for value, count in mask.counts.items():
            pixels[as_colour(mask.kind, value, mask.palette) if colours else value] += (
                count
            )
    return pixels


def as_colour(kind: str, value: int, palette: dict[int, int]) -> int:
    """The colour of a value in a mask of this kind."""
    if kind == 'colour':
        return value
    return palette.get(value, 0) if kind == 'palette' else min(value, 255) * 0x010101


def colour_array(kind: str, values: np.ndarray, palette: dict[int, int]) -> np.ndarray:
    """The values of a mask as colours."""
    if kind == 'colour':
        return values
    found, inverse = np.unique(values, return_inverse=True)
    colours = np.array([as_colour(kind, int(v), palette) for v in found], np.int64)
    return colours[inverse.reshape(values.shape)]


def _guess_numbers(pixels: Counter, ignored: Sequence[int] | None) -> Guess:
    values = sorted(pixels)
    others = [value for value in values if value != IGNORE] or [IGNORE]
    gaps = [b - a for a, b in zip(values, values[1:], strict=False)]
    is_index = others[-1] < _HIGHEST_INDEX or (
        others[-1] < _HIGHEST_DENSE and len(others) > others[-1] / 2
    )
    if not is_index and min(gaps, default=255) < _LEVELS_APART:
        return _smoothed_binary(pixels)
    if ignored is not None:
        return _numbers([v for v in values if v not in ignored], ignored, [])
    if values == [0, IGNORE]:
        text = 'masks are black and white (0 and 255): two classes, none is ignored'
        return _numbers(values, (), [text], ('background', 'foreground'))
    if is_index:
        said = [f'masks hold class numbers from {others[0]} to {others[-1]}']
        if others != list(range(others[0], others[0] + len(others))):
            said.append(
                f'only {len(others)} of them occur, they become 0 to {len(others) - 1}'
            )
        if IGNORE in values:
            said.append('255 is ignored')
        return _numbers(others, (IGNORE,), said)
    levels = ', '.join(map(str, values))
    said = [f'masks hold the grey levels {levels}: each is a class']
    return _numbers(values, (), said)


def _numbers(
    values: Sequence[int],
    ignored: Sequence[int],
    said: list[str],
    names: Sequence[str] | None = None,
) -> Guess:
    _require_two(values, False)
    names = names or [default_name(value, False) for value in values]
    entries = tuple(
        ClassEntry(name, (value,), paint(number))
        for number, (name, value) in enumerate(zip(names, values, strict=True))
    )
    return Guess(ClassTable(entries, tuple(ignored), False), said)


def _smoothed_binary(pixels: Counter) -> Guess:
    ends = sum(n for v, n in pixels.items() if not _NEAR_ENDS < v < 255 - _NEAR_ENDS)
    if max(pixels) > 255 or ends < 0.9 * sum(pixels.values()):
        raise ValueError(
            f'the masks hold {len(pixels)} different values, which are no classes. '
            'Masks that were smoothed, or saved as JPEG, must be drawn again, or their '
            'classes be named by --classes'
        )
    guess = _numbers([0, 255], (), [], ('background', 'foreground'))
    return Guess(
        guess.table._replace(other='nearest'),
        [
            f'masks are black and white with {len(pixels) - 2} levels between (saved '
            'as JPEG, or smoothed): below 128 is background'
        ],
    )


def _guess_colours(pixels: Counter, ignored: Sequence[int] | None) -> Guess:
    if ignored is None:
        ignored = [VOID_OF_VOC] if VOID_OF_VOC in pixels else []
    other, said = 'refuse', []
    colours = [colour for colour, _ in pixels.most_common() if colour not in ignored]
    if len(colours) > MOST_CLASSES:
        colours, near = _main_colours(pixels, colours)
        other = 'nearest'
        said.append(
            f'{len(pixels)} colours, of which {len(colours)} are of classes: the '
            f'others ({near:.1%} of the pixels; the masks were saved as JPEG, or '
            'smoothed) count as the nearest'
        )
    else:
        said.append(f'masks are coloured: {len(colours)} colours, each is a class')
    if ignored:
        said.append(f'ignored: {", ".join(map(hex_colour, ignored))}')
    _require_two(colours, True)
    rare = pixels[0] < _RARE * sum(pixels.values())
    if 0 in colours and len(colours) > 3 and rare:
        said.append('if black means "no label" here, add --ignore "#000000"')
    colours.sort(key=lambda colour: colour != 0)  # black is number 0, if it is there
    entries = tuple(ClassEntry(default_name(c, True), (c,), c) for c in colours)
    return Guess(ClassTable(entries, tuple(ignored), True, other), said)


def _main_colours(pixels: Counter, colours: list[int]) -> tuple[list[int], float]:
    """The colours that others are near to, and the share of those others."""
    total = sum(pixels.values())
    main: list[int] = []
    for colour in colours:
        if pixels[colour] < _LEAST_SHARE * total or len(main) > MOST_CLASSES:
            break
        rare = pixels[colour] < _BLEND_SHARE * total
        if all(_distance(colour, known) > _APART for known in main) and not (
            rare and _is_blend(colour, main)
        ):
            main.append(colour)
    distances = {c: min(_distance(c, known) for known in main or [c]) for c in pixels}
    far = sum(count for c, count in pixels.items() if distances[c] > _APART / 2)
    share = 1 - sum(pixels[colour] for colour in main) / total
    if len(main) > MOST_CLASSES or not main or far > 0.25 * total:
        raise ValueError(
            f'the masks hold {len(pixels)} colours: more than {MOST_CLASSES} are no '
            'classes. Are folders of images and masks exchanged? Else name the colours '
            'of the classes by --classes'
        )
    return main, share


def _is_blend(colour: int, main: Sequence[int]) -> bool:
    """Whether a colour lies between two others, as at the border of two classes."""
    point = np.array(rgb(colour))
    for number, one in enumerate(main):
        for other in main[:number]:
            start, way = np.array(rgb(one)), np.subtract(rgb(other), rgb(one))
            along = np.clip((point - start) @ way / (way @ way), 0, 1)
            if np.linalg.norm(start + along * way - point) < _APART:
                return True
    return False


def _distance(one: int, other: int) -> float:
    pairs = zip(rgb(one), rgb(other), strict=True)
    return sum((a - b) ** 2 for a, b in pairs) ** 0.5


def _with_palette(table: ClassTable, masks: Sequence[MaskValues]) -> ClassTable:
    """The table with the colours of palette images, where they differ."""
    palette = {v: c for mask in masks for v, c in mask.palette.items()}
    colours = [palette.get(entry.values[0]) for entry in table.classes]
    if None in colours or len(set(colours)) < len(colours):
        return table
    pairs = zip(table.classes, colours, strict=True)
    return table._replace(classes=tuple(e._replace(colour=c) for e, c in pairs))


def _require_two(values: Sequence[int], colours: bool) -> None:
    if len(values) < 2:
        shown = [hex_colour(v) if colours else str(v) for v in values]
        what = f'the value {shown[0]} alone' if shown else 'no value that is a class'
        raise ValueError(
            f'all masks together hold {what}: nothing is painted in them, but two '
            'classes are needed, a background and an object, say. Open one of them: '
            'they may have been saved wrongly, or --masks names another folder'
        )
