"""What the benchmarks share: runs of a config on generated data, surroundings, text."""

import os
import platform
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.registry import RUNNERS
from prettytable import PrettyTable

import mmsemiseg  # noqa: F401  (registers the modules)
from mmsemiseg.datasets.synthetic import write_synthetic
from mmsemiseg.models.memories import ClassQueueBank
from mmsemiseg.models.segmentors.base import SemiSegmentor
from mmsemiseg.utils.launch import load_config
from mmsemiseg.utils.model import unwrap


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
    if cfg.get('full_banks'):
        fill_banks(unwrap(runner.model))
    loop.run_iter = make_step(runner)
    runner.train()
    return runner


def fill_banks(model: SemiSegmentor) -> None:
    """Rows of unit length into every place of the queues of classes."""
    banks = [m for m in model.modules() if isinstance(m, ClassQueueBank)]
    if not banks:
        raise ValueError(
            f'full_banks=True needs a memory bank, but {type(model).__name__} has none'
        )
    for bank in banks:
        rows = F.normalize(torch.randn_like(bank.features).flatten(0, 1), dim=1)
        groups = torch.arange(bank.groups, device=rows.device)
        bank.enqueue(rows, groups.repeat_interleave(bank.size))


def surroundings(config: str | None, seed: int | None, device: str) -> dict:
    """What a figure must be reported with."""
    about = dict(config=Path(config).name) if config else {}
    return dict(
        **about,
        seed=seed,
        commit=_commit(),
        device=torch.cuda.get_device_name() if device == 'cuda' else 'cpu',
        cpu=_cpu_name(),
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        load=round(os.getloadavg()[0], 2) if hasattr(os, 'getloadavg') else None,
        python=platform.python_version(),
        torch=torch.__version__,
    )


def _commit() -> str | None:
    """The commit of this repository, ``-dirty`` with changes; None outside of git."""
    command = ['git', 'describe', '--always', '--dirty', '--abbrev=10']
    folder = Path(__file__).parent
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu_name() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(':', 1)[1] for line in lines if line.startswith('model name')]
    return names[0].strip() if names else platform.processor() or platform.machine()


def table(head: list[str], rows: list[list], numbers: int | None = None) -> str:
    """Text cells to the left; the last ``numbers`` columns (default: all but the
    first) to the right."""
    text = PrettyTable(head)
    text.align = 'l'
    for name in head[1:] if numbers is None else head[len(head) - numbers :]:
        text.align[name] = 'r'
    text.add_rows(rows)
    return str(text)


def surroundings_text(about: dict) -> str:
    return '\n'.join(f'{key + ":":9} {value}' for key, value in about.items())
