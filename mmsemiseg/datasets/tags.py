"""Images with tags: which classes are in them, without saying where."""

import json
from collections.abc import Callable, Sequence

from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS

from .files import FileIndex, name_some, read_names


@DATASETS.register_module()
class TagDataset(BaseDataset):
    """Images with image-level labels (tags); a data info has ``img_path``, ``tags``.

    A packing transform takes the tags along with ``meta_keys=(..., 'tags')``.

    Args:
        tags: File of tags, as :func:`read_tags` reads it.
        image_dir: Folder of the images. The file of tags may name them without suffix.
        classes: Names of all classes; a tag is an index into them.
        pipeline: Transforms of a sample.
    """

    def __init__(
        self,
        tags: str,
        image_dir: str,
        classes: Sequence[str],
        pipeline: Sequence[dict | Callable] = (),
    ) -> None:
        self.tags = tags
        self.image_dir = image_dir
        super().__init__(metainfo=dict(classes=tuple(classes)), pipeline=list(pipeline))

    def searched_folders(self) -> list[str]:
        """The folder that the names of images are relative to."""
        return [self.image_dir]

    def load_data_list(self) -> list[dict]:
        """``[dict(img_path=..., tags=[...])]`` in the order of the file."""
        tags = read_tags(self.tags, self.metainfo['classes'])
        index = FileIndex()
        paths = {name: index.find(self.image_dir, name) for name in tags}
        missing = [name for name, path in paths.items() if path is None]
        if missing:
            raise FileNotFoundError(
                f'tags={self.tags!r}: no image for {len(missing)} of {len(tags)} names '
                f'in {self.image_dir!r}: {name_some(missing)}'
            )
        return [dict(img_path=paths[name], tags=found) for name, found in tags.items()]


def read_tags(path: str, classes: Sequence[str]) -> dict[str, list[int]]:
    """Name of an image -> sorted class indices.

    JSON (a path that ends in ``.json``): ``{"name": ["class", ...]}``. Text: a line
    ``name: class class`` for each image; blank lines and ``#`` lines are skipped.
    Classes are names of ``classes`` or indices of it. An image may have none.

    Raises:
        ValueError: Names the image and the tag that is no class, an image that occurs
            twice, or a line or content of another form.
    """
    entries = _from_json(path) if path.lower().endswith('.json') else _from_text(path)
    if not entries:
        raise ValueError(f'{path} names no image')
    numbers = {name: index for index, name in enumerate(classes)}
    tags: dict[str, list[int]] = {}
    for name, found in entries:
        if name in tags:
            raise ValueError(f'{path}: the image {name!r} occurs more than once')
        tags[name] = sorted({_index(path, name, tag, numbers) for tag in found})
    return tags


def _from_json(path: str) -> list[tuple[str, list]]:
    with open(path, encoding='utf-8') as file:
        content = json.load(file)
    if not isinstance(content, dict):
        raise ValueError(f'{path} must hold {{"name": ["class", ...]}}')
    wrong = [name for name, found in content.items() if not isinstance(found, list)]
    if wrong:
        raise ValueError(f'{path}: the tags of {name_some(wrong)} must be lists')
    return list(content.items())


def _from_text(path: str) -> list[tuple[str, list]]:
    entries = []
    for number, line in read_names(path):
        name, colon, found = line.rpartition(':')
        if not colon or not name.strip():
            raise ValueError(
                f'{path}, line {number}: must be `name: class class`, but is {line!r}'
            )
        entries.append((name.strip(), found.split()))
    return entries


def _index(path: str, name: str, tag: str | int, numbers: dict[str, int]) -> int:
    if tag in numbers:
        return numbers[tag]
    known = range(len(numbers))
    if not isinstance(tag, bool) and str(tag).isdecimal() and int(tag) in known:
        return int(tag)
    raise ValueError(
        f'{path}: the tag {tag!r} of {name!r} must be a class of {list(numbers)} or '
        f'an index of it'
    )
