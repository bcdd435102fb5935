"""The labels in the masks of a stream, and classes that have none."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..files import name_some
from ..label_values import map_counts
from .streams import HELD_OUT, StreamFiles, leaf_datasets, reads_index_masks

Contents = Mapping[tuple[str, str], dict]
"""What was read of ('image' or 'mask', path), see ``content.ContentCache.read``."""


class StreamLabels(NamedTuple):
    """Labels of the masks that were read.

    ``pixels`` and ``images`` count per label; ``values`` are those in the files;
    ``classes`` are names, perhaps none; ``bad`` names masks with values that are no
    class; ``read`` of ``masks`` were read.
    """

    classes: tuple[str, ...]
    ignored: frozenset[int]
    pixels: Counter
    images: Counter
    values: frozenset[int]
    bad: list[str]
    read: int
    masks: int


def count_labels(
    dataset: Any, files: StreamFiles, contents: Contents, num_classes: int | None = None
) -> StreamLabels:
    """Labels of a stream, as training sees them.

    Args:
        contents: Contents of the masks that were read; others are left out.
        num_classes: Number of classes of datasets without class names.
    """
    pixels: Counter = Counter()
    images: Counter = Counter()
    values: set[int] = set()
    ignored: set[int] = set()
    bad, read = [], 0
    classes: tuple[str, ...] = ()
    masks = iter(files.masks)
    for leaf in leaf_datasets(dataset):
        names = class_names(leaf)
        classes = classes or names
        limit, ignore = len(names) or num_classes, getattr(leaf, 'ignore_index', 255)
        ignored.add(ignore)
        known = reads_index_masks(leaf)
        for i in range(len(leaf)):
            path = next(masks)
            content = contents.get(('mask', path), {})
            if 'values' not in content or not known:
                continue
            info = leaf.get_data_info(i)
            stored = {int(value): n for value, n in content['values'].items()}
            counts = map_counts(
                stored, info.get('reduce_zero_label', False), info.get('label_map')
            )
            read += 1
            values.update(stored)
            pixels.update(counts)
            images.update(counts.keys())
            wrong = [v for v in counts if limit and v >= limit and v != ignore]
            if wrong:
                number = sum(counts[v] for v in wrong)
                bad.append(f'{path} [values {wrong[:10]} in {number} pixels]')
    count = sum(mask is not None for mask in files.masks)
    found = classes, frozenset(ignored), pixels, images, frozenset(values), bad
    return StreamLabels(*found, read, count)


def class_names(leaf: Any) -> tuple[str, ...]:
    """Names of the classes of a dataset; none where it does not declare them."""
    return tuple((getattr(leaf, 'metainfo', None) or {}).get('classes') or ())


def wrong_values(labels: StreamLabels) -> list[str]:
    """A line where masks have values that are no class."""
    if not labels.bad:
        return []
    return [
        f'{len(labels.bad)} masks have values that are no class (below the number of '
        f'classes, or ignore_index){_binary(labels)}: {name_some(labels.bad)}'
    ]


def no_labels(labels: StreamLabels) -> list[str]:
    """A line where all pixels are ignored."""
    if not labels.read or labels.pixels.keys() - labels.ignored:
        return []
    return ['no mask has a pixel of any class' + _sample(labels)]


def missing_classes(labels: Mapping[str, StreamLabels]) -> list[str]:
    """Classes that no labeled training mask shows; one line, or none.

    Of validation and test data, masks that hold 0 and the ignored 255 alone.
    """
    training = {n: found for n, found in labels.items() if n not in HELD_OUT}
    training = {n: found for n, found in training.items() if found.read}
    lines = []
    names = {found.classes for found in training.values()}
    if len(names) == 1 and (classes := names.pop()):
        seen = set().union(*(found.pixels for found in training.values()))
        missing = [repr(name) for i, name in enumerate(classes) if i not in seen]
        what = f'class {missing[0]} has' if len(missing) == 1 else ''
        what = what or f'the classes {name_some(missing)} have'
        hints = {_binary(found) for found in training.values()}
        samples = dict.fromkeys(_sample(found) for found in training.values())
        if missing:
            lines.append(
                f'{what} no pixel in any labeled mask{"".join(samples)}'
                f'{hints.pop() if len(hints) == 1 else ""}'
            )
    for name in HELD_OUT:
        found = labels.get(name)
        if found and len(found.classes) > 1 and not found.bad and _binary(found):
            lines.append(
                f'stream {name!r}: no mask has a pixel of '
                f'{name_some([repr(c) for c in found.classes[1:]])}{_binary(found)}'
            )
    return lines


def _binary(labels: StreamLabels) -> str:
    """A hint where all masks together hold 0 and 255 alone."""
    if labels.values != {0, 255}:
        return ''
    ignored = '; 255 is ignore' if 255 in labels.ignored else ''
    return f'{ignored}: are these 0/255 masks? Write the numbers of classes, 0 and 1'


def _sample(labels: StreamLabels) -> str:
    if labels.read == labels.masks:
        return ''
    return (
        f' (in {labels.read} of {labels.masks} masks that were read; '
        'tools/check_data.py reads all)'
    )
