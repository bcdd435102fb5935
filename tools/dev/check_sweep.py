"""Short runs of a list, several at once, and the last scores of each."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from check_rows import FAIL, OK, SKIP, Rows, describe
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[2]
NETWORKS = ('student', 'teacher', 'student0', 'teacher0', 'student1', 'teacher1')


class Run(NamedTuple):
    """A line of the list: ``name config key=value ... --option ...``.

    Args:
        name: Name of the setting; runs of one name are its seeds.
        config: Path of the config.
        options: Values that follow ``--cfg-options``.
        more: Other arguments of tools/train.py.
    """

    name: str
    config: str
    options: list[str]
    more: list[str]

    @property
    def seed(self) -> str:
        found = [o for o in self.options if o.startswith('randomness.seed=')]
        return found[-1].partition('=')[2] if found else '0'


def read_list(path: Path) -> list[Run]:
    """Empty lines and what follows a # are left out."""
    runs = []
    for line in path.read_text(encoding='utf-8').splitlines():
        name, config, *rest = [*shlex.split(line, comments=True), '', ''][:-2] or [
            '',
            '',
        ]
        if not name:
            continue
        options = [part for part in rest if re.match(r'[\w.]+=', part)]
        more = [part for part in rest if part not in options]
        runs.append(Run(name, config, options, more))
    return runs


def run(rows: Rows, args) -> None:
    if args.sweep is None:
        rows.add('sweep', SKIP, 'no list of runs: --sweep FILE')
        return
    runs = read_list(args.sweep)
    there = [one for one in runs if has_data(rows, one)]
    with tempfile.TemporaryDirectory(prefix='cuda-check-sweep-') as temporary:
        folder = args.work_dir or Path(temporary)
        threads = max((os.cpu_count() or 1) // args.jobs, 1)
        with ThreadPoolExecutor(args.jobs) as pool:
            done = pool.map(lambda one: train(rows, one, folder, threads), there)
            outcomes = list(zip(there, done, strict=True))
        for name in dict.fromkeys(one.name for one in there):
            with rows.guarded(name):
                problems = [text for one, text in outcomes if text and one.name == name]
                report(rows, name, folder, problems)


def has_data(rows: Rows, one: Run) -> bool:
    """Whether the config's ``data_root`` is there; a row says where it is not."""
    with rows.guarded(one.name):
        cfg = Config.fromfile(one.config)
        data = cfg.get('data_root')
        if data is None or Path(data).exists():
            return True
        rows.add(one.name, SKIP, f'no data in {data}')
    return False


def train(rows: Rows, one: Run, folder: Path, threads: int) -> str | None:
    """Train; what went wrong, if anything did."""
    if rows.left < 1:
        return 'no time left'
    work_dir = folder / one.name / f'seed{one.seed}'
    command = [sys.executable, '-W', 'ignore', 'tools/train.py', one.config]
    command += ['--work-dir', str(work_dir), *one.more]
    command += ['--cfg-options', *one.options] if one.options else []
    work_dir.mkdir(parents=True, exist_ok=True)
    log = work_dir / 'output.log'
    env = dict(os.environ, OMP_NUM_THREADS=str(threads))
    try:
        with log.open('w') as file:
            subprocess.run(
                command,
                cwd=ROOT,
                env=env,
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                timeout=rows.left,
                check=True,
            )
    except subprocess.TimeoutExpired:
        return f'seed {one.seed}: its time ran out'
    except (OSError, subprocess.CalledProcessError) as error:
        lines = log.read_text(errors='replace').strip().splitlines() or ['']
        print('\n'.join(lines[-20:]), flush=True)
        return f'seed {one.seed}: {describe(error)[:60]}: {lines[-1][:80]}'
    return None


def report(rows: Rows, name: str, folder: Path, problems: list[str]) -> None:
    """The last scores, also of runs that were stopped."""
    compare = compare_runs()
    texts, figures = [], {}
    for network in NETWORKS:
        try:
            _, seeds = compare.read_run(f'{name}={folder / name}:{network}', 'mIoU')
        except (ValueError, FileNotFoundError):
            continue
        last = {seed: max(curve) for seed, curve in seeds.items()}
        each = ', '.join(
            f'{seeds[seed][step]["mIoU"]:.1f} (at {step})'
            for seed, step in last.items()
        )
        texts.append(f'{network} {each}')
        figures[network] = seeds
    value = '; '.join([*texts, *problems]) or 'no score'
    rows.add(name, OK if texts and not problems else FAIL, value, scores=figures)


def compare_runs():
    """The tool of this name."""
    path = ROOT / 'tools' / 'analysis_tools' / 'compare_runs.py'
    spec = importlib.util.spec_from_file_location('compare_runs', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
