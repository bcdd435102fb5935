"""A report on all files of the streams: every mask's values, every image decoded."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from .checks import StreamFiles, leaf_datasets
from .content import MISSING, ContentCache
from .files import name_some
from .label_values import map_counts


class StreamReport(NamedTuple):
    """``pixels`` and ``images`` per label; ``classes`` are names, perhaps none."""

    files: int
    masks: int
    classes: tuple[str, ...]
    pixels: Counter
    images: Counter


def report_streams(
    streams: Mapping[str, Any],
    files: Mapping[str, StreamFiles],
    cache: ContentCache,
    num_classes: int | None = None,
    progress: Any = iter,
) -> tuple[dict[str, StreamReport], list[str], dict[tuple[str, ...], str]]:
    """(report of each stream, problems, images with one content by stream names).

    Args:
        streams: The datasets; ``files`` are their files (``checks.stream_files``).
        num_classes: For datasets without class names.
        progress: Wraps the iterator over all files.
    """
    todo = [('image', p) for f in files.values() for p in f.images]
    todo += [('mask', p) for f in files.values() for p in f.masks if p]
    contents = dict(progress(cache.read_all(dict.fromkeys(todo))))
    reports, problems = {}, []
    for name, dataset in streams.items():
        reports[name], found = _report(dataset, files[name], contents, num_classes)
        problems += [f'stream {name!r}: {text}' for text in found]
    return reports, problems, _same_content(files, contents)


def _report(
    dataset: Any, files: StreamFiles, contents: dict, num_classes: int | None
) -> tuple[StreamReport, list[str]]:
    pixels: Counter = Counter()
    images: Counter = Counter()
    broken = [
        f'{path} [{content["error"]}]'
        for kind, paths in (('image', files.images), ('mask', files.masks))
        for path in paths
        if path and (content := contents[kind, path]).get('error', MISSING) != MISSING
    ]
    bad = []
    classes: tuple[str, ...] = ()
    masks = iter(files.masks)
    for leaf in leaf_datasets(dataset):
        names = tuple(leaf.metainfo.get('classes') or ())
        classes = classes or names
        limit, ignore = len(names) or num_classes, getattr(leaf, 'ignore_index', 255)
        for i in range(len(leaf)):
            path = next(masks)
            if path is None or 'error' in contents['mask', path]:
                continue
            info = leaf.get_data_info(i)
            values = contents['mask', path]['values']
            counts = map_counts(
                {int(value): n for value, n in values.items()},
                info.get('reduce_zero_label', False),
                info.get('label_map'),
            )
            pixels.update(counts)
            images.update(counts.keys())
            if limit is None:
                continue
            wrong = [v for v in counts if v >= limit and v != ignore]
            if wrong:
                number = sum(counts[v] for v in wrong)
                bad.append(f'{path} [values {wrong[:10]} in {number} pixels]')
    problems = []
    if broken:
        problems.append(f'{len(broken)} files cannot be decoded: {name_some(broken)}')
    if bad:
        problems.append(
            f'{len(bad)} masks have values that are no class (below the number of '
            f'classes, or ignore_index): {name_some(bad)}'
        )
    if files.labeled and not pixels.keys() - {255}:
        problems.append('no mask has a pixel of any class')
    count = sum(mask is not None for mask in files.masks)
    return StreamReport(len(files.images), count, classes, pixels, images), problems


def _same_content(
    files: Mapping[str, StreamFiles], contents: dict
) -> dict[tuple[str, ...], str]:
    """Labeled (or validation) images that are in another stream too.

    One path in a labeled and an unlabeled stream is left to ``find_problems``.
    """
    where: dict[str, dict[str, str]] = defaultdict(dict)
    for name, stream in files.items():
        for path in stream.images:
            if sha := contents['image', path]['sha']:
                where[sha].setdefault(name, path)
    shared = defaultdict(list)
    for places in where.values():
        labeled = [files[name].labeled for name in places]
        paths = dict.fromkeys(places.values())
        if len(places) > 1 and (all(labeled) or any(labeled) and len(paths) > 1):
            shared[tuple(places)].append(' = '.join(paths))
    return {
        names: f'{len(found)} images have the same content in the streams '
        f'{", ".join(map(repr, names))}: {name_some(sorted(found))}'
        for names, found in sorted(shared.items())
    }
