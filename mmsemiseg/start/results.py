"""What the runs of a comparison have reached, and whether one is finished."""

import re
from collections.abc import Mapping
from pathlib import Path

from prettytable import PrettyTable

from ..utils.logs import last_metrics


def is_finished(work_dir: str | Path, iterations: int) -> bool:
    """Whether a run has trained and validated to its end."""
    last = last_checkpoint(work_dir)
    number = re.search(r'iter_(\d+)', Path(last).name) if last else None
    if number is None or int(number[1]) < iterations:
        return False
    try:
        return last_metrics(work_dir)['step'] >= iterations
    except (FileNotFoundError, ValueError):
        return False


def last_checkpoint(work_dir: str | Path) -> str | None:
    """The newest checkpoint of a run, where there is one."""
    file = Path(work_dir) / 'last_checkpoint'
    if not file.is_file():
        return None
    path = file.read_text().strip()
    return path if Path(path).is_file() else None


def scores(work_dir: str | Path) -> dict[str, dict[str, float]]:
    """Network -> mIoU and IoU of each class, at the end of the run."""
    found: dict[str, dict[str, float]] = {}
    for key, value in last_metrics(work_dir).items():
        network, _, name = key.partition('/')
        if name == 'mIoU' or name.startswith('IoU.'):
            found.setdefault(network, {})[name.removeprefix('IoU.')] = value
    return found


def comparison(runs: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Table of IoU by class; the first run is the baseline, the last column the gain.

    Args:
        runs: Name of a run -> its scores, as :func:`scores` gives them.
    """
    columns = {}
    for run, networks in runs.items():
        for network, values in networks.items():
            title = run if len(networks) == 1 else f'{run} {network}'
            columns[title] = values
    base = next(iter(columns.values()))
    table = PrettyTable(['IoU in %', *columns, *(['gain'] if len(columns) > 1 else [])])
    table.align = 'r'
    table.align['IoU in %'] = 'l'
    last = list(columns.values())[-1]
    for name in sorted(base, key=lambda name: name == 'mIoU'):
        cells = [_cell(values.get(name)) for values in columns.values()]
        if len(columns) > 1:
            gain = last.get(name, float('nan')) - base[name]
            cells.append(_cell(gain, '+'))
        table.add_row([name, *cells], divider=False)
    return str(table)


def verdict(base: float, reached: float, method: str, val_images: int) -> str:
    """What the comparison says, in a sentence."""
    gain = reached - base
    if abs(gain) < 1:
        text = f'no difference worth the name: {method} {gain:+.1f} mIoU'
    else:
        word = 'better' if gain > 0 else 'worse'
        text = f'{method} is {abs(gain):.1f} mIoU {word} than the labels alone'
    doubt = 'one run each: repeat with --seed 1 before you believe it'
    few = f', on {val_images} validation images' if val_images < 50 else ''
    return f'{text}{few} ({doubt})'


def _cell(value: float | None, sign: str = '') -> str:
    return '' if value is None or value != value else f'{value:{sign}.1f}'
