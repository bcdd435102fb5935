import os
from collections.abc import Callable, Sequence

from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS

from .files import (
    IMAGE_SUFFIXES,
    FileIndex,
    check_stems,
    check_suffixes,
    expand_pattern,
    find_images,
    is_pattern,
    name_some,
    read_names,
    strip_suffix,
)


@DATASETS.register_module()
class UnlabeledDataset(BaseDataset):
    """Images without labels, from folders, patterns or lists of files.

    A data info is ``dict(img_path=...)`` and nothing else: there is no path of a mask,
    so no mask of these images can be opened.

    Args:
        images: Where the images are, one or several of: a folder (searched with its
            sub-folders), a glob pattern (``'seq*/**/*.jpg'``), a ``.txt`` list of
            names, one image file; all relative to ``data_root``. An image that is found
            more than once is taken once.
        data_root: Folder that all other paths are relative to.
        exclude: Images that are left out, such as the labeled ones of a split: list
            files, folders or patterns. Names in a list are looked up in ``image_dir``,
            or without it in the folders of ``images`` and in ``data_root``; suffixes do
            not matter. A folder of masks leaves out the images of the same names.
        image_dir: Folder of the names in list files, relative to ``data_root``; None:
            ``data_root`` itself.
        metainfo: Meta information of the data set, such as ``dict(classes=...,
            palette=...)``.
        pipeline: Transforms of a sample, which end with ``MultiView``,
            ``OverlapCrops`` or ``PackUnlabeledInputs``.
        suffixes: Suffixes of image files, compared without case.

    All other settings are those of MMEngine's ``BaseDataset``.

    Raises:
        FileNotFoundError: An entry, or a name in a list, does not exist.
        ValueError: No image is left, or two files differ in their suffix alone (and may
            be an image and its mask).
    """

    def __init__(
        self,
        images: str | Sequence[str],
        data_root: str = '',
        exclude: str | Sequence[str] | None = None,
        image_dir: str | None = None,
        metainfo: dict | None = None,
        pipeline: Sequence[dict | Callable] = (),
        suffixes: Sequence[str] = IMAGE_SUFFIXES,
        indices: int | Sequence[int] | None = None,
        serialize_data: bool = True,
        test_mode: bool = False,
        lazy_init: bool = False,
        max_refetch: int = 0,
    ) -> None:
        self.images = _as_list('images', images)
        self.exclude = _as_list('exclude', exclude) if exclude is not None else []
        self.image_dir = image_dir
        self.suffixes = check_suffixes(suffixes)
        super().__init__(
            metainfo=metainfo,
            data_root=data_root or '',
            data_prefix=dict(),
            indices=indices,
            serialize_data=serialize_data,
            pipeline=list(pipeline),
            test_mode=test_mode,
            lazy_init=lazy_init,
            max_refetch=max_refetch,
        )

    def load_data_list(self) -> list[dict]:
        """``[dict(img_path=...)]``, sorted by path."""
        index = FileIndex(self.suffixes)
        found: list[str] = []
        for entry in self.images:
            seen = set(found)
            found += [p for p in self._expand(entry, index, 'images') if p not in seen]
        total = len(found)
        left_out = self._excluded(index, {self._key(path) for path in found})
        found = [path for path in sorted(found) if self._key(path) not in left_out]
        if not found:
            searched = ', '.join(self._join(entry) for entry in self.images)
            raise ValueError(
                f'images={self.images!r} gives no image: searched {searched} for '
                f'suffixes {self.suffixes}, found {total}, exclude={self.exclude!r} '
                f'left out {total}'
            )
        check_stems(f'images={self.images!r}', found, self._key)
        return [dict(img_path=path) for path in found]

    def _join(self, path: str) -> str:
        return os.path.normpath(os.path.join(self.data_root, path))

    def _key(self, path: str) -> str:
        stem = strip_suffix(path, self.suffixes)
        folder, name = os.path.split(path if stem is None else stem)
        return os.path.join(os.path.realpath(folder), name)

    def _expand(self, entry: str, index: FileIndex, setting: str) -> list[str]:
        path = self._join(entry)
        if is_pattern(path):
            fits = expand_pattern(path)
            return [f for f in fits if strip_suffix(f, self.suffixes) is not None]
        if os.path.isdir(path):
            return [os.path.join(path, f) for f in find_images(path, self.suffixes)]
        if not os.path.isfile(path):
            raise FileNotFoundError(f'{setting}={entry!r} does not exist: {path}')
        if path.lower().endswith('.txt'):
            root = self._join(self.image_dir or '')
            names = read_names(path, lambda name: index.find(root, name))
            files = [index.find(root, name) for _, name in names]
            _check_found(setting, entry, [root], names, files)
            return files
        if strip_suffix(path, self.suffixes) is None:
            raise ValueError(
                f'{setting}={entry!r} must be a folder, a pattern, a .txt list or an '
                f'image with one of the suffixes {self.suffixes}'
            )
        return [path]

    def searched_folders(self) -> list[str]:
        """The folders that ``images`` names; of a list that of the names in it."""
        lists = self._join(self.image_dir or '')
        is_list = [entry.lower().endswith('.txt') for entry in self.images]
        return [
            lists if of_list else folder
            for of_list, folder in zip(is_list, self._folders(), strict=True)
        ]

    def _folders(self) -> list[str]:
        """Folder of each entry of ``images``, without patterns and file names."""
        folders = []
        for path in map(self._join, self.images):
            while is_pattern(path):
                path = os.path.dirname(path)
            folders.append(path if os.path.isdir(path) else os.path.dirname(path))
        return folders

    def _roots(self) -> list[str]:
        if self.image_dir is not None:
            return [self._join(self.image_dir)]
        return list(dict.fromkeys([*self._folders(), self._join('')]))

    def _excluded(self, index: FileIndex, found: set[str]) -> set[str]:
        keys: set[str] = set()
        roots = self._roots()
        for entry in self.exclude:
            path = self._join(entry)
            is_list = path.lower().endswith('.txt') and os.path.isfile(path)
            if is_list:
                names = read_names(
                    path, lambda name: any(index.find(root, name) for root in roots)
                )
                fits = [[index.find(root, name) for root in roots] for _, name in names]
                _check_found(
                    'exclude', entry, roots, names, [any(f) or None for f in fits]
                )
                keys.update(self._key(f) for of_name in fits for f in of_name if f)
                continue
            files = self._expand(entry, index, 'exclude')
            own = {self._key(file) for file in files}
            if os.path.isdir(path) and not own & found:  # a folder of masks
                stems = [os.path.relpath(f, path) for f in files]
                own = {self._key(os.path.join(r, s)) for r in roots for s in stems}
            keys |= own
        return keys


def _as_list(setting: str, value: str | Sequence[str]) -> list[str]:
    entries = [value] if isinstance(value, (str, os.PathLike)) else list(value)
    entries = [os.fspath(entry) for entry in entries]
    if not entries or not all(entries):
        raise ValueError(f'{setting} must name at least one path, but got {value!r}')
    return entries


def _check_found(
    setting: str, entry: str, roots: list[str], names: list, files: list
) -> None:
    missing = [
        f'{n} (line {i})' for (i, n), f in zip(names, files, strict=True) if f is None
    ]
    if missing:
        raise FileNotFoundError(
            f'{setting}={entry!r}: no image for {len(missing)} of {len(names)} names '
            f'in {", ".join(roots)}: {name_some(missing)}'
        )
