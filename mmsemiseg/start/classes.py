"""The classes of a data set, and what stands for each in the mask files."""

import csv
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .mask_values import hex_colour

IGNORED_NAMES = frozenset(
    'void ignore ignored unlabeled unlabelled unknown unclassified dontcare'.split()
)
CLASS_FILES = (
    'classes.json',
    'class_dict.csv',
    'classes.csv',
    'labelmap.txt',
    'label_colors.txt',
    'classes.txt',
    'codes.txt',
)
"""Names of files beside masks that are read as lists of classes."""

IGNORE = 255  # in the masks that are written
_KNOWN = {0x000000: 'black', 0xFFFFFF: 'white', 0xFF0000: 'red', 0x00FF00: 'green'}
_KNOWN |= {0x0000FF: 'blue', 0xFFFF00: 'yellow', 0xFF00FF: 'magenta', 0x00FFFF: 'cyan'}


class ClassEntry(NamedTuple):
    """``values`` in the mask files are this class; ``colour`` paints it."""

    name: str
    values: tuple[int, ...]
    colour: int


class ClassTable(NamedTuple):
    """Classes by number, and values that are ignored.

    ``colours``: values are colours (``0xRRGGBB``), not numbers. ``other`` says what
    becomes of values that are not in the table: 'refuse', 'ignore', 'nearest' value.
    """

    classes: tuple[ClassEntry, ...]
    ignored: tuple[int, ...]
    colours: bool
    other: str = 'refuse'

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.classes)

    @property
    def palette(self) -> list[list[int]]:
        """[red, green, blue] of each class."""
        return [rgb(entry.colour) for entry in self.classes]

    def known(self) -> dict[int, int]:
        """Number of the class of each value; ``IGNORE`` for those that are ignored."""
        found = dict.fromkeys(self.ignored, IGNORE)
        for number, entry in enumerate(self.classes):
            found |= dict.fromkeys(entry.values, number)
        return found

    def text(self, value: int) -> str:
        """How a value is written: 7, or #ff0000."""
        return hex_colour(value) if self.colours else str(value)

    def to_index(self, values: np.ndarray) -> tuple[np.ndarray, int]:
        """Class numbers of mask values, and the pixels whose value is not known."""
        known = self.known()
        found, inverse = np.unique(values, return_inverse=True)
        index = np.array([known.get(int(v), IGNORE) for v in found], np.uint8)
        strange = np.array([int(v) not in known for v in found], bool)
        if self.other == 'nearest' and strange.any():
            index[strange] = self._nearest(found[strange], known)
        inverse = inverse.reshape(values.shape)
        return index[inverse], int(strange[inverse].sum())

    def _nearest(self, values: np.ndarray, known: dict[int, int]) -> np.ndarray:
        keys = np.array(list(known))
        points, centers = (_points(v, self.colours) for v in (values, keys))
        distances = ((points[:, None] - centers[None]) ** 2).sum(2)
        return np.array(list(known.values()), np.uint8)[distances.argmin(1)]


def rgb(colour: int) -> list[int]:
    """[red, green, blue] of a colour.

    >>> rgb(0x80ff00)
    [128, 255, 0]
    """
    return [colour >> 16, colour >> 8 & 255, colour & 255]


def _points(values: np.ndarray, colours: bool) -> np.ndarray:
    values = values.astype(np.int64)
    if not colours:
        return values[:, None]
    return np.stack([values >> 16, values >> 8 & 255, values & 255], 1)


def default_name(value: int, colours: bool) -> str:
    """A name for a class that nobody named.

    >>> default_name(3, False), default_name(0xff0000, True)
    ('class3', 'red')
    """
    return _KNOWN.get(value, hex_colour(value)) if colours else f'class{value}'


def paint(number: int) -> int:
    """A colour for the class of this number, as in VOC's palette.

    >>> [hex_colour(paint(n)) for n in (0, 1, 2)]
    ['#000000', '#800000', '#008000']
    """
    bands = [0, 0, 0]
    for shift in range(8):
        for band in range(3):
            bands[band] |= (number >> band & 1) << (7 - shift)
        number >>= 3
    return bands[0] << 16 | bands[1] << 8 | bands[2]


def write_classes(path: str, table: ClassTable) -> None:
    """Write a class file, which :func:`read_classes` reads and a user may edit."""
    content = dict(
        masks='colours' if table.colours else 'numbers',
        other=table.other,
        ignored=[_stored(value, table.colours) for value in table.ignored],
        classes=[
            dict(
                name=entry.name,
                masks=[_stored(value, table.colours) for value in entry.values],
                color=hex_colour(entry.colour),
            )
            for entry in table.classes
        ],
    )
    lists = json.dumps(content, indent=2, ensure_ascii=False)
    text = re.sub(r'\[\s+([^\[\]{}]*?)\s+\]', _one_line, lists)
    Path(path).write_text(f'{text}\n', encoding='utf-8')


def _one_line(match: re.Match) -> str:
    return f'[{re.sub(chr(92) + "s+", " ", match[1])}]'


def _stored(value: int, colours: bool) -> int | str:
    return hex_colour(value) if colours else value


def find_class_file(folders: Sequence[str]) -> str | None:
    """The first class file of ``CLASS_FILES`` in one of the folders."""
    paths = (os.path.join(folder, name) for folder in folders for name in CLASS_FILES)
    return next((path for path in paths if os.path.isfile(path)), None)


def read_classes(path: str, as_numbers: bool = False) -> ClassTable:
    """Classes of a file: ours (JSON), names with colours, or names alone.

    Read are lines of a name and three numbers in any order (``car 64 0 128``,
    ``car,64,0,128``, CVAT's ``car:64,0,128::``), or of a name alone, of which the first
    is number 0. A class that is called void, ignore or unlabeled is ignored where it
    has a colour.

    Args:
        as_numbers: Whether the line, not the colour, is the value in the masks.

    Raises:
        ValueError: The file is none of these; FileNotFoundError: There is none.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'class file does not exist: {path}')
    if path.lower().endswith('.json'):
        return _read_json(path)
    with open(path, encoding='utf-8-sig') as file:
        lines = [line.strip() for line in file]
    lines = [line for line in lines if line and not line.startswith('#')]
    found = [_named_colour(line) for line in lines]
    if len(lines) > 1 and not found[0] and all(found[1:]):
        lines, found = lines[1:], found[1:]  # a line of titles
    if found and all(found):
        entries = [
            ClassEntry(name, (n if as_numbers else colour,), colour)
            for n, (name, colour) in enumerate(found)
        ]
        ignored = [e for e in entries if e.name.lower() in IGNORED_NAMES]
        kept = tuple(e for e in entries if e not in ignored)
        void = [e.values[0] for e in ignored] + [IGNORE] * as_numbers
        table = ClassTable(kept, tuple(dict.fromkeys(void)), not as_numbers)
    elif lines and not any(found):
        entries = enumerate(next(csv.reader([line]))[0].strip() for line in lines)
        table = ClassTable(
            tuple(ClassEntry(name, (n,), paint(n)) for n, name in entries),
            (IGNORE,),
            False,
        )
    else:
        bad = next((x for x, f in zip(lines, found, strict=True) if not f), '')
        raise ValueError(
            f'{path}: every line must be a class, or every line a class and its '
            f'colour as three numbers, but one is {bad!r}'
        )
    return _checked(path, table)


def _named_colour(line: str) -> tuple[str, int] | None:
    words = [word for word in re.split(r'[\s,:;]+', line) if word]
    numbers = [int(word) for word in words if re.fullmatch(r'\d{1,3}', word)]
    names = [word for word in words if not re.fullmatch(r'\d{1,3}', word)]
    if len(numbers) != 3 or not names or max(numbers) > 255:
        return None
    return ' '.join(names), numbers[0] << 16 | numbers[1] << 8 | numbers[2]


def _read_json(path: str) -> ClassTable:
    try:
        with open(path, encoding='utf-8') as file:
            content = json.load(file)
        colours = dict(colours=True, numbers=False)[content['masks']]
        table = ClassTable(
            tuple(
                ClassEntry(
                    str(entry['name']),
                    tuple(_value(v, colours) for v in _listed(entry['masks'])),
                    _value(entry['color'], True),
                )
                for entry in content['classes']
            ),
            tuple(_value(value, colours) for value in content.get('ignored', ())),
            colours,
            content.get('other', 'refuse'),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f'{path} is no class file: it must hold masks ("colours" or "numbers") and '
            f'classes, a list of name, masks and color ({type(error).__name__}: '
            f'{error})'
        ) from None
    return _checked(path, table)


def _listed(value: object) -> list:
    return value if isinstance(value, list) else [value]


def _value(value: object, colour: bool) -> int:
    if not colour:
        return int(value)
    if isinstance(value, str) and re.fullmatch('#[0-9a-fA-F]{6}', value):
        return int(value[1:], 16)
    raise ValueError(f'a colour must be written like "#ff0000", but is {value!r}')


def _checked(path: str, table: ClassTable) -> ClassTable:
    if not 2 <= len(table.classes) <= IGNORE:
        raise ValueError(
            f'{path}: there must be from 2 to {IGNORE} classes, but are '
            f'{len(table.classes)}'
        )
    for what, values in (
        ('name', [e.name for e in table.classes]),
        ('value', [v for e in table.classes for v in e.values] + [*table.ignored]),
    ):
        twice = [value for value in values if values.count(value) > 1]
        if twice:
            shown = table.text(twice[0]) if what == 'value' else repr(twice[0])
            raise ValueError(f'{path}: the {what} {shown} occurs twice')
    if table.other not in ('refuse', 'ignore', 'nearest'):
        raise ValueError(
            f"{path}: other must be 'refuse', 'ignore' or 'nearest', but is "
            f'{table.other!r}'
        )
    return table
