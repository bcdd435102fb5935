"""The checks of a config's data, before anything is trained."""

import os

from mmengine.config import Config
from mmengine.registry import init_default_scope

from ..datasets.checks import inspect_streams
from ..datasets.checks.config_streams import build_streams, stream_configs
from ..datasets.checks.inspect import Findings
from ..datasets.checks.reading import read_all_files
from ..datasets.content import ContentCache


def audit(cfg: Config, cache: str | None = None) -> Findings:
    """Decode every file of the streams and of the validation data.

    Args:
        cache: File that remembers what was read; also training reads it.

    Raises:
        ValueError: A stream cannot be built.
    """
    init_default_scope(cfg.get('default_scope') or 'mmseg')
    streams, problems = build_streams(stream_configs(cfg))
    if problems:
        raise ValueError('\n'.join(['the data cannot be used:', *problems]))
    if cache is not None:
        os.makedirs(os.path.dirname(cache) or '.', exist_ok=True)
    return inspect_streams(streams, read=read_all_files(ContentCache(cache)))


def class_rows(findings: Findings) -> list[list[str]]:
    """[class, images and share of the pixels of each stream with masks, ...].

    Empty where no stream has masks, or no data set names its classes.
    """
    streams = {n: labels for n, labels in findings.labels.items() if labels.masks}
    names = next((labels.classes for labels in streams.values() if labels.classes), ())
    rows = []
    for number, name in enumerate(names):
        row = [str(number), name]
        for labels in streams.values():
            total = sum(n for v, n in labels.pixels.items() if v not in labels.ignored)
            share = labels.pixels[number] / max(total, 1)
            row += [str(labels.images[number]), f'{share:.1%}']
        rows.append(row)
    return rows


def class_lines(findings: Findings) -> list[str]:
    """The same as lines of a table, with a head."""
    rows = class_rows(findings)
    if not rows:
        return []
    streams = [name for name, labels in findings.labels.items() if labels.masks]
    wide = max(16, *(len(row[1]) for row in rows))
    title = 'class: images, pixels'
    heads = ''.join(f'  {name:>14}' for name in streams)
    lines = [f'  {title:{wide + 5}}{heads}']
    for number, name, *cells in rows:
        pairs = zip(cells[::2], cells[1::2], strict=True)
        text = ''.join(f'  {f"{a}, {b}":>14}' for a, b in pairs)
        lines.append(f'  {number:>3}  {name:{wide}}{text}')
    return lines
