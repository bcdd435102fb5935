"""The folders of the user, understood and written as lists and index masks."""

import os
from pathlib import Path
from typing import NamedTuple

from ..datasets.files import listed_name
from ..datasets.headers import read_headers
from .classes import IGNORE, ClassTable, write_classes
from .configs import DataFiles
from .mask_values import survey_all
from .masks import choose_classes, write_masks
from .near_copies import near_copies, thumbnails
from .options import Options, Say, tell, title
from .partition import Partition, partition
from .sources import Source, read_source, read_unlabeled, read_validation


class Data(NamedTuple):
    """Classes, lists of the streams, (width, height) of images, number of images."""

    table: ClassTable
    files: DataFiles
    sizes: list[tuple[int, int]]
    counts: dict[str, int]


def read_data(options: Options, out: str, say: Say) -> Data:
    """Understand the folders; write masks, lists and classes into ``out``.

    Raises:
        FileNotFoundError: A folder does not exist.
        ValueError: Nothing can be made of what is there.
    """
    title(say, 'Images and masks')
    source = read_source(options.images, options.masks)
    tell(say, source.said)
    val = read_validation(options.val) if options.val else None
    if val is not None:
        tell(say, [f'--val: {text}' for text in val.said])
    table = _classes(options, source, val, say)
    os.makedirs(os.path.join(out, 'data'), exist_ok=True)
    write_classes(os.path.join(out, 'classes.json'), table)
    written = write_masks(source.masks, os.path.join(out, 'data', 'masks'), table)
    if val is not None:
        write_masks(val.masks, os.path.join(out, 'data', 'val_masks'), table)
    pixels = {
        source.path(name): {c: n for c, n in mask.pixels.items() if c != IGNORE}
        for name, mask in written.items()
    }
    title(say, 'Split')
    split = _split(options, source, val, pixels, say)
    files = _write_lists(out, source, val, split)
    counts = dict(
        labeled=len(split.labeled),
        unlabeled=len(split.unlabeled),
        validation=len(split.val),
    )
    tell(say, [', '.join(f'{number} {name}' for name, number in counts.items())])
    headers = read_headers([*split.labeled, *split.unlabeled])
    sizes = [h.read_size for h in headers.values() if min(h.read_size) > 0]
    if not sizes:
        raise ValueError(f'no image in {options.images} can be read')
    return Data(table, files, sizes, counts)


def _classes(
    options: Options, source: Source, val: Source | None, say: Say
) -> ClassTable:
    masks = [*source.masks.values(), *(val.masks.values() if val else ())]
    folders = [source.mask_root, source.root]
    folders += [str(Path(folder).resolve().parent) for folder in folders]
    guess = choose_classes(survey_all(masks), folders, options.classes, options.ignore)
    tell(say, guess.said)
    wide = max(len(name) for name in guess.table.names)
    for number, entry in enumerate(guess.table.classes):
        values = ', '.join(map(guess.table.text, entry.values))
        say(f'    {number:3}  {entry.name:{wide}}  is {values} in the masks')
    if options.classes is None:
        path = os.path.join(options.out, 'classes.json')
        tell(say, [f'to name or merge classes, edit {path} and give it by --classes'])
    return guess.table


def _split(
    options: Options, source: Source, val: Source | None, pixels: dict, say: Say
) -> Partition:
    rest = [source.path(n) for n in source.images if n not in source.masks]
    rest += read_unlabeled(options.unlabeled)
    known = {os.path.realpath(path) for path in pixels}
    given = [val.path(name) for name in val.images] if val else []
    known |= {os.path.realpath(path) for path in given}
    unique = {os.path.realpath(path): path for path in rest}
    rest = [path for real, path in unique.items() if real not in known]
    groups = near_copies(thumbnails([*pixels, *rest, *given]))
    split = partition(
        pixels,
        rest,
        groups.of,
        options.seed,
        options.labels,
        options.val_share,
        given,
    )
    tell(say, groups.said + split.said)
    return split


def _write_lists(
    out: str, source: Source, val: Source | None, split: Partition
) -> DataFiles:
    data = Path(out) / 'data'
    held_root = val.root if val else source.root
    lists = dict(
        labeled=[os.path.relpath(path, source.root) for path in split.labeled],
        unlabeled=split.unlabeled,
        val=[os.path.relpath(path, held_root) for path in split.val],
    )
    for name, names in lists.items():
        text = ''.join(f'{listed_name(n)}\n' for n in names)
        (data / f'{name}.txt').write_text(text, encoding='utf-8')
    masks = str(data / 'masks')
    return DataFiles(
        source.root,
        masks,
        str(data / 'labeled.txt'),
        str(data / 'unlabeled.txt'),
        held_root,
        str(data / 'val_masks') if val else masks,
        str(data / 'val.txt'),
    )
