"""What the unlabeled images were worth, as far as the runs can tell."""

import json
import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from .run_folder import RunRecord

CHANCE = 1.0  # mIoU by which two runs of one kind may differ, where nothing is known
OWN = ('randomness', 'work_dir', 'experiment_name', 'resume', 'load_from', 'visualizer')


class Row(NamedTuple):
    """Runs that differ in their seed alone."""

    name: str
    runs: list[RunRecord]

    @property
    def first(self) -> RunRecord:
        return self.runs[0]

    def values(self, network: str | None, metric: str = 'mIoU') -> list[float]:
        """Score of each run that has it, of the last validation."""
        found = [run.scores.get(network, {}).get(metric) for run in self.runs]
        return [value for value in found if value is not None]

    def mean(self, network: str | None, metric: str = 'mIoU') -> float | None:
        """Mean score of the runs; None where no run has it."""
        found = self.values(network, metric)
        return fmean(found) if found else None


class Worth(NamedTuple):
    """The comparison of a method with the same labels alone.

    Attributes:
        gain: mIoU of the method minus that of the baseline.
        chance: mIoU that chance alone could give.
        more_labels: Number of further labels by which the baseline reaches the
            method; None where no run at a larger number tells, ``inf`` where all of
            them stay below.
        between: Numbers of labels of the runs that ``more_labels`` is read off.
    """

    gain: float
    chance: float
    more_labels: float | None
    between: tuple[int, int] | None


def rows_of(runs: Sequence[RunRecord]) -> list[Row]:
    """Runs by their settings, seeds together, in the order of the first of each."""
    found: dict[str, list[RunRecord]] = {}
    for run in runs:
        settings = {key: value for key, value in run.config.items() if key not in OWN}
        key = json.dumps(settings, sort_keys=True, default=str)
        found.setdefault(f'{run.num_labeled} {key}', []).append(run)
    return [Row(_common_name(group), group) for group in found.values()]


def _common_name(runs: list[RunRecord]) -> str:
    if len(runs) == 1:
        return runs[0].name
    parts = [run.name.split('/') for run in runs]
    shared = [one[0] for one in zip(*parts, strict=False) if len(set(one)) == 1]
    return '/'.join(shared) or runs[0].name


def baseline_of(row: Row, rows: Sequence[Row]) -> Row | None:
    """The labels alone that fit a row: as many labels, else None."""
    number = row.first.num_labeled
    fits = [
        other
        for other in rows
        if other.first.is_baseline
        and number is not None
        and other.first.num_labeled == number
        and other.mean(other.first.tested) is not None
    ]
    fits.sort(key=lambda other: other.first.planned != row.first.planned)
    return fits[0] if fits else None


def worth_of(row: Row, rows: Sequence[Row]) -> Worth | None:
    """What the unlabeled images of a row gave; None where it cannot be said."""
    base, score = baseline_of(row, rows), row.mean(row.first.tested)
    if base is None or score is None:
        return None
    gain = score - base.mean(base.first.tested)
    points: dict[int, list[float]] = {}
    for other in rows:
        value, number = other.mean(other.first.tested), other.first.num_labeled
        if other.first.is_baseline and number and value is not None:
            points.setdefault(number, []).append(value)
    curve = sorted((number, fmean(values)) for number, values in points.items())
    more, between = more_labels(row.first.num_labeled, score, curve)
    return Worth(gain, _chance(row, base), more, between)


def more_labels(
    number: int, score: float, curve: Sequence[tuple[int, float]]
) -> tuple[float | None, tuple[int, int] | None]:
    """Further labels by which the curve reaches a score, and where it was read.

    Between two numbers of labels the curve is linear in the logarithm of the number.

    Args:
        number: Number of labels of the method.
        score: Score of the method.
        curve: Number of labels and score of the labels alone, sorted.

    >>> curve = [(16, 20.0), (64, 30.0), (256, 50.0)]
    >>> more_labels(16, 25.0, curve)
    (16.0, (16, 64))
    >>> more_labels(16, 60.0, curve), more_labels(16, 10.0, curve)
    ((inf, (16, 256)), (None, None))
    """
    points = [point for point in curve if point[0] >= number]
    if len(points) < 2 or points[0][0] != number or score <= points[0][1]:
        return None, None
    for (low, below), (high, above) in zip(points, points[1:], strict=False):
        if below <= score <= above and below < above:
            share = (score - below) / (above - below)
            reached = low * (high / low) ** share
            return round(reached - number, 6), (low, high)
    return math.inf, (number, points[-1][0])


def _chance(row: Row, base: Row) -> float:
    spreads = [
        stdev(values) / math.sqrt(len(values))
        for one in (row, base)
        if len(values := one.values(one.first.tested)) > 1
    ]
    return 2 * math.hypot(*spreads) if len(spreads) == 2 else CHANCE


def unlike(row: Row, base: Row) -> list[str]:
    """What makes a comparison of two rows doubtful, in words."""
    one, other = row.first, base.first
    found = []
    if one.planned != other.planned:
        found.append(f'{one.planned} iterations against {other.planned}')
    if _finished(one) != _finished(other):
        stopped = one if not _finished(one) else other
        found.append(f'{stopped.name} was stopped after {stopped.iterations}')
    batches = [run.log.streams.get('labeled') for run in (one, other)]
    if None not in batches and batches[0].batch != batches[1].batch:
        found.append(
            f'{batches[0].batch} labeled images a step against {batches[1].batch}'
        )
    if _labeled(one) != _labeled(other):
        found.append('the labels are of other lists of images')
    if _student(one) != _student(other):
        found.append('the students have other settings')
    if one.log.protocol != other.log.protocol or _held_out(one) != _held_out(other):
        found.append('they were validated in another way, or on other images')
    return found


def _finished(run: RunRecord) -> bool:
    return run.planned is None or run.iterations >= run.planned


def _student(run: RunRecord) -> str:
    model = run.config.get('model') or {}
    return json.dumps(model.get('student', model), sort_keys=True, default=str)


def _labeled(run: RunRecord) -> list:
    loaders = run.config.get('train_dataloader') or {}
    data = (loaders.get('labeled') or loaders).get('dataset') or {}
    return [data.get(key) for key in ('data_root', 'ann_file', 'data_prefix')]


def _held_out(run: RunRecord) -> str:
    loader = run.config.get('val_dataloader') or {}
    return json.dumps(loader.get('dataset'), sort_keys=True, default=str)
