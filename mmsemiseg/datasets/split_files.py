"""The files of a split: written, imported and audited."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from mmsemiseg.version import __version__

from .files import FileIndex, listed_name, name_some, read_names, strip_suffix
from .label_values import count_values, map_counts, read_mask

FORMAT = 1
Listed = tuple[list[str], list[str | None]]
"""Names of a list as written, and the stems they mean (None: no such image)."""


class MaskFolder:
    """Class pixels of the masks in a folder, each read once."""

    def __init__(
        self,
        folder: str,
        suffix: str = '.png',
        ignore_index: int = 255,
        reduce_zero_label: bool = False,
    ) -> None:
        if not os.path.isdir(folder):
            raise FileNotFoundError(f'--masks is no folder: {folder}')
        self.folder, self.suffix = folder, suffix
        self.ignore_index, self.reduce_zero_label = ignore_index, reduce_zero_label
        self._index = FileIndex([suffix])
        self._counts: dict[str, dict[int, int]] = {}

    def missing(self, stems: Sequence[str]) -> list[str]:
        """Stems without a mask."""
        return [stem for stem in stems if self._find(stem) is None]

    def count(self, stems: Sequence[str]) -> dict[str, dict[int, int]]:
        """Pixels of each class of each stem; FileNotFoundError without a mask."""
        if missing := self.missing(stems):
            raise FileNotFoundError(
                f'{len(missing)} images have no mask in {self.folder}: '
                f'{name_some(missing)}. If only some images have masks, make no '
                'split: list those that have one in labeled.txt'
            )
        todo = [stem for stem in stems if stem not in self._counts]
        with ThreadPoolExecutor() as pool:
            self._counts.update(zip(todo, pool.map(self._read, todo), strict=True))
        return {stem: self._counts[stem] for stem in stems}

    def _find(self, stem: str) -> str | None:
        return self._index.find(self.folder, stem + self.suffix)

    def _read(self, stem: str) -> dict[int, int]:
        counts = count_values(read_mask(self._find(stem)))
        counts = map_counts(counts, self.reduce_zero_label)
        counts.pop(self.ignore_index, None)
        return counts


def write_split(
    folder: str,
    labeled: Sequence[str],
    unlabeled: Sequence[str],
    settings: dict,
    masks: MaskFolder | None = None,
) -> None:
    """Write ``labeled.txt``, ``unlabeled.txt`` (sorted) and ``split.json``.

    The histogram of the whole is there where every image has a mask.
    """
    os.makedirs(folder, exist_ok=True)
    lists = dict(labeled=sorted(labeled), unlabeled=sorted(unlabeled))
    sidecar = dict(format=FORMAT, mmsemiseg=__version__, settings=settings)
    for name, stems in lists.items():
        data = ''.join(f'{listed_name(stem)}\n' for stem in stems).encode()
        with open(os.path.join(folder, f'{name}.txt'), 'wb') as file:
            file.write(data)
        digest = hashlib.sha256(data).hexdigest()
        sidecar[name] = dict(images=len(stems), sha256=digest)
    if masks is not None:
        sidecar['labeled']['classes'] = _histogram(masks, lists['labeled'])
        whole = sorted([*labeled, *unlabeled])
        if not masks.missing(whole):
            sidecar['whole'] = dict(images=len(whole), classes=_histogram(masks, whole))
    with open(os.path.join(folder, 'split.json'), 'w', encoding='utf-8') as file:
        json.dump(sidecar, file, indent=2)
        file.write('\n')


def import_list(path: str, stems: Sequence[str]) -> Listed:
    """Names of a published list as stems.

    Takes stems, file names, paths of which the end is below the image folder, and
    lines of an image and a mask path.
    """
    known = set(stems)
    lines = read_names(path, lambda name: _meant(name, known) is not None)
    names = [name for _, name in lines]
    return names, [_meant(name, known) for name in names]


def audit_split(
    labeled: Listed,
    unlabeled: Listed,
    stems: Sequence[str],
    masks: MaskFolder | None = None,
) -> list[str]:
    """Problems of a split, a line for each broken rule."""
    problems = []

    def report(found: Sequence[str], rule: str) -> None:
        if found:
            problems.append(f'{len(found)} {rule}: {name_some(sorted(found))}')

    parts = dict(labeled=labeled, unlabeled=unlabeled)
    for name, (names, found) in parts.items():
        if not names:
            problems.append(f'the {name} list is empty')
        lost = [n for n, stem in zip(names, found, strict=True) if stem is None]
        report(lost, f'names of the {name} list are no images')
        counts = Counter(stem for stem in found if stem is not None)
        report([s for s, n in counts.items() if n > 1], f'repeated in the {name} list')
    chosen, others = (set(found) - {None} for _, found in parts.values())
    report(list(chosen & others), 'images are in both lists')
    report(list(set(stems) - chosen - others), 'images are in neither list')
    if masks is not None:
        report(masks.missing(sorted(chosen)), 'labeled images have no mask')
    return problems


def _histogram(masks: MaskFolder, stems: Sequence[str]) -> dict[str, dict[str, int]]:
    pixels: Counter = Counter()
    images: Counter = Counter()
    for counts in masks.count(stems).values():
        pixels.update(counts)
        images.update(counts.keys())
    return {str(c): dict(pixels=pixels[c], images=images[c]) for c in sorted(pixels)}


def _meant(line: str, known: set[str]) -> str | None:
    for name in dict.fromkeys([line, line.split()[0]]):
        stem = strip_suffix(name)
        for form in [name] if stem is None else [name, stem]:
            parts = form.replace('\\', '/').strip('/').split('/')
            for i in range(len(parts)):
                tail = '/'.join(part for part in parts[i:] if part != '.')
                if tail in known:
                    return tail
    return None
