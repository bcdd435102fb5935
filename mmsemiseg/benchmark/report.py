"""What a figure is reported with, and tables of figures."""

import json
import os
import platform
import subprocess
from pathlib import Path

import torch
from prettytable import PrettyTable


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


def tell(about: dict, text: str, result: dict, out: Path | None) -> None:
    """Print figures with their surroundings, and write them all as JSON to ``out``."""
    print(surroundings_lines(about), text, sep='\n\n')
    if out is not None:
        content = json.dumps(dict(about=about, **result), indent=2)
        out.write_text(content + '\n', encoding='utf-8')


def surroundings_lines(about: dict) -> str:
    return '\n'.join(f'{key + ":":9} {value}' for key, value in about.items())
