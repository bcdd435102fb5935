"""One image, or one file, in two places where it must not be."""

from collections import defaultdict
from collections.abc import Mapping

from ..files import name_some
from .file_rules import one_line
from .streams import HELD_OUT, StreamFiles, place

Streams = Mapping[str, StreamFiles]


def labeled_and_unlabeled(files: Streams) -> list[str]:
    """Images in a labeled and in an unlabeled training stream, suffixes aside."""
    found = []
    training = {name: f for name, f in files.items() if name not in HELD_OUT}
    for name, stream in training.items():
        places = _stems(stream)
        for other, unlabeled in training.items():
            if stream.labeled and not unlabeled.labeled:
                found += one_line(
                    _shared(unlabeled, places),
                    'images',
                    f'are in the streams {name!r} and {other!r}',
                    'allow_overlap=True accepts this',
                )
    return found


def trained_and_held_out(files: Streams) -> list[str]:
    """Training images that validate or test, too: the scores are too good then."""
    found = []
    for held_out in (name for name in HELD_OUT if name in files):
        places = _stems(files[held_out])
        for name, stream in files.items():
            if name not in HELD_OUT:
                found += one_line(
                    _shared(stream, places),
                    'images',
                    f'are in the training stream {name!r} and in {held_out!r}',
                    'scores on them are too good',
                )
    return found


def masks_as_images(files: Streams) -> list[str]:
    """Images of a stream that are the mask of an image, of whatever stream."""
    owner = {place(m): name for name, f in files.items() for m in f.masks if m}
    found = []
    for name, stream in files.items():
        by_owner = defaultdict(set)
        for path in stream.images:
            if (other := owner.get(place(path))) is not None:
                by_owner[other].add(path)
        for other, paths in by_owner.items():
            found += one_line(
                paths,
                'images',
                f'of the stream {name!r} are masks of the stream {other!r}',
                'leave them out by suffixes= or exclude=',
            )
    return found


def same_content(files: Streams, contents: Mapping) -> dict[tuple[str, ...], str]:
    """Labeled (or validation) images that are in another stream too, by content.

    One path in two streams is left to the rules for paths.
    """
    where: dict[str, dict[str, str]] = defaultdict(dict)
    for name, stream in files.items():
        for path in stream.images:
            if sha := contents.get(('image', path), {}).get('sha'):
                where[sha].setdefault(name, path)
    shared = defaultdict(list)
    for places in where.values():
        labeled = [files[name].labeled for name in places]
        held_out = [name for name in places if name in HELD_OUT]
        if len(places) == 1 or len(held_out) == len(places) or not any(labeled):
            continue
        paths = dict.fromkeys(places.values())
        if len(paths) > 1 or (all(labeled) and not held_out):
            shared[tuple(places)].append(' = '.join(paths))
    return {
        names: f'{len(found)} images have the same content in the streams '
        f'{", ".join(map(repr, names))}: {name_some(sorted(found))}'
        for names, found in sorted(shared.items())
    }


def _stems(stream: StreamFiles) -> set[str]:
    return {place(image, suffix=False) for image in stream.images}


def _shared(stream: StreamFiles, places: set[str]) -> set[str]:
    return {image for image in stream.images if place(image, suffix=False) in places}
