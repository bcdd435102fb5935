"""Names of what is written about images: their paths below the folder searched."""

import os
from collections.abc import Iterable
from typing import Any

from .checks import leaf_datasets
from .files import name_some


def image_names(dataset: Any) -> dict[str, str]:
    """Path of each image -> its path below the folder that was searched, no suffix.

    That folder is ``images`` of an :class:`UnlabeledDataset`, and ``img_path`` of
    ``data_prefix`` elsewhere. Of several folders, as in concatenated data sets, it is
    the deepest one that holds them all.

    Raises:
        ValueError: Two images would get one name.
    """
    leaves = leaf_datasets(dataset)
    paths = [
        leaf.get_data_info(index)['img_path']
        for leaf in leaves
        for index in range(len(leaf))
    ]
    folders = {folder for leaf in leaves for folder in _searched(leaf)}
    root = _common_folder(folders | {os.path.dirname(path) for path in paths})
    names = {
        path: os.path.splitext(os.path.relpath(path, root))[0].replace(os.sep, '/')
        for path in paths
    }
    check_unique(names, 'Rename one of them, or leave it out by a list of images')
    return names


def base_names(paths: Iterable[str]) -> dict[str, str]:
    """Path -> file name without suffix: how metrics of MMSegmentation name files."""
    return {path: os.path.splitext(os.path.basename(path))[0] for path in paths}


def check_unique(names: dict[str, str], remedy: str) -> None:
    """No two paths have one name; ``remedy`` is what the message tells to do.

    >>> check_unique({'a/1.png': '1', 'b/1.png': '1'}, 'Rename one')
    Traceback (most recent call last):
    ValueError: 1 images would overwrite ...: b/1.png that of a/1.png. Rename one
    """
    first: dict[str, str] = {}
    pairs = []
    for path, name in names.items():
        other = first.setdefault(name, path)
        if other != path:
            pairs.append(f'{path} that of {other}')
    if pairs:
        raise ValueError(
            f'{len(pairs)} images would overwrite the prediction of another one, '
            f'because both have one name: {name_some(pairs, 3)}. {remedy}'
        )


def _searched(leaf: Any) -> list[str]:
    """Folders in which a data set looks for images, as far as it says so."""
    if hasattr(leaf, 'searched_folders'):
        return leaf.searched_folders()
    folder = (getattr(leaf, 'data_prefix', None) or {}).get('img_path')
    return [folder] if folder else []


def _common_folder(folders: Iterable[str]) -> str:
    return os.path.commonpath([os.path.abspath(folder) for folder in folders])
