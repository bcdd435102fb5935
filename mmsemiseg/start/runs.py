"""The trainings of a start, one after the other, and what they have reached."""

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from ..__main__ import find_tools
from .methods import BASELINE
from .options import Options, Say, config_path, duration, tell, title, work_dir
from .plan import Plan
from .probe import package_env
from .results import comparison, is_finished, last_checkpoint, scores, verdict


class TrainingError(RuntimeError):
    """A training has failed; its own message was printed."""


def train_all(options: Options, plan: Plan, resume: bool, say: Say) -> None:
    """Train the baseline and the method; what is finished is left alone.

    Raises:
        TrainingError: One has ended with an error.
    """
    for number, method in enumerate(options.methods, 1):
        folder = work_dir(options.out, method)
        title(say, f'Training {number} of {len(options.methods)}: {method.name}')
        if resume and is_finished(folder, plan.iterations):
            tell(say, [f'{folder} is finished'])
            continue
        words = [config_path(options.out, method), '--work-dir', folder]
        words += ['--resume'] * resume
        say(f'$ mim train mmsemiseg {shlex.join(words)}')
        command = [sys.executable, '-m', 'mmsemiseg', 'train', *words]
        began = time.time()
        done = subprocess.run(command, env=package_env(), check=False)
        if done.returncode:
            raise TrainingError(
                f'the training of {method.name} ended with the status '
                f'{done.returncode}; its message is above. Go on by --resume'
            )
        tell(say, [f'took {duration(time.time() - began)}'])


def report(options: Options, say: Say) -> str:
    """The table, what it says, and how to go on."""
    title(say, 'Result')
    method = options.methods[-1]
    found = {m.name: scores(work_dir(options.out, m)) for m in options.methods}
    base = found[BASELINE.name][BASELINE.best]['mIoU']
    best = found[method.name][method.best]['mIoU']
    lists = Path(options.out) / 'data'
    images = len((lists / 'val.txt').read_text(encoding='utf-8').splitlines())
    text = f'{comparison(found)}\n{verdict(base, best, method.name, images)}\n'
    table = Path(options.out) / 'table.txt'
    table.write_text(text, encoding='utf-8')
    say(text)
    tell(say, [f'this table: {table}'])
    if 'report' in find_tools():
        _write_report(options, say)
    title(say, 'How to go on')
    tell(say, next_commands(options))
    return text


def _write_report(options: Options, say: Say) -> None:
    """The same with curves and pictures, as a page; without it the table is enough."""
    page = os.path.join(options.out, 'report.html')
    runs = [f'{m.name}={work_dir(options.out, m)}' for m in reversed(options.methods)]
    command = [
        sys.executable,
        '-m',
        'mmsemiseg',
        'report',
        *runs,
        '--out',
        page,
        '--draw',
    ]
    done = subprocess.run(
        command, env=package_env(), capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        tell(say, [f'report with curves, for a browser: {page}'])
    else:
        tell(say, [f'no report was written: {done.stderr.strip()[-300:]}'])


def next_commands(options: Options) -> list[str]:
    """Commands that test, predict and export, where there is the tool."""
    folder = work_dir(options.out, options.methods[-1])
    config = shlex.quote(os.path.join(folder, 'config.py'))
    found = last_checkpoint(folder)
    last = shlex.quote(os.path.relpath(found)) if found else 'CHECKPOINT'
    network = options.methods[-1].best
    commands = dict(
        test=f'mim test mmsemiseg {config} --checkpoint {last} --show-dir painted',
        predict=f'mim run mmsemiseg predict {last} NEW_IMAGES --overlay '
        '--out predictions',
        export=f'mim run mmsemiseg export {config} {last} --network {network} '
        '--out plain',
    )
    there = find_tools()
    return [line for tool, line in commands.items() if tool in there]
