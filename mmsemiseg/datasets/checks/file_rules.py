"""Rules for the files of a stream, from their headers alone."""

from collections import Counter
from collections.abc import Mapping

from ..files import name_some
from ..headers import Header, pixel_limit
from .streams import INDEX_MODES, StreamFiles, place

_RULES = {
    'missing': ('do not exist', ''),
    'unreadable': ('cannot be read as an image', ''),
    'end': ('end too early', 'copy them again'),
    'large': (
        'have more than the {limit} pixels that Pillow and OpenCV read',
        'cut them into tiles, or raise PIL.Image.MAX_IMAGE_PIXELS in a module that '
        'custom_imports names',
    ),
    'bands': ('have more than 4 bands', 'write RGB images'),
    'depth': ('have more than 8 bits a channel', 'convert them to 8 bits'),
}


def file_problems(stream: StreamFiles, headers: Mapping[str, Header]) -> list[str]:
    """Problems of the files of a stream, a line for each rule, in a fixed order."""
    return [
        *_check_lists(stream),
        *_check_files('images', stream.images, headers),
        *_check_files('masks', [m for m in stream.masks if m], headers),
        *_check_masks(stream, headers),
    ]


def file_notes(stream: StreamFiles, headers: Mapping[str, Header]) -> list[str]:
    """Notes on files that may be as meant, but are worth a look."""
    fourth = {p for p in stream.images if headers[p].mode in ('RGBA', 'RGBX', 'RGBa')}
    return [
        *_mirrored(stream, headers),
        *one_line(
            fourth if stream.three_bands else (),
            'images',
            'have a fourth band (transparency or near infrared) that is not read: the '
            'network sees three',
        ),
    ]


def one_line(paths, what: str, rule: str, hint: str = '') -> list[str]:
    """One line for the offenders, none where there are none."""
    if not paths:
        return []
    hint = f' ({hint})' if hint else ''
    return [f'{len(paths)} {what} {rule}{hint}: {name_some(sorted(paths))}']


def _check_lists(stream: StreamFiles) -> list[str]:
    if not stream.images:
        return ['it is empty']
    counts = Counter(map(place, stream.images))
    repeated = {p for p in stream.images if counts[place(p)] > 1}
    found = one_line(repeated, 'images', 'occur more than once', 'use RepeatDataset')
    if stream.labeled:
        pairs = zip(stream.images, stream.masks, strict=True)
        bare = [image for image, mask in pairs if mask is None]
        found += one_line(bare, 'labeled images', 'have no mask', 'no seg_map_path')
    return found


def _check_files(
    what: str, paths: list[str], headers: Mapping[str, Header]
) -> list[str]:
    found = []
    for problem, (rule, hint) in _RULES.items():
        bad = {p for p in paths if headers[p].problem == problem}
        named = [f'{p} [{headers[p].detail}]' if headers[p].detail else p for p in bad]
        found += one_line(named, what, rule.format(limit=pixel_limit()), hint)
    return found


def _check_masks(stream: StreamFiles, headers: Mapping[str, Header]) -> list[str]:
    if not stream.index_masks:
        return []  # a step of the user's own makes the labels
    colour, sizes, rotated = [], [], []
    for path, mask_path in zip(stream.images, stream.masks, strict=True):
        if mask_path is None or headers[mask_path].problem:
            continue
        image, mask = headers[path], headers[mask_path]
        if mask.mode not in INDEX_MODES:
            colour.append(f'{mask_path} [{mask.mode}]')
        if image.problem or image.read_size == mask.mask_size:
            continue
        sides = 'image {}x{}, mask {}x{}'.format(*image.read_size, *mask.mask_size)
        text = f'{path} [{sides}]'
        (rotated if image.size == mask.mask_size else sizes).append(text)
    return [
        *one_line(colour, 'masks', 'are not index images', 'one band of class numbers'),
        *one_line(sizes, 'images', 'and their masks differ in size'),
        *one_line(
            rotated,
            'images',
            'are rotated by EXIF when they are read, their masks are not',
            'rotate the pixels and drop the tag, or rotate the masks',
        ),
    ]


def _mirrored(stream: StreamFiles, headers: Mapping[str, Header]) -> list[str]:
    """Rotations that keep the size: whether the mask follows cannot be seen."""
    pairs = zip(stream.images, stream.masks, strict=True)
    turned = [
        image
        for image, mask in pairs
        if mask is not None
        and headers[image].orientation > 1
        and headers[image].read_size == headers[mask].mask_size
    ]
    return one_line(
        turned, 'images', 'are rotated by EXIF when they are read: check their masks'
    )
