"""Mask files of any form, written as index images with the names of their images."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..datasets.files import name_some, strip_suffix
from .classes import ClassTable, find_class_file, read_classes
from .formats import Guess, colour_array, guess_classes, totals, uses_colours
from .mask_values import MaskValues, read_values

_MOST_UNKNOWN = 0.02  # share of pixels with a value that no class has


class WrittenMask(NamedTuple):
    """A converted mask: its file, pixels by class number, pixels without a class."""

    path: str
    pixels: dict[int, int]
    unknown: int


def choose_classes(
    masks: Sequence[MaskValues],
    folders: Sequence[str],
    class_file: str | None = None,
    ignored: Sequence[str] | None = None,
) -> Guess:
    """Classes by a file, one that lies beside the masks, or by the values that occur.

    Args:
        masks: Values of all masks.
        folders: Folders that may hold a class file.
        class_file: File that the user names.
        ignored: Values that are ignored, as text ('255', '#ff00ff', 'none').

    Raises:
        ValueError: The file does not fit the masks, or nothing tells the classes.
    """
    colours = uses_colours(masks)
    path = class_file or find_class_file(folders)
    if path is None:
        given = None if ignored is None else parse_values(ignored, colours)
        return guess_classes(masks, given)
    table = read_classes(path, as_numbers=not colours)
    if colours and not table.colours:
        text = f'{path} has no colours, but the masks are coloured'
        if class_file is not None:
            raise ValueError(f'{text}: write a name and its colour in each line')
        guess = guess_classes(masks, None)
        return Guess(guess.table, [*guess.said, f'{text}: it is not used'])
    if ignored is not None:
        table = table._replace(ignored=tuple(parse_values(ignored, table.colours)))
    pixels = totals(masks, table.colours)
    known = table.known()
    strange = {v: n for v, n in pixels.items() if v not in known}
    said = [f'{len(table.classes)} classes by {path}']
    share = sum(strange.values()) / max(sum(pixels.values()), 1)
    if strange and table.other == 'refuse':
        shown = ', '.join(map(table.text, sorted(strange, key=strange.get)[:-6:-1]))
        if share > _MOST_UNKNOWN:
            raise ValueError(
                f'{path} does not fit the masks: {share:.1%} of their pixels have '
                f'values that are not in it: {shown}'
            )
        table = table._replace(other='ignore')
        said.append(f'{share:.2%} of the pixels have other values ({shown}): ignored')
    return Guess(table, said)


def parse_values(texts: Sequence[str], colours: bool) -> list[int]:
    """Values of masks as numbers.

    >>> parse_values(['#ff0000'], True), parse_values(['none'], False)
    ([16711680], [])

    Raises:
        ValueError: A text is no number, or no colour such as '#ff0000'.
    """
    found = []
    for text in texts:
        if text == 'none':
            continue
        try:
            is_colour = text.startswith('#')
            number = int(text[1:], 16) if is_colour else int(text)
        except ValueError:
            number, is_colour = -1, not colours
        if is_colour != colours or number < 0:
            form = 'colours, as "#ff0000"' if colours else 'numbers, as 255'
            raise ValueError(f'--ignore must name {form}, or none, but got {text!r}')
        found.append(number)
    return found


def write_masks(
    pairs: Mapping[str, str], folder: str, table: ClassTable, threads: int = 4
) -> dict[str, WrittenMask]:
    """Write the mask of each image as ``folder/<stem of the image>.png``.

    Args:
        pairs: Mask file of each image; images are relative paths.

    Raises:
        ValueError: A mask has values without a class, where the table refuses those.
    """

    def write(item: tuple[str, str]) -> tuple[str, WrittenMask]:
        image, source = item
        kind, values, palette = read_values(source)
        if table.colours:
            values = colour_array(kind, values, palette)
        index, unknown = table.to_index(values)
        path = os.path.join(folder, f'{strip_suffix(image)}.png')
        os.makedirs(os.path.dirname(path), exist_ok=True)
        picture = Image.fromarray(index)
        picture.save(path, optimize=False)
        found, counts = np.unique(index, return_counts=True)
        pixels = dict(zip(found.tolist(), counts.tolist(), strict=True))
        return image, WrittenMask(path, pixels, unknown)

    with ThreadPoolExecutor(threads) as pool:
        written = dict(pool.map(write, pairs.items()))
    bad = [pairs[image] for image, mask in written.items() if mask.unknown]
    if bad and table.other == 'refuse':
        raise ValueError(
            f'{len(bad)} masks have values without a class: {name_some(bad, 3)}'
        )
    return written
