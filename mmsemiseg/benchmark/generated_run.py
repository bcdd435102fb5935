"""Runs of a config on generated images, step by step."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.registry import RUNNERS

from ..datasets.synthetic import write_synthetic
from ..models import SemiSegmentor
from ..utils.launch import load_config
from ..utils.model import unwrap
from .full_memories import fill_memories


@contextmanager
def benchmark_config(
    path: str, options: dict | None, change: Callable[[Config], None] | None = None
) -> Iterator[Config]:
    """The config, its work folder and generated images in a temporary folder.

    Where the config has ``synthetic=dict(counts=..., size=...)``, that is written and
    replaces ``data_root``; the data of other configs are left as they are. ``change``
    may change the config before.
    """
    with tempfile.TemporaryDirectory(prefix='benchmark-') as folder:
        cfg = load_config(path, options, work_dir=folder)
        if change is not None:
            change(cfg)
        if 'synthetic' in cfg:
            data = os.path.join(folder, 'data')
            write_synthetic(data, **cfg.synthetic)
            _replace_data_root(cfg.train_dataloader, data)
        yield cfg


def _replace_data_root(part, folder: str) -> None:
    if isinstance(part, dict):
        for key, value in part.items():
            if key == 'data_root':
                part[key] = folder
            else:
                _replace_data_root(value, folder)
    elif isinstance(part, (list, tuple)):
        for value in part:
            _replace_data_root(value, folder)


def prepare(cfg: Config, steps: int) -> None:
    """Change what is not part of a step: validation, saving, workers, printing."""
    if cfg.train_cfg.get('type') != 'SemiTrainLoop':
        raise ValueError(
            'the benchmark needs train_cfg.type=SemiTrainLoop, '
            f'but it is {cfg.train_cfg.get("type")}'
        )
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.test_dataloader = cfg.test_cfg = cfg.test_evaluator = None
    for loader in cfg.train_dataloader.values():
        loader.update(num_workers=0, persistent_workers=False)
        loader.pop('prefetch_factor', None)
    cfg.default_hooks = dict(cfg.get('default_hooks') or {}, checkpoint=None)
    cfg.train_cfg.max_iters = max(cfg.train_cfg.max_iters, steps + 1)
    cfg.load_from, cfg.resume = None, False
    cfg.log_level = 'WARNING'
    cfg.experiment_name = Path(cfg.work_dir).name  # loggers are kept by this name
    cfg.visualizer = None  # one of its own: by a name of its own it would be kept too


def run_steps(cfg: Config, make_step: Callable[[Runner], Callable]) -> Runner:
    """Train with ``make_step(runner)`` in place of the loop's ``run_iter``."""
    build = RUNNERS.build if 'runner_type' in cfg else Runner.from_cfg
    runner = build(cfg)
    loop = runner.train_loop
    if not isinstance(unwrap(runner.model), SemiSegmentor):
        kind = type(unwrap(runner.model)).__name__
        raise ValueError(f'the benchmark needs a SemiSegmentor, but model is a {kind}')
    if cfg.get('full_banks') and not fill_memories(unwrap(runner.model)):
        kind = type(unwrap(runner.model)).__name__
        raise ValueError(f'full_banks=True needs a memory bank, but {kind} has none')
    loop.run_iter = make_step(runner)
    runner.train()
    return runner
