"""All checks together: what training, testing and ``tools/check_data.py`` call."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mmengine.logging import print_log

from ..headers import Header, read_headers
from .agreement import setting_problems
from .file_rules import file_notes, file_problems
from .labels import (
    Contents,
    StreamLabels,
    class_names,
    count_labels,
    missing_classes,
    no_labels,
    wrong_values,
)
from .looks import mask_like_images
from .model_settings import ModelSettings
from .overlaps import (
    labeled_and_unlabeled,
    masks_as_images,
    same_content,
    trained_and_held_out,
)
from .reading import broken_files
from .streams import HELD_OUT, StreamFiles, leaf_datasets, stream_files

Reader = Callable[[Mapping[str, StreamFiles], Mapping[str, Header]], Contents]


class Findings(NamedTuple):
    """``problems`` forbid a run; ``doubts`` warn, but fail a check of the data.

    What is wrong with test data alone does not forbid training: it is a doubt.
    ``notes`` are for information; ``labels`` are those of each stream with masks.
    """

    problems: list[str]
    doubts: list[str]
    notes: list[str]
    labels: dict[str, StreamLabels]


def inspect_streams(
    streams: Mapping[str, Any],
    settings: ModelSettings | None = None,
    allow_overlap: bool = False,
    read: Reader | None = None,
    num_classes: int | None = None,
) -> Findings:
    """Check streams against each other and against the model.

    Args:
        streams: Dataset (with or without wrappers) of each training stream by name;
            validation and test data are ``'val'`` and ``'test'``.
        settings: Settings of the model and of the metrics.
        allow_overlap: Whether images that are in a labeled and in an unlabeled stream
            are noted instead of refused.
        read: Function that reads files, see :mod:`.reading`. None: only headers are
            read.
        num_classes: Number of classes of datasets without class names; default: that of
            the heads.
    """
    settings = settings or ModelSettings()
    if num_classes is None and settings.classes:
        num_classes = min(settings.classes.values())
    files = {name: stream_files(name, dataset) for name, dataset in streams.items()}
    headers = read_headers(
        path for f in files.values() for path in [*f.images, *f.masks] if path
    )
    problems, notes = setting_problems(streams, files, settings)
    doubts: list[str] = []
    if 'test' in streams and len(streams) > 1:  # training can do without
        needed = {name: data for name, data in streams.items() if name != 'test'}
        grave, _ = setting_problems(needed, files, settings.without_test())
        doubts = [text for text in problems if text not in grave]
        problems = grave
    serious = {name: problems for name in files}
    if len(files) > 1:
        serious['test'] = doubts
    for name, stream in files.items():
        serious[name] += _of(name, file_problems(stream, headers))
        notes += _of(name, file_notes(stream, headers))
    problems += masks_as_images(files)
    overlaps = labeled_and_unlabeled(files)
    doubts += trained_and_held_out(files)
    labels = {}
    if read is not None:
        contents = read(files, headers)
        for name, stream in files.items():
            serious[name] += _of(name, broken_files(stream, contents, headers))
            labels[name] = count_labels(streams[name], stream, contents, num_classes)
            serious[name] += _of(name, wrong_values(labels[name]))
            doubts += _of(name, no_labels(labels[name]))
            if name not in HELD_OUT:
                limit = len(_first_names(streams)) or num_classes
                notes += _of(name, mask_like_images(stream, headers, limit))
        doubts += missing_classes(labels)
        for names, text in same_content(files, contents).items():
            (doubts if set(names) & set(HELD_OUT) else overlaps).append(text)
    (notes if allow_overlap else problems).extend(overlaps)
    return Findings(problems, doubts, notes, labels)


def check_streams(
    streams: Mapping[str, Any],
    allow_overlap: bool = False,
    logger: logging.Logger | None = None,
    settings: ModelSettings | None = None,
    read: Reader | None = None,
) -> None:
    """Refuse streams that cannot be used, and warn where something may be wrong.

    The arguments are those of :func:`inspect_streams`.

    Raises:
        ValueError: Lists every rule that is broken, with up to 10 files each.
    """
    found = inspect_streams(streams, settings, allow_overlap, read)
    report_findings(found.problems, [*found.doubts, *found.notes], logger)


def report_findings(
    problems: list[str], warnings: list[str], logger: logging.Logger | None = None
) -> None:
    """Log the warnings; ValueError where there are problems."""
    for text in warnings:
        print_log(f'NOTE: {text}', logger=logger or 'current', level=logging.WARNING)
    if problems:
        raise ValueError('\n'.join(['the data cannot be used:', *problems]))


def _of(name: str, lines: list[str]) -> list[str]:
    return [f'stream {name!r}: {line}' for line in lines]


def _first_names(streams: Mapping[str, Any]) -> tuple[str, ...]:
    leaves = [leaf for dataset in streams.values() for leaf in leaf_datasets(dataset)]
    return next((names for leaf in leaves if (names := class_names(leaf))), ())
