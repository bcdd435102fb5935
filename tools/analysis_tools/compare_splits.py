"""Gain over the baseline and gap to full supervision, by the number of labeled images.

Each run is NAME@LABELS=FOLDER[:NETWORK]: the method, the labeled images of its split (a
number or a fraction as 1/8; or what --full says, for full supervision) and the folder,
which holds one work folder a seed. Scores are those of the last checkpoint.

gain: the score less that of the baseline on the same split, paired by seed.
gap: the score less the mean score under full supervision, of the method itself where
there is such a run, else of the baseline.

--reported adds the numbers of a publication from a CSV file; they are drawn hatched or
dashed, are called reported, and are compared with each other alone.

examples:
  python tools/analysis_tools/compare_splits.py \\
      SupOnly@1/30=work_dirs/sup-1-30 CTT@1/30=work_dirs/ctt-1-30:student0 \\
      SupOnly@1/8=work_dirs/sup-1-8 CTT@1/8=work_dirs/ctt-1-8:student0 \\
      SupOnly@full=work_dirs/sup-full --gains gains.png --gaps gaps.png
  python tools/analysis_tools/compare_splits.py --reported table1.csv \\
      --where dataset=Cityscapes --columns row protocol mIoU --full FS --gaps gaps.png
"""

import argparse
import csv
import re
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from mmsemiseg.engine.checkpoints import CheckpointError
from mmsemiseg.utils.command import exit_with
from mmsemiseg.visualization.plots import new_plot, save_plot
from mmsemiseg.visualization.runs import read_run, spread
from mmsemiseg.visualization.tables import markdown

SHAPE = 'NAME@LABELS=FOLDER[:NETWORK]'
COLUMNS = ('name', 'labels', 'mIoU')


@dataclass
class Series:
    """The scores of a method on several splits.

    Args:
        scores: {labels: {seed: score}}; a reported one has no seed, None.
    """

    name: str
    reported: bool
    scores: dict[str, dict[int | None, float]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return f'{self.name} (reported)' if self.reported else self.name


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('runs', nargs='*', metavar=SHAPE)
    parser.add_argument('--metric', default='mIoU', help='metric of the runs [mIoU]')
    parser.add_argument('--baseline', help="NAME of the baseline [the first run's]")
    parser.add_argument(
        '--full', default='full', help='LABELS that mean full supervision [full]'
    )
    parser.add_argument('--gains', type=Path, help='picture of the gains to write')
    parser.add_argument('--gaps', type=Path, help='picture of the gaps to write')
    group = parser.add_argument_group('reported numbers')
    group.add_argument('--reported', type=Path, metavar='CSV')
    group.add_argument(
        '--columns',
        nargs=3,
        default=COLUMNS,
        metavar=('NAME', 'LABELS', 'SCORE'),
        help=f'columns of the CSV file [{" ".join(COLUMNS)}]',
    )
    group.add_argument(
        '--where',
        nargs='+',
        default=(),
        metavar='COLUMN=VALUE',
        help='rows of the CSV file that are taken; several values of one column: any',
    )
    group.add_argument(
        '--reported-baseline', help="the baseline's name in the CSV [as --baseline]"
    )
    return parser.parse_args(argv)


# Scores


def read_runs(texts: list[str], metric: str) -> list[Series]:
    found: dict[str, Series] = {}
    for text in texts:
        match = re.fullmatch(r'([^=]+)@([^=@]+)=.+', text)
        if match is None:
            raise ValueError(f'a run must be {SHAPE}, but got {text!r}')
        name, labels = match.groups()
        scores = found.setdefault(name, Series(name, False)).scores
        if labels in scores:
            raise ValueError(f'{name}@{labels} is given twice')
        scores[labels] = last_scores(read_run(text, metric)[1], metric)
    return list(found.values())


def last_scores(seeds: dict[int, dict], metric: str) -> dict[int, float]:
    """Score of each seed at the last validation that all seeds have."""
    shared = set.intersection(*(set(curve) for curve in seeds.values()))
    if not shared:
        raise ValueError(f'seeds {sorted(seeds)} have no validation in common')
    return {seed: curve[max(shared)][metric] for seed, curve in seeds.items()}


def read_reported(path: Path, columns: list[str], where: list[str]) -> list[Series]:
    with open(path, encoding='utf-8', newline='') as file:
        reader = csv.DictReader(file)
        rows, known = list(reader), reader.fieldnames or []
    wanted: dict[str, set] = {}
    for text in where:
        column, equals, value = text.partition('=')
        if not equals:
            raise ValueError(f'--where must be COLUMN=VALUE, but got {text!r}')
        wanted.setdefault(column, set()).add(value)
    for column in [*columns, *wanted]:
        if column not in known:
            raise ValueError(f'{path} has the columns {known}, but not {column!r}')
    rows = [r for r in rows if all(r[c] in values for c, values in wanted.items())]
    if not rows:
        raise ValueError(f'{path} has no row with {" ".join(where) or "a score"}')
    found: dict[str, Series] = {}
    for row in rows:
        name, labels, score = (row[column] for column in columns)
        scores = found.setdefault(name, Series(name, True)).scores
        if labels in scores:
            raise ValueError(
                f'{path} has {name!r} with {labels!r} labels twice: choose by --where'
            )
        try:
            scores[labels] = {None: float(score)}
        except ValueError:
            raise ValueError(
                f'{path}: {columns[2]} of {name!r} with {labels!r} labels must be a '
                f'number, but is {score!r}'
            ) from None
    return list(found.values())


def splits_of(series: list[Series], full: str) -> list[str]:
    """The labels of all series but full supervision, from few to many."""
    found = {labels for one in series for labels in one.scores} - {full}
    for labels in found:
        if not re.fullmatch(r'[1-9]\d*(/[1-9]\d*)?', labels):
            raise ValueError(
                f'LABELS must be a number, a fraction as 1/8, or {full!r} as --full '
                f'says, but got {labels!r}'
            )
    if len({'/' in labels for labels in found}) > 1:
        raise ValueError(
            f'LABELS must be all numbers or all fractions, but got {sorted(found)}'
        )
    return sorted(found, key=Fraction)


def baseline_of(one: Series, series: list[Series], names: dict[bool, str]) -> Series:
    """The baseline among the runs, or among the reported."""
    alike = [other for other in series if other.reported == one.reported]
    for other in alike:
        if other.name == names[one.reported]:
            return other
    option = '--reported-baseline' if one.reported else '--baseline'
    raise ValueError(
        f'{option} must be in {[other.name for other in alike]}, but got '
        f'{names[one.reported]!r}'
    )


def gains(one: Series, baseline: Series, splits: list[str]) -> dict[str, np.ndarray]:
    """{labels: gain of each seed}, of the splits that both have."""
    found = {}
    for labels in splits:
        if labels not in one.scores or labels not in baseline.scores:
            continue
        own, base = one.scores[labels], baseline.scores[labels]
        shared = [seed for seed in own if seed in base]
        if not shared:
            raise ValueError(
                f'{one.name} and {baseline.name} with {labels} labels share no seed: '
                f'{list(own)} and {list(base)}'
            )
        found[labels] = np.array([own[seed] - base[seed] for seed in shared])
    return found


def gaps(
    one: Series, baseline: Series, splits: list[str], full: str
) -> dict[str, np.ndarray]:
    """{labels: gap of each seed}; empty where full supervision is not known."""
    reference = one.scores.get(full) or baseline.scores.get(full)
    if not reference:
        return {}
    mean = np.mean(list(reference.values()))
    return {
        labels: np.array(list(one.scores[labels].values())) - mean
        for labels in splits
        if labels in one.scores
    }


# Output


def table(head: str, rows: dict[str, dict], columns: list[str], sign: str = '') -> str:
    """One row a series, one column a split."""
    lines = [
        [name, *(spread(own[c], sign) if c in own else '' for c in columns)]
        for name, own in rows.items()
    ]
    return markdown([head, *columns], lines)


def style_of(series: list[Series]) -> dict[str, dict]:
    """A colour for each name; what is reported is paler."""
    names = list(dict.fromkeys(one.name for one in series))
    return {
        one.label: dict(
            color=f'C{names.index(one.name)}', alpha=0.5 if one.reported else 1
        )
        for one in series
    }


def means(own: dict[str, np.ndarray]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each split, the latter 0 of a single score."""
    values = own.values()
    return (
        [float(v.mean()) for v in values],
        [float(v.std(ddof=1)) if len(v) > 1 else 0.0 for v in values],
    )


def plot_gains(
    rows: dict[str, dict], series: list[Series], splits: list[str], path: Path
) -> None:
    """Groups of bars, a group for each split."""
    rows = {name: own for name, own in rows.items() if own}
    reported = {one.label for one in series if one.reported}
    styles = style_of(series)
    figure, axes = new_plot(size=(0.35 * len(splits) * len(rows) + 4, 3.2))
    width = 0.8 / len(rows)
    for number, (name, own) in enumerate(rows.items()):
        places = [splits.index(c) + (number + 0.5) * width - 0.4 for c in own]
        heights, errors = means(own)
        hatch = '//' if name in reported else None
        bars = axes.bar(
            places,
            heights,
            width,
            yerr=errors if any(errors) else None,
            hatch=hatch,
            label=name,
            **styles[name],
        )
        axes.bar_label(bars, fmt='%+.1f', fontsize=7, padding=1)
    axes.set_xticks(range(len(splits)), splits)
    axes.axhline(0, color='black', linewidth=0.8)
    axes.margins(y=0.12)
    axes.set(xlabel='labeled images', ylabel='gain over the baseline in points')
    figure.legend(loc='outside right upper', fontsize=8)
    save_plot(figure, path)


def plot_gaps(
    rows: dict[str, dict], series: list[Series], splits: list[str], path: Path
) -> None:
    """A curve for each series over the labels, in logarithmic scale."""
    reported = {one.label for one in series if one.reported}
    styles = style_of(series)
    figure, axes = new_plot(size=(6.5, 3.2))
    for name, own in rows.items():
        if not own:
            continue
        heights, errors = means(own)
        axes.errorbar(
            [float(Fraction(c)) for c in own],
            heights,
            yerr=errors if any(errors) else None,
            linestyle='--' if name in reported else '-',
            marker='o',
            markersize=3,
            capsize=2,
            label=name,
            **styles[name],
        )
    axes.set_xscale('log')
    axes.set_xticks([float(Fraction(c)) for c in splits], splits)
    axes.minorticks_off()
    axes.axhline(0, color='black', linewidth=0.8)
    axes.grid(alpha=0.3)
    axes.set(xlabel='labeled images', ylabel='gap to full supervision in points')
    figure.legend(loc='outside right upper', fontsize=8)
    save_plot(figure, path)


def main(argv=None) -> int:
    args = parse_args(argv)
    series = read_runs(args.runs, args.metric)
    if args.reported is not None:
        series += read_reported(args.reported, args.columns, args.where)
    if not series:
        raise ValueError(f'give runs as {SHAPE}, or --reported')
    splits = splits_of(series, args.full)
    name = args.baseline or series[0].name
    names = {False: name, True: args.reported_baseline or name}
    baselines = [baseline_of(one, series, names) for one in series]
    pairs = list(zip(series, baselines, strict=True))

    scores = {
        one.label: {c: np.array(list(v.values())) for c, v in one.scores.items()}
        for one in series
    }
    known = any(args.full in own for own in scores.values())
    columns = [*splits, args.full] if known else splits
    print(table(f'{args.metric} in %', scores, columns))
    gained = {
        one.label: gains(one, base, splits) for one, base in pairs if one is not base
    }
    print(table('gain in points', gained, splits, '+'))
    lost = {one.label: gaps(one, base, splits, args.full) for one, base in pairs}
    print(table('gap in points', lost, splits, '+'))
    if args.gains is not None:
        if not any(gained.values()):
            raise ValueError('--gains: no split has a score and a baseline')
        plot_gains(gained, series, splits, args.gains)
        print(f'gains: {args.gains}')
    if args.gaps is not None:
        if not any(lost.values()):
            raise ValueError(
                f'--gaps: there is no score of full supervision, NAME@{args.full}'
            )
        plot_gaps(lost, series, splits, args.gaps)
        print(f'gaps: {args.gaps}')
    return 0


if __name__ == '__main__':
    exit_with(main, CheckpointError)
