"""Whether masks have the size of their images, and photographs can be opened."""

from collections.abc import Mapping, Sequence

from ..datasets.files import name_some
from ..datasets.headers import Header
from .mask_values import MaskValues
from .sources import Source

_BROKEN = dict(missing='is missing', unreadable='cannot be read', end='is cut off')


def check_sizes(
    source: Source, masks: Sequence[MaskValues], headers: Mapping[str, Header]
) -> None:
    """Refuse masks of another size than their image.

    Images that are turned by EXIF are left to the check of all files, which says so.

    Args:
        masks: Values of the masks of the source, in its order.
        headers: Headers of the images, by path.

    Raises:
        ValueError: There are some.
    """
    sizes = {mask.path: mask.size for mask in masks}
    bad = []
    for image, path in source.masks.items():
        header, size = headers[source.path(image)], sizes[path]
        if header.problem or size in (header.read_size, header.size):
            continue
        sides = 'mask {}x{}, image {}x{}'.format(*size, *header.read_size)
        bad.append(f'{path} [{sides}]')
    if bad:
        raise ValueError(
            f'{len(bad)} of {len(sizes)} masks have another size than their image: '
            f'{name_some(bad, 3)}. Save them in the size of the image, or move them '
            'away: the image then counts as unlabeled'
        )


def check_readable(headers: Mapping[str, Header]) -> None:
    """Refuse images that cannot be opened.

    Raises:
        ValueError: There are some.
    """
    bad = [f'{p} {_BROKEN[h.problem]}' for p, h in headers.items() if _is_broken(h)]
    if bad:
        raise ValueError(
            f'{len(bad)} of {len(headers)} images are broken: {name_some(bad, 3)}. '
            'Repair them or move them away'
        )


def _is_broken(header: Header) -> bool:
    return header.problem in _BROKEN
