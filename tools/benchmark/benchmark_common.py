"""What the benchmarks share: configs with generated data, surroundings in words."""

import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config
from prettytable import PrettyTable

import mmsemiseg  # noqa: F401  (registers the modules)
from mmsemiseg.datasets.synthetic import write_synthetic
from mmsemiseg.utils.launch import load_config


@contextmanager
def benchmark_config(path: str, options: dict | None) -> Iterator[Config]:
    """The config, its work folder and generated images in a temporary folder.

    Where the config has ``synthetic=dict(counts=..., size=...)``, that is written and
    replaces ``data_root``; the data of other configs are left as they are.
    """
    with tempfile.TemporaryDirectory(prefix='benchmark-') as folder:
        cfg = load_config(path, options, work_dir=folder)
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


def surroundings(config: str, seed: int | None, device: str) -> dict:
    """What a figure must be reported with."""
    return dict(
        config=Path(config).name,
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
