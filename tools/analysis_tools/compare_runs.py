"""Validation curves and last scores of several runs, over their seeds.

Each run is NAME=FOLDER[:NETWORK]; the folder holds one work folder a seed. Scores are
those of the last validation that all its seeds have; gains are paired by seed and taken
against the first run.

examples:
  python tools/analysis_tools/compare_runs.py \\
      SupOnly=work_dirs/sup:student MeanTeacher=work_dirs/mt:teacher --plot curves.png
"""

import argparse
from pathlib import Path

import numpy as np

from mmsemiseg.utils.command import exit_with
from mmsemiseg.visualization.plots import new_plot, save_plot
from mmsemiseg.visualization.runs import read_run, spread
from mmsemiseg.visualization.tables import markdown


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('runs', nargs='+', metavar='NAME=FOLDER[:NETWORK]')
    parser.add_argument('--metric', default='mIoU', help='metric to compare [mIoU]')
    parser.add_argument('--plot', type=Path, help='picture of the curves to write')
    parser.add_argument(
        '--classes', action='store_true', help='print a row for each class, too'
    )
    return parser.parse_args(argv)


def values(seeds: dict, step: int, metric: str) -> np.ndarray:
    return np.array([seeds[s][step].get(metric, np.nan) for s in sorted(seeds)])


def shared_steps(name: str, seeds: dict) -> list[int]:
    """Iterations at which all seeds of a run were validated."""
    steps = set.intersection(*(set(curve) for curve in seeds.values()))
    if not steps:
        raise ValueError(f'{name}: no iteration at which all its seeds were validated')
    return sorted(steps)


def unfinished(runs: dict[str, dict]) -> list[str]:
    """A line for each run whose seeds do not end at one iteration."""
    lines = []
    for name, seeds in runs.items():
        ends = {seed: max(curve) for seed, curve in seeds.items()}
        if len(set(ends.values())) > 1:
            each = ', '.join(f'{seed}: {ends[seed]}' for seed in sorted(ends))
            last = shared_steps(name, seeds)[-1]
            lines.append(f'{name}: seeds end at {each}; compared at {last}')
    return lines


def report(runs: dict[str, dict], metric: str, classes: bool) -> str:
    """One row a run: the curve, the last score of each seed, the paired gain."""
    first = next(iter(runs.values()))
    steps = sorted(
        {step for seeds in runs.values() for s in seeds.values() for step in s}
    )
    head = ['', *map(str, steps), 'seeds', 'gain']
    rows = []
    for name, seeds in runs.items():
        own = shared_steps(name, seeds)
        cells = [spread(values(seeds, s, metric)) if s in own else '' for s in steps]
        last = own[-1]
        each = ', '.join(f'{value:.1f}' for value in values(seeds, last, metric))
        rows.append([name, *cells, each, _gain(first, seeds, last, metric)])
    text = markdown(head, rows)
    if classes:
        text += '\n' + markdown(['', *runs], _class_rows(runs))
    return text


def _gain(first: dict, seeds: dict, last: int, metric: str) -> str:
    shared = sorted(set(first) & set(seeds))
    if seeds is first or not shared:
        return ''
    end = shared_steps('first run', first)[-1]
    pairs = [seeds[s][last][metric] - first[s][end][metric] for s in shared]
    return spread(np.array(pairs), '+')


def _class_rows(runs: dict[str, dict]) -> list[list[str]]:
    names = next(iter(next(iter(runs.values())).values()))
    keys = [key for curve in names.values() for key in curve if key.startswith('IoU.')]
    rows = []
    for key in dict.fromkeys(keys):
        cells = []
        for name, seeds in runs.items():
            last = shared_steps(name, seeds)[-1]
            cells.append(spread(values(seeds, last, key)))
        rows.append([key.removeprefix('IoU.'), *cells])
    return rows


def plot(runs: dict[str, dict], metric: str, path: Path) -> None:
    """Mean curve of each run, its seeds thin behind it."""
    figure, axes = new_plot()
    for number, (name, seeds) in enumerate(runs.items()):
        colour = f'C{number}'
        for curve in seeds.values():
            points = sorted((step, scores[metric]) for step, scores in curve.items())
            axes.plot(*zip(*points, strict=True), colour, alpha=0.25, linewidth=1)
        own = shared_steps(name, seeds)
        means = [values(seeds, step, metric).mean() for step in own]
        axes.plot(own, means, colour, marker='o', markersize=3, label=name)
    axes.set(xlabel='iteration', ylabel=f'{metric} in %')
    axes.grid(alpha=0.3)
    axes.legend()
    save_plot(figure, path)


def main(argv=None) -> int:
    args = parse_args(argv)
    runs = dict(read_run(text, args.metric) for text in args.runs)
    for line in unfinished(runs):
        print(f'NOTE: {line}')
    print(report(runs, args.metric, args.classes))
    if args.plot is not None:
        plot(runs, args.metric, args.plot)
        print(f'curves: {args.plot}')
    return 0


if __name__ == '__main__':
    exit_with(main)
