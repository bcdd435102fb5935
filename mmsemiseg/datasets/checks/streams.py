"""The files of a stream, and how its pipeline reads them."""

import os
from typing import Any, NamedTuple

from mmcv.transforms import LoadImageFromFile
from mmseg.datasets.transforms import LoadAnnotations

HELD_OUT = ('val', 'test')
"""Names under which validation and test data stand beside the training streams."""

INDEX_MODES = ('L', 'P', '1')
"""Pillow's modes of images of one band of at most 8 bits."""

_KNOWN = ('mmcv.', 'mmseg.', 'mmsemiseg.', 'mmengine.')


class StreamFiles(NamedTuple):
    """Images of one stream, and their masks (None where there is none).

    ``three_bands`` says that images are read as colours, ``index_masks`` that the
    numbers in the mask files are those that ``LoadAnnotations`` gives to training.
    """

    images: list[str]
    masks: list[str | None]
    labeled: bool
    three_bands: bool = True
    index_masks: bool = True


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
    leaves = leaf_datasets(dataset)
    infos = [leaf.get_data_info(i) for leaf in leaves for i in range(len(leaf))]
    if any('img_path' not in info for info in infos):
        raise ValueError(f'stream {name!r}: a data info has no img_path')
    images = [info['img_path'] for info in infos]
    three_bands = all(map(_reads_three_bands, leaves))
    if name.startswith('unlabeled'):
        return StreamFiles(images, [None] * len(images), False, three_bands)
    masks = [info.get('seg_map_path') for info in infos]
    labeled = name == 'labeled' or any(masks)
    known = all(map(reads_index_masks, leaves))
    return StreamFiles(images, masks, labeled, three_bands, known)


def place(path: str, suffix: bool = True) -> str:
    """The file itself, whatever links lead to it; without suffix where asked."""
    path = path if '://' in path else os.path.realpath(path)
    return path if suffix else os.path.splitext(path)[0]


def transforms_of(dataset: Any) -> list:
    """The steps of a dataset's pipeline; none where it has none."""
    return list(getattr(getattr(dataset, 'pipeline', None), 'transforms', ()))


def reads_index_masks(dataset: Any) -> bool:
    """Whether the numbers in the mask files are the labels, but for known mappings.

    A loader or another step of the user's own may change them.
    """
    steps = transforms_of(dataset)
    loads = [i for i, step in enumerate(steps) if isinstance(step, LoadAnnotations)]
    if not steps:
        return True
    later = steps[loads[0] :] if loads else []
    return bool(later) and all(type(s).__module__.startswith(_KNOWN) for s in later)


def _reads_three_bands(dataset: Any) -> bool:
    steps = transforms_of(dataset)
    loaders = [step for step in steps if isinstance(step, LoadImageFromFile)]
    return all(str(step.color_type).startswith('color') for step in loaders) and (
        bool(loaders) or not steps
    )
