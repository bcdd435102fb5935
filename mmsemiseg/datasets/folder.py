import os
from collections.abc import Sequence
from typing import Any

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from .files import (
    IMAGE_SUFFIXES,
    FileIndex,
    check_stems,
    check_suffixes,
    find_images,
    name_some,
    read_names,
    strip_suffix,
)


@DATASETS.register_module()
class FolderSegDataset(BaseSegDataset):
    """Labeled images from an image folder and a mask folder with the same names.

    ``data_prefix=dict(img_path=..., seg_map_path=...)`` names the two folders; without
    ``seg_map_path`` no masks are used. The mask of ``seq/0001.JPG`` is ``seq/0001`` +
    ``seg_map_suffix``.

    ``ann_file`` lists the images below ``img_path``, one a line, with or without suffix
    (``0001``, ``seq/0001.png``). Blank lines and lines that begin with ``#`` are
    skipped; a name that begins with ``#`` is written ``./#name``. Without ``ann_file``
    all images below ``img_path`` are taken, sorted. Masks in the same folder are left
    out if ``seg_map_suffix`` tells them from images (``_mask.png``).

    Args:
        suffixes: Suffixes of image files, compared without case.
        seg_map_suffix: Suffix of mask files, compared without case.
        base: All other settings are those of ``BaseSegDataset`` but ``img_suffix``.

    Raises:
        FileNotFoundError: The list, an image or a mask does not exist.
        ValueError: There is no image, a name fits two files, or two images with masks
            differ in their suffix alone (and may be an image and its mask).
    """

    def __init__(
        self,
        *,
        suffixes: Sequence[str] = IMAGE_SUFFIXES,
        seg_map_suffix: str = '.png',
        **base: Any,
    ) -> None:
        self.suffixes = check_suffixes(suffixes)
        super().__init__(seg_map_suffix=seg_map_suffix, **base)

    def load_data_list(self) -> list[dict]:
        """Data infos as of ``BaseSegDataset``, in the order of the list."""
        images = self._listed() if self.ann_file else self._all()
        if not images:
            raise ValueError(
                f'no image: ann_file={self.ann_file!r}, '
                f'img_path={self._image_dir!r}, suffixes={self.suffixes}'
            )
        infos = [
            dict(
                img_path=os.path.join(self._image_dir, name),
                label_map=self.label_map,
                reduce_zero_label=self.reduce_zero_label,
                seg_fields=[],
            )
            for name in images
        ]
        mask_dir = self.data_prefix.get('seg_map_path')
        if mask_dir is not None:
            for info, mask in zip(infos, self._masks(mask_dir, images), strict=True):
                info['seg_map_path'] = mask
        return infos

    @property
    def _image_dir(self) -> str:
        return self.data_prefix.get('img_path') or ''

    def _all(self) -> list[str]:
        if not os.path.isdir(self._image_dir or '.'):
            raise FileNotFoundError(f'img_path is no folder: {self._image_dir!r}')
        images = find_images(self._image_dir or '.', self.suffixes)
        if self._masks_among_images():
            end = self.seg_map_suffix.lower()
            images = [name for name in images if not name.lower().endswith(end)]
        if self.data_prefix.get('seg_map_path') is not None:  # both would have one mask
            place = f'img_path={self._image_dir!r}'
            check_stems(place, images, lambda name: strip_suffix(name, self.suffixes))
        return images

    def _masks_among_images(self) -> bool:
        """Whether masks lie beside the images and are told by their names."""
        mask_dir = self.data_prefix.get('seg_map_path')
        if mask_dir is None or strip_suffix(self.seg_map_suffix, self.suffixes) == '':
            return False
        return os.path.realpath(mask_dir) == os.path.realpath(self._image_dir)

    def _listed(self) -> list[str]:
        index = FileIndex(self.suffixes)
        images, missing = [], []
        names = read_names(
            self.ann_file, lambda name: index.find(self._image_dir, name)
        )
        for number, name in names:
            path = index.find(self._image_dir, name)
            if path is None:
                missing.append(f'{name} (line {number})')
            else:
                images.append(os.path.relpath(path, self._image_dir or '.'))
        if missing:
            raise FileNotFoundError(
                f'ann_file={self.ann_file!r}: no image for {len(missing)} of '
                f'{len(names)} names in {self._image_dir!r}: {name_some(missing)}'
            )
        return images

    def _masks(self, mask_dir: str, images: list[str]) -> list[str]:
        index = FileIndex([self.seg_map_suffix])
        stems = [strip_suffix(name, self.suffixes) for name in images]
        masks = [index.find(mask_dir, f'{stem}{self.seg_map_suffix}') for stem in stems]
        missing = [
            name for name, mask in zip(images, masks, strict=True) if mask is None
        ]
        if missing:
            raise FileNotFoundError(
                f'no mask for {len(missing)} of {len(images)} images in {mask_dir!r} '
                f'with seg_map_suffix={self.seg_map_suffix!r}: {name_some(missing)}'
            )
        return masks
