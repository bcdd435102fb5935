"""The data of a config: counts, classes, broken rules, near-copies."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..datasets.checks import HELD_OUT, StreamFiles, inspect_streams, model_settings
from ..datasets.checks.config_streams import (
    build_streams,
    evaluator_configs,
    stream_configs,
)
from ..datasets.checks.inspect import Findings
from ..datasets.checks.reading import read_all_files, read_some_masks
from ..datasets.content import ContentCache
from ..datasets.files import name_some
from ..datasets.headers import Header
from ..start.near_copies import Groups, near_copies, thumbnails
from .findings import Finding

ABOUT = 'data'
RARE = 1e-3  # share of the labeled pixels below which a class is rare
KEPT = 'check_data.json'  # of tools/check_data.py, in the work folder


class DataLook:
    """What the streams of a config hold.

    Attributes:
        streams: Data sets that could be built.
        files: Images and masks of each stream.
        headers: Header of each file.
        contents: What was read of each file.
        findings: What is wrong.
        inspected: Labels of each stream, and the texts that findings are made of.

    Args:
        cfg: Config of a run.
        model: Model of the config; None where it cannot be built.
        quick: Whether only headers and some masks are read, and images are not
            compared.
        progress: Function that wraps an iterator over files.
    """

    def __init__(
        self,
        cfg: Any,
        model: Any,
        quick: bool = False,
        progress: Callable = iter,
    ) -> None:
        self.files: dict[str, StreamFiles] = {}
        self.headers: dict[str, Header] = {}
        self.contents: dict = {}
        self.configs = stream_configs(cfg)
        self.streams, problems = build_streams(self.configs)
        self.findings = [
            Finding('error', ABOUT, text, 'Correct train_dataloader or val_dataloader.')
            for text in problems
        ]
        self.inspected = self._inspect(cfg, model, quick, progress)
        if not quick and self.files:
            self.findings += copy_findings(self.files, self.contents)

    def sizes(self, name: str) -> list[tuple[int, int]]:
        """(width, height) of the images of a stream, as they are read."""
        sizes = (self.headers[path].read_size for path in self.files[name].images)
        return [size for size in sizes if min(size) > 0]

    def _inspect(self, cfg, model, quick: bool, progress: Callable) -> Findings:
        if not self.streams:
            return Findings([], [], [], {})
        # What was read before is used, but nothing is written
        cache = ContentCache(os.path.join(cfg.get('work_dir') or '', KEPT))
        cache.path = None
        read_files = read_some_masks if quick else read_all_files(cache, progress)

        def read(files: Mapping, headers: Mapping) -> Mapping:
            self.files, self.headers = dict(files), dict(headers)
            self.contents = dict(read_files(files, headers))
            return self.contents

        overlap = bool((cfg.get('train_cfg') or {}).get('allow_overlap', False))
        found = inspect_streams(
            self.streams, model_settings(model, evaluator_configs(cfg)), overlap, read
        )
        levels = dict(error=found.problems, warning=found.doubts, note=found.notes)
        for level, texts in levels.items():
            self.findings += [Finding(level, ABOUT, text) for text in texts]
        self.findings += rare_classes(found)
        return found


def describe(look: DataLook) -> dict[str, str]:
    """Images, masks and usual sizes of each stream."""
    rows = {}
    for name, files in look.files.items():
        masks = sum(mask is not None for mask in files.masks)
        text = f'{len(files.images)} images'
        if masks:
            text += f', {masks} masks'
        sizes = Counter(look.sizes(name)).most_common()
        if sizes:
            (width, height), number = sizes[0]
            others = '' if len(sizes) == 1 else f', {len(sizes) - 1} other sizes'
            text += f'; {width} x {height}' + (f' ({number}){others}' if others else '')
        rows[name] = text
    for name in look.configs:
        rows.setdefault(name, 'cannot be built')
    return rows


def rare_classes(found: Findings) -> list[Finding]:
    """Notes on classes of which there is next to nothing to learn, or to validate."""
    findings = []
    for name, labels in found.labels.items():
        if not labels.read or not labels.classes:
            continue
        total = sum(n for v, n in labels.pixels.items() if v not in labels.ignored)
        shares = {
            text: labels.pixels[number] / max(total, 1)
            for number, text in enumerate(labels.classes)
        }
        if name in HELD_OUT:
            none = [text for text, share in shares.items() if share == 0]
            if none:
                findings.append(
                    Finding(
                        'note',
                        ABOUT,
                        f'stream {name!r} shows no pixel of {name_some(none)}: their '
                        'IoU is no measure',
                    )
                )
            continue
        rare = [f'{text} ({s:.2%})' for text, s in shares.items() if 0 < s < RARE]
        if rare:
            findings.append(
                Finding(
                    'note',
                    ABOUT,
                    f'stream {name!r}: below {RARE:.1%} of the pixels are of '
                    f'{name_some(rare)}',
                    'Label more images that show them, or expect little of them.',
                )
            )
    return findings


def copy_findings(files: Mapping[str, StreamFiles], contents: Mapping) -> list[Finding]:
    """Images of one stream that are nearly equal to images of another.

    Files of the very same content are found by other rules, and left out.
    """
    paths = dict.fromkeys(path for stream in files.values() for path in stream.images)
    alias = _aliases(list(paths))
    thumbs = thumbnails(list(paths))
    groups = near_copies({alias[path]: thumb for path, thumb in thumbs.items()})
    number = {path: groups.of.get(name) for path, name in alias.items()}
    shas = {p: contents.get(('image', p), {}).get('sha') for p in paths}
    findings = []
    names = list(files)
    for at, one in enumerate(names):
        for other in names[at + 1 :]:
            if one in HELD_OUT and other in HELD_OUT:
                continue
            if other not in HELD_OUT and files[one].labeled:
                left, right = other, one  # what the others add to the labeled images
            else:
                left, right = (other, one) if one in HELD_OUT else (one, other)
            pair = _shared(files[left], files[right], number, shas)
            findings += _of_pair(left, right, pair, files, groups)
    return findings


def _aliases(paths: Sequence[str]) -> dict[str, str]:
    """A name of each path: its last part, where no other path has it.

    So frames of one video are known as such in two folders.
    """
    counts = Counter(map(os.path.basename, paths))
    names = {path: os.path.basename(path) for path in paths}
    return {p: name if counts[name] == 1 else p for p, name in names.items()}


def _shared(
    one: StreamFiles,
    other: StreamFiles,
    number: Mapping[str, int | None],
    shas: Mapping[str, str | None],
) -> dict[int, tuple[list[str], list[str]]]:
    """Group -> its images in one stream, and those in the other."""
    sides = []
    for stream in (one, other):
        members = defaultdict(list)
        for path in stream.images:
            if number[path] is not None:
                members[number[path]].append(path)
        sides.append(members)
    same = {shas[path] for path in other.images} - {None, ''}
    found = {}
    for group in sides[0].keys() & sides[1].keys():
        left = [path for path in sides[0][group] if shas[path] not in same]
        if left and not set(left) & set(sides[1][group]):
            found[group] = left, sides[1][group]
    return found


def _of_pair(
    one: str,
    other: str,
    pair: Mapping[int, tuple[list[str], list[str]]],
    files: Mapping[str, StreamFiles],
    groups: Groups,
) -> list[Finding]:
    held_out = other in HELD_OUT
    total = len(set(files[one].images))
    findings = []
    frames = {g: sides for g, sides in pair.items() if g in groups.videos}
    copies = {g: sides for g, sides in pair.items() if g not in groups.videos}
    for found, what in ((copies, 'are nearly equal to images'), (frames, '')):
        if not found:
            continue
        what = what or 'are frames of the videos'
        number = sum(len(left) for left, _ in found.values())
        examples = name_some([f'{a[0]} = {b[0]}' for a, b in found.values()], 3)
        text = f'{number} of {total} images of the stream {one!r} {what} of {other!r}'
        if held_out:
            findings.append(
                Finding(
                    'warning',
                    ABOUT,
                    f'{text}, so scores are too good: {examples}',
                    'Leave them out of training (exclude=, or the list), or validate '
                    'on others.',
                )
            )
        else:
            findings.append(
                Finding('note', ABOUT, f'{text}, so they add little: {examples}')
            )
    return findings


def usual_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Median width and height."""
    width, height = np.median(np.asarray(sizes), axis=0)
    return int(width), int(height)
