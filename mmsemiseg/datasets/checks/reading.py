"""Which files are read, beyond their headers."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from ..content import ContentCache
from ..files import name_some
from ..headers import Header
from ..split import shuffled
from .labels import Contents
from .streams import INDEX_MODES, StreamFiles

MASK_PIXELS = 400_000_000
"""Pixels of the masks of a stream that are read at the start of a run, at most: some
seconds. 2 000 masks of VOC, 200 of Cityscapes."""

_REPORTED = ('missing', 'unreadable', 'large', 'remote', 'end', 'bands', 'depth')


def read_some_masks(
    files: Mapping[str, StreamFiles], headers: Mapping[str, Header]
) -> Contents:
    """Masks of each stream: all, or a sample where they are many."""
    chosen: dict[tuple[str, str], None] = {}
    for stream in files.values():
        masks = {m for m in stream.masks if m and _is_index(headers[m])}
        left = MASK_PIXELS if stream.index_masks else 0
        for path in shuffled(sorted(masks), 0):
            width, height = headers[path].mask_size
            left -= width * height
            if left < 0:
                break
            chosen['mask', path] = None
    return dict(ContentCache().read_all(chosen))


def read_all_files(
    cache: ContentCache, progress: Callable[[Iterator], Iterable] = iter
) -> Callable[[Mapping[str, StreamFiles], Mapping[str, Header]], Contents]:
    """A reader of every image and mask, strictly.

    Args:
        cache: Cache of what is known already; it is saved.
        progress: Function that wraps the iterator over all files, say by a progress
            bar.
    """

    def read(files: Mapping[str, StreamFiles], headers: Mapping) -> Contents:
        todo = [('image', p) for f in files.values() for p in f.images]
        todo += [('mask', p) for f in files.values() for p in f.masks if p]
        contents = dict(progress(cache.read_all(dict.fromkeys(todo))))
        cache.save()
        return contents

    return read


def broken_files(
    stream: StreamFiles, contents: Contents, headers: Mapping[str, Header]
) -> list[str]:
    """Files that have a good header and cannot be decoded, or only with a warning."""
    broken = [
        f'{path} [{content["error"]}]'
        for kind, paths in (('image', stream.images), ('mask', stream.masks))
        for path in dict.fromkeys(filter(None, paths))
        if (kind == 'image' or _is_index(headers[path]))
        and 'error' in (content := contents.get((kind, path), {}))
        and headers[path].problem not in _REPORTED
    ]
    if not broken:
        return []
    return [f'{len(broken)} files cannot be decoded: {name_some(broken)}']


def _is_index(header: Header) -> bool:
    """Whether a mask can hold numbers of classes; other rules name those in colour."""
    return not header.problem and header.mode in INDEX_MODES
