"""The folders of the user, understood and written as lists and index masks."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..datasets.files import listed_name, name_some
from ..datasets.headers import read_headers
from .classes import IGNORE, ClassTable, write_classes
from .configs import DataFiles
from .file_copies import file_copies
from .mask_values import MaskValues, survey_all
from .masks import choose_classes, write_masks
from .near_copies import near_copies, thumbnails
from .options import Options, Say, tell, title
from .pair_sizes import check_readable, check_sizes
from .partition import Partition, partition
from .sources import Source, read_source, read_unlabeled, read_validation
from .strays import strays


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
    sources = [source] if val is None else [source, val]
    surveyed = [survey_all(one.masks.values()) for one in sources]
    table = _classes(options, sources, surveyed, out, say)
    for one, masks in zip(sources, surveyed, strict=True):
        headers = read_headers(map(one.path, one.masks))
        check_readable(headers)
        check_sizes(one, masks, headers)
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
    options: Options,
    sources: Sequence[Source],
    surveyed: Sequence[list[MaskValues]],
    out: str,
    say: Say,
) -> ClassTable:
    masks = [mask for part in surveyed for mask in part]
    folders = [sources[0].mask_root, sources[0].root]
    folders += [str(Path(folder).resolve().parent) for folder in folders]
    guess = choose_classes(masks, folders, options.classes, options.ignore)
    tell(say, guess.said)
    wide = max(len(name) for name in guess.table.names)
    for number, entry in enumerate(guess.table.classes):
        values = ', '.join(map(guess.table.text, entry.values))
        say(f'    {number:3}  {entry.name:{wide}}  is {values} in the masks')
    if options.classes is None:
        file = os.path.join(out, 'classes.json')
        if out != options.out:
            file = 'a copy of classes.json, which is printed at the end,'
        tell(say, [f'to name or merge classes, edit {file} and give it by --classes'])
        tell(say, strays(guess.table, masks))
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
    check_readable(read_headers(rest))
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
    split = _without_labeled_copies(split)
    tell(say, groups.said + split.said)
    return split


def _without_labeled_copies(split: Partition) -> Partition:
    """Without unlabeled files that are labeled ones under another name.

    Raises:
        ValueError: No unlabeled image is left.
    """
    copies = set(file_copies(split.unlabeled, split.labeled))
    if not copies:
        return split
    kept = [path for path in split.unlabeled if path not in copies]
    some = name_some(sorted(copies), 3)
    if not kept:
        raise ValueError(
            'every image without a mask is a labeled image under another name, so '
            f'there is nothing to learn from without labels: {some}'
        )
    text = (
        f'{len(copies)} unlabeled images are labeled ones under another name ({some})'
    )
    return split._replace(unlabeled=kept, said=[*split.said, f'{text}: left out'])


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
