"""What is checked before the first iteration: files and streams, headers only."""

import logging
import os
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from mmengine.logging import print_log

from .files import name_some
from .headers import Header, read_headers

_RULES = {
    'missing': ('do not exist', ''),
    'unreadable': ('cannot be read as an image', ''),
    'bands': ('have more than 4 bands', 'write RGB images'),
    'depth': ('have more than 8 bits a channel', 'convert them to 8 bits'),
}


class StreamFiles(NamedTuple):
    """Images of one stream, and their masks (None where there is none)."""

    images: list[str]
    masks: list[str | None]
    labeled: bool


def leaf_datasets(dataset: Any) -> list:
    """The datasets below wrappers (concatenated, repeated, class-balanced, ...).

    >>> class Leaf: ...
    >>> class Wrapper:
    ...     dataset = Leaf()
    >>> [type(leaf).__name__ for leaf in leaf_datasets(Wrapper())]
    ['Leaf']
    """
    if hasattr(dataset, 'datasets'):
        return [leaf for child in dataset.datasets for leaf in leaf_datasets(child)]
    if hasattr(dataset, 'dataset'):
        return leaf_datasets(dataset.dataset)
    return [dataset]


def stream_files(name: str, dataset: Any) -> StreamFiles:
    """Files of a stream, without loading one.

    A stream is labeled where its data infos have a ``seg_map_path``, except that
    streams named ``unlabeled...`` never are and ``labeled`` always is.
    """
    infos = [
        leaf.get_data_info(i)
        for leaf in leaf_datasets(dataset)
        for i in range(len(leaf))
    ]
    if any('img_path' not in info for info in infos):
        raise ValueError(f'stream {name!r}: a data info has no img_path')
    images = [info['img_path'] for info in infos]
    if name.startswith('unlabeled'):
        return StreamFiles(images, [None] * len(images), False)
    masks = [info.get('seg_map_path') for info in infos]
    return StreamFiles(images, masks, name == 'labeled' or any(masks))


def check_streams(
    streams: Mapping[str, Any],
    allow_overlap: bool = False,
    logger: logging.Logger | None = None,
) -> None:
    """Refuse streams that cannot be trained on; reads headers, decodes nothing.

    Args:
        streams: Dataset (with or without wrappers) of each named stream.
        allow_overlap: Log instead of refuse images that are in a labeled and in
            an unlabeled stream.

    Raises:
        ValueError: Lists every rule that is broken, with up to 10 files each.
    """
    files = {name: stream_files(name, dataset) for name, dataset in streams.items()}
    problems, notes = find_problems(files, allow_overlap)
    for note in notes:
        print_log(note, logger=logger or 'current', level=logging.WARNING)
    if problems:
        raise ValueError('\n'.join(['the data cannot be used:', *problems]))


def find_problems(
    files: Mapping[str, StreamFiles], allow_overlap: bool = False
) -> tuple[list[str], list[str]]:
    """(problems, notes) of the streams: one line a rule, in a fixed order."""
    paths = [p for f in files.values() for p in [*f.images, *f.masks] if p is not None]
    headers = read_headers(paths)
    problems: list[str] = []
    notes: list[str] = []
    for name, stream in files.items():
        found = [
            *_check_lists(stream),
            *_check_files('images', stream.images, headers),
            *_check_files('masks', [m for m in stream.masks if m], headers),
            *_check_masks(stream, headers),
        ]
        problems += [f'stream {name!r}: {text}' for text in found]
        notes += [f'stream {name!r}: {text}' for text in _mirrored(stream, headers)]
    shared = _check_overlap(files)
    (notes if allow_overlap else problems).extend(shared)
    return problems, notes


def _line(paths: list[str], what: str, rule: str, hint: str = '') -> list[str]:
    """One line for the offenders, none where there are none."""
    if not paths:
        return []
    hint = f' ({hint})' if hint else ''
    return [f'{len(paths)} {what} {rule}{hint}: {name_some(sorted(paths))}']


def _check_lists(stream: StreamFiles) -> list[str]:
    if not stream.images:
        return ['it is empty']
    counts = Counter(map(_place, stream.images))
    repeated = {p for p in stream.images if counts[_place(p)] > 1}
    found = _line(list(repeated), 'images', 'occur more than once', 'use RepeatDataset')
    if stream.labeled:
        pairs = zip(stream.images, stream.masks, strict=True)
        bare = [image for image, mask in pairs if mask is None]
        found += _line(bare, 'labeled images', 'have no mask', 'no seg_map_path')
    return found


def _check_files(what: str, paths: list[str], headers: dict[str, Header]) -> list[str]:
    found = []
    for problem, (rule, hint) in _RULES.items():
        bad = {p for p in paths if headers[p].problem == problem}
        named = [f'{p} [{headers[p].detail}]' if headers[p].detail else p for p in bad]
        found += _line(named, what, rule, hint)
    return found


def _check_masks(stream: StreamFiles, headers: dict[str, Header]) -> list[str]:
    colour, sizes, rotated = [], [], []
    for path, mask_path in zip(stream.images, stream.masks, strict=True):
        if mask_path is None or headers[mask_path].problem:
            continue
        image, mask = headers[path], headers[mask_path]
        if mask.mode not in ('L', 'P', '1'):
            colour.append(f'{mask_path} [{mask.mode}]')
        if image.problem or image.read_size == mask.size:
            continue
        sides = 'image {}x{}, mask {}x{}'.format(*image.read_size, *mask.size)
        text = f'{path} [{sides}]'
        (rotated if image.size == mask.size else sizes).append(text)
    return [
        *_line(colour, 'masks', 'are not index images', 'one band of class numbers'),
        *_line(sizes, 'images', 'and their masks differ in size'),
        *_line(
            rotated,
            'images',
            'are rotated by EXIF when they are read, their masks are not',
            'rotate the pixels and drop the tag, or rotate the masks',
        ),
    ]


def _mirrored(stream: StreamFiles, headers: dict[str, Header]) -> list[str]:
    """Rotations that keep the size: whether the mask follows cannot be seen."""
    pairs = zip(stream.images, stream.masks, strict=True)
    turned = [
        image
        for image, mask in pairs
        if mask is not None
        and headers[image].orientation > 1
        and headers[image].read_size == headers[mask].size
    ]
    return _line(
        turned, 'images', 'are rotated by EXIF when they are read: check their masks'
    )


def _check_overlap(files: Mapping[str, StreamFiles]) -> list[str]:
    found = []
    for name, stream in files.items():
        places = {_place(image, suffix=False) for image in stream.images}
        for other, unlabeled in files.items():
            if not stream.labeled or unlabeled.labeled:
                continue
            shared = {i for i in unlabeled.images if _place(i, suffix=False) in places}
            found += _line(
                list(shared),
                'images',
                f'are in the streams {name!r} and {other!r}',
                'allow_overlap=True accepts this',
            )
    return found


def _place(path: str, suffix: bool = True) -> str:
    path = path if '://' in path else os.path.realpath(path)
    return path if suffix else os.path.splitext(path)[0]
