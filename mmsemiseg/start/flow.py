"""The way from folders to a compared model."""

import dataclasses
import json
import os
import time
from pathlib import Path

from mmengine.config import Config

from .audit import audit, class_lines
from .choices import Chooser
from .options import Options, Say, config_path, duration, tell, title
from .plan import Plan
from .reading import read_data
from .runs import report, train_all

STATE = 'start.json'


def run(options: Options, say: Say = print) -> None:
    """Read, choose, check, train both, compare.

    Raises:
        FileExistsError: The output folder holds another start.
    """
    began = time.time()
    state = Path(options.out) / STATE
    if state.is_file():
        raise FileExistsError(
            f'{options.out} holds an earlier start: --resume goes on with it, --out '
            'names another folder'
        )
    plan = prepare(options, options.out, began, say)
    content = dict(options=dataclasses.asdict(options), plan=dataclasses.asdict(plan))
    state.write_text(f'{json.dumps(content, indent=2)}\n', encoding='utf-8')
    train_all(options, plan, False, say)
    report(options, say)
    tell(say, [f'from the command to here: {duration(time.time() - began)}'])


def dry_run(options: Options, folder: str, say: Say = print) -> None:
    """Say all that would be done; nothing but ``folder`` is written."""
    plan = prepare(options, folder, time.time(), say)
    title(say, 'What would be trained')
    root = Path(folder)
    for path in [root / 'classes.json', *sorted((root / 'configs').glob('*.py'))]:
        text = path.read_text(encoding='utf-8').replace(folder, options.out)
        say(f'\n# {options.out}/{path.relative_to(root).as_posix()}\n{text}')
    names = ' and '.join(method.name for method in options.methods)
    tell(say, [f'{names}, {plan.iterations} iterations each: leave out --dry-run'])


def resume(out: str, say: Say = print) -> Options:
    """Go on with the start in a folder; returns its options.

    Raises:
        FileNotFoundError: There is none that had begun to train.
    """
    path = Path(out) / STATE
    if not path.is_file():
        raise FileNotFoundError(
            f'--resume: {out} holds no start that had begun to train; without '
            '--resume it begins'
        )
    state = json.loads(path.read_text(encoding='utf-8'))
    options = Options(**{**state['options'], 'out': out})
    train_all(options, Plan(**state['plan']), True, say)
    report(options, say)
    return options


def prepare(options: Options, out: str, began: float, say: Say) -> Plan:
    """All before training: data, choices, configs, checks.

    Raises:
        ValueError: Nothing can be trained with these files.
    """
    data = read_data(options, out, say)

    def check() -> None:
        check_data(config_path(out, options.methods[-1]), out, say)

    return Chooser(options, data, out, began, say, check).choose()


def check_data(config: str, out: str, say: Say) -> None:
    """Decode every file of a config, say what is in it.

    Raises:
        ValueError: Training is impossible with these files.
    """
    found = audit(Config.fromfile(config), os.path.join(out, 'check_data.json'))
    tell(say, class_lines(found))
    tell(say, [f'NOTE: {text}' for text in [*found.doubts, *found.notes]])
    if found.problems:
        raise ValueError('\n'.join(['the data cannot be used:', *found.problems]))
    tell(say, ['every file was read: nothing forbids training'])
