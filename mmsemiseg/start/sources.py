"""Folders of the user: which files are images, which are masks, what pairs them."""

import os
from collections.abc import Sequence
from typing import NamedTuple

from ..datasets.files import (
    check_stems,
    find_images,
    name_some,
    strip_suffix,
    walk_files,
)
from .naming import pair_names, tell_masks

IMAGE_FOLDERS = ('images', 'image', 'imgs', 'img', 'jpegimages', 'photos', 'rgb')


class Source(NamedTuple):
    """Images below ``root`` (relative paths), and the mask (a path) of some of them."""

    root: str
    images: list[str]
    masks: dict[str, str]
    mask_root: str
    said: list[str]

    def path(self, image: str) -> str:
        """The path of an image."""
        return os.path.join(self.root, image)


def read_source(
    images: str, masks: str | None = None, setting: str = '--images'
) -> Source:
    """Pair the images of a folder with their masks, by their names.

    Without ``masks``, or where one folder holds the other, words in names and folders
    tell images from masks.

    Raises:
        FileNotFoundError: A folder does not exist.
        ValueError: There is no image, no mask, or nothing that pairs them.
    """
    files = _find(images, setting)
    if masks is None or os.path.realpath(masks) == os.path.realpath(images):
        found, mask_files = tell_masks(files)
        said = [f'{images} holds {len(found)} images and {len(mask_files)} masks']
        mask_root = images
    else:
        mask_files = _find(masks, '--masks' if setting == '--images' else setting)
        found, mask_files = _apart(images, files, masks, mask_files)
        said, mask_root = [], masks
    check_stems(f'{setting} {images}', found, lambda name: strip_suffix(name) or name)
    pairs = pair_names(found, mask_files)
    image, mask = next(iter(pairs.masks.items()))
    if not pairs.same_names:
        said.append(f'masks have names of their own: {mask} is the mask of {image}')
    if pairs.lonely:
        said.append(
            f'{len(pairs.lonely)} masks have no image and are not used: '
            f'{name_some(pairs.lonely, 3)}'
        )
    said.append(f'{len(pairs.masks)} of {len(found)} images have a mask')
    full = {i: os.path.join(mask_root, m) for i, m in pairs.masks.items()}
    return Source(images, found, full, mask_root, said)


def read_validation(folders: Sequence[str]) -> Source:
    """Validation images and masks: two folders, or one that holds both.

    Raises:
        ValueError: An image has no mask.
    """
    if len(folders) == 2:
        source = read_source(folders[0], folders[1], '--val')
    else:
        source = read_source(folders[0], None, '--val')
    bare = [name for name in source.images if name not in source.masks]
    if bare:
        raise ValueError(
            f'--val {folders[0]}: {len(bare)} of {len(source.images)} images have no '
            f'mask: {name_some(bare, 3)}'
        )
    return source


def read_unlabeled(folders: Sequence[str]) -> list[str]:
    """Paths of all images in the folders.

    Raises:
        FileNotFoundError: A folder does not exist; ValueError: It holds no image.
    """
    return [
        os.path.join(folder, name)
        for folder in folders
        for name in _find(folder, '--unlabeled')
    ]


def _find(folder: str, setting: str) -> list[str]:
    if not os.path.isdir(folder):
        what = 'is a file' if os.path.exists(folder) else 'does not exist'
        raise FileNotFoundError(f'{setting} must be a folder, but {folder} {what}')
    found = find_images(folder)
    if not found:
        others = sorted({os.path.splitext(name)[1] for name in walk_files(folder)})
        if not others:
            raise ValueError(
                f'{setting} {folder} has no image: there is no file in it, nor in its '
                'sub-folders'
            )
        kinds = ', '.join(kind or 'without suffix' for kind in others)
        polygons = '.json' in others or '.xml' in others
        hint = '; polygons must be drawn into masks first' if polygons else ''
        raise ValueError(
            f'{setting} {folder} has no image, only files of the kinds {kinds}{hint}'
        )
    return found


def _apart(
    images: str, image_files: list[str], masks: str, mask_files: list[str]
) -> tuple[list[str], list[str]]:
    """Files of both folders where one lies in the other."""
    inner = {os.path.realpath(os.path.join(masks, name)) for name in mask_files}
    outer = {os.path.realpath(os.path.join(images, name)) for name in image_files}
    if len(outer) > len(inner):
        image_files = [
            name
            for name in image_files
            if os.path.realpath(os.path.join(images, name)) not in inner
        ]
    elif len(inner) > len(outer):
        mask_files = [
            name
            for name in mask_files
            if os.path.realpath(os.path.join(masks, name)) not in outer
        ]
    return image_files, mask_files
