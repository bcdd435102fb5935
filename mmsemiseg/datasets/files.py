"""Finding image files by folder, glob pattern, list file or name."""

import glob
import io
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm')


def strip_suffix(name: str, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> str | None:
    """``name`` without its suffix, or None where no suffix of ``suffixes`` fits.

    The comparison ignores case, the longest suffix wins.

    >>> strip_suffix('seq/0001.JPG')
    'seq/0001'
    >>> strip_suffix('notes.md') is None
    True
    >>> strip_suffix('aachen_leftImg8bit.png', ('_leftImg8bit.png',))
    'aachen'
    """
    lower = name.lower()
    fits = [len(s) for s in suffixes if lower.endswith(s.lower())]
    return name[: -max(fits)] if fits else None


def check_suffixes(suffixes: Sequence[str]) -> tuple[str, ...]:
    """A tuple of suffixes, or ValueError where one is empty or no string."""
    if isinstance(suffixes, str):
        suffixes = (suffixes,)
    if not suffixes or not all(isinstance(s, str) and s for s in suffixes):
        raise ValueError(f'suffixes must be non-empty strings, but got {suffixes!r}')
    return tuple(suffixes)


def name_some(names: Sequence[str], limit: int = 10) -> str:
    """The first ``limit`` names, and how many more there are.

    >>> name_some(['a', 'b', 'c'], limit=2)
    'a, b and 1 more'
    """
    text = ', '.join(names[:limit])
    left = len(names) - limit
    return f'{text} and {left} more' if left > 0 else text


def read_names(
    path: str, is_name: Callable[[str], Any] | None = None
) -> list[tuple[int, str]]:
    """(line number, name) of a list file; blank lines and ``#`` lines are skipped.

    A name that begins with ``#`` is written ``./#name``.

    Args:
        is_name: Function that tells whether a text names a file; where the text of a
            ``#`` line does, it is a ValueError.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'list file does not exist: {path}')
    lines = _lines(path)
    for number, line in lines:
        if line.startswith('#') and is_name is not None and is_name(line):
            raise ValueError(
                f'{path}, line {number}: {line!r} is read as a comment, but a file has '
                f"that name: write './{line}' to list it, '# {line}' to leave it out"
            )
    return [(number, name) for number, name in lines if name and name[0] != '#']


def _lines(path: str) -> list[tuple[int, str]]:
    with open(path, 'rb') as file:
        content = file.read()
    try:
        text = io.StringIO(content.decode('utf-8-sig'), newline=None)
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b'\n') + 1
        raise ValueError(
            f'list file {path} must be UTF-8 text, but line {number} is not '
            f'({error.reason}): save it as UTF-8'
        ) from error
    return [(number, line.strip()) for number, line in enumerate(text, 1)]


def listed_name(name: str) -> str:
    """How a list file writes a name, so that :func:`read_names` reads it.

    >>> listed_name('seq/1'), listed_name('#1')
    ('seq/1', './#1')
    """
    return f'./{name}' if name.startswith('#') else name


def walk_files(folder: str) -> Iterator[str]:
    """Paths of all files below ``folder``, relative to it; links are followed once.

    Hidden files and folders are left out (``._0001.jpg``, ``.ipynb_checkpoints``).
    The order is that of the names, so it does not depend on the file system.
    """
    seen = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if name[0] != '.')
        for name in sorted(files):
            if name[0] != '.':
                path = os.path.relpath(os.path.join(root, name), folder)
                yield path.replace(os.sep, '/')


def find_images(folder: str, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> list[str]:
    """All images below ``folder``: paths relative to it, sorted."""
    found = (n for n in walk_files(folder) if strip_suffix(n, suffixes) is not None)
    return sorted(found)


def is_pattern(path: str) -> bool:
    """True where ``path`` is a glob pattern.

    A name of a file or folder that exists is none, whatever characters it has; nor are
    those of the folders that a pattern begins with.
    """
    return glob.has_magic(_split_pattern(path)[1])


def expand_pattern(path: str) -> list[str]:
    """The files that fit a pattern (``**`` for any folders), sorted."""
    folder, pattern = _split_pattern(path)
    found = glob.glob(os.path.join(glob.escape(folder), pattern), recursive=True)
    return sorted(filter(os.path.isfile, found))


def _split_pattern(path: str) -> tuple[str, str]:
    """The part of a path that exists, and the rest."""
    folder, rest = path, ''
    while folder and not os.path.exists(folder):
        folder, name = os.path.split(folder)
        if not name:  # no parent is left
            break
        rest = os.path.join(name, rest) if rest else name
    return folder, rest


def check_stems(setting: str, paths: Sequence[str], key: Callable[[str], str]) -> None:
    """ValueError where two images have one stem: one may be the mask of the other.

    Args:
        setting: Name of the setting that found the images, for the message.
        key: Function that gives the stem of a path.
    """
    first: dict[str, str] = {}
    pairs = []
    for path in paths:
        other = first.setdefault(key(path), path)
        if other != path:
            pairs.append(f'{other} and {os.path.basename(path)}')
    if pairs:
        raise ValueError(
            f'{setting} finds {len(pairs)} stems more than once, perhaps images and '
            f'their masks: {name_some(pairs)}; set suffixes=, for instance '
            "('.jpg',), or keep masks in a folder of their own"
        )


class FileIndex:
    """Finds files by name or stem, with one listing per folder.

    A name may be a stem (``0001``), a relative path without (``seq/0001``) or
    with its suffix (``seq/0001.png``). Suffixes are compared without case.
    """

    def __init__(self, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> None:
        self.suffixes = check_suffixes(suffixes)
        self._folders: dict[str, dict[str, list[str]]] = {}

    def find(self, root: str, name: str) -> str | None:
        """Path of ``name`` below ``root``, or None; ValueError if two files fit."""
        path = os.path.normpath(os.path.join(root, name))
        stem = strip_suffix(path, self.suffixes)
        if stem is not None and os.path.isfile(path):
            return path
        fits = self._of_stem(path)
        if not fits and stem is not None:  # 0001.jpg in the list, 0001.JPG on the disk
            suffix = path[len(stem) :].lower()
            fits = [f for f in self._of_stem(stem) if f.lower().endswith(suffix)]
        if len(fits) > 1:
            raise ValueError(
                f'the name {name!r} fits more than one file: {name_some(fits)}; '
                'name the file with its suffix, or set suffixes='
            )
        return fits[0] if fits else None

    def _of_stem(self, path: str) -> list[str]:
        folder, stem = os.path.split(path)
        if folder not in self._folders:
            self._folders[folder] = self._list(folder)
        return [os.path.join(folder, f) for f in self._folders[folder].get(stem, ())]

    def _list(self, folder: str) -> dict[str, list[str]]:
        files = defaultdict(list)
        names = os.listdir(folder or '.') if os.path.isdir(folder or '.') else ()
        for name in sorted(names):
            stem = strip_suffix(name, self.suffixes)
            if stem is not None and name[0] != '.':
                files[stem].append(name)
        return files
