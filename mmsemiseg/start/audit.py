"""The checks of a config's data, before anything is trained."""

import os
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from ..datasets.checks import inspect_streams
from ..datasets.checks.inspect import Findings
from ..datasets.checks.reading import read_all_files
from ..datasets.content import ContentCache


def audit(cfg: Config, cache: str | None = None) -> Findings:
    """Decode every file of the streams and of the validation data.

    Args:
        cache: File that remembers what was read; also training reads it.
    """
    init_default_scope(cfg.get('default_scope') or 'mmseg')
    streams = build_streams(cfg)
    if cache is not None:
        os.makedirs(os.path.dirname(cache) or '.', exist_ok=True)
    return inspect_streams(streams, read=read_all_files(ContentCache(cache)))


def build_streams(cfg: Config) -> dict[str, Any]:
    """Dataset of each training stream and of the validation."""
    loaders = dict(cfg.train_dataloader)
    if 'dataset' in loaders:
        loaders = dict(labeled=cfg.train_dataloader)
    if cfg.get('val_dataloader'):
        loaders['val'] = cfg.val_dataloader
    return {name: DATASETS.build(loader.dataset) for name, loader in loaders.items()}


def class_rows(findings: Findings) -> list[list[str]]:
    """[class, images and share of the pixels of each stream with masks, ...]."""
    streams = {n: labels for n, labels in findings.labels.items() if labels.masks}
    names = next(iter(streams.values())).classes
    rows = []
    for number, name in enumerate(names):
        row = [str(number), name]
        for labels in streams.values():
            total = sum(n for v, n in labels.pixels.items() if v not in labels.ignored)
            share = labels.pixels[number] / max(total, 1)
            row += [str(labels.images[number]), f'{share:.1%}']
        rows.append(row)
    return rows
