"""Several forms of one computation against each other: time in turn, extra memory."""

import argparse
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from torch import Tensor

from .process import forget_peak, peak_memory, sync
from .report import table

INPUTS = 'inputs'  # the child process that is subtracted

Seconds = dict[str, dict[str, list[float]]]  # form -> forward, backward -> each repeat
Names = Callable[[dict], list[str]]  # the first cells of a case


def add_options(parser: argparse.ArgumentParser, repeats: int) -> None:
    """Add the options of all tools that compare forms."""
    parser.add_argument(
        '--repeats', type=int, default=repeats, help=f'default: {repeats}'
    )
    parser.add_argument('--device', choices=['cpu', 'cuda'], help='default: as found')
    parser.add_argument('--threads', type=int, help="default: PyTorch's")
    parser.add_argument('--no-memory', action='store_true', help='leave the memory out')
    parser.add_argument('--out', type=Path, metavar='FILE', help='JSON of all figures')
    parser.add_argument('--measure', help=argparse.SUPPRESS)


# Time


def timed_passes(form: Callable[[], Tensor]) -> tuple[Tensor, dict[str, float]]:
    """The value, and the seconds of both passes; gradients are left in the inputs."""
    sync()
    start = time.perf_counter()
    value = form()
    sync()
    middle = time.perf_counter()
    value.sum().backward()
    sync()
    end = time.perf_counter()
    return value.detach(), dict(forward=middle - start, backward=end - middle)


def in_turn(forms: Iterable[str], repeats: int, run: Callable[[str], dict]) -> Seconds:
    """The seconds of ``run(form)``, each form once in each repeat."""
    seconds = {form: dict(forward=[], backward=[]) for form in forms}
    for _ in range(repeats):
        for form, passes in seconds.items():
            done = run(form)
            for name, values in passes.items():
                values.append(done[name])
    return seconds


def totals(passes: dict[str, list[float]]) -> list[float]:
    """Time of both passes together, for each repeat."""
    return [sum(repeat) for repeat in zip(*passes.values(), strict=True)]


def times_faster(seconds: Seconds, ours: str, other: str) -> dict:
    """Medians, their ratio, and the range of the ratios of single repeats."""
    both = {form: totals(passes) for form, passes in seconds.items()}
    median = {form: statistics.median(total) for form, total in both.items()}
    each = [b / a for a, b in zip(both[ours], both[other], strict=True)]
    return dict(
        median=median,
        ratio=median[other] / median[ours],
        ratio_range=[min(each), max(each)],
    )


# Memory


def extra_memory(
    forms: Iterable[str], peak: Callable[[str], str | float]
) -> dict[str, float]:
    """Form -> MiB on top of the inputs; ``peak(form)`` is that of a child process."""
    inputs, *peaks = (float(peak(form)) for form in (INPUTS, *forms))
    return {form: one - inputs for form, one in zip(forms, peaks, strict=True)}


def peak_of(form: str, run: Callable[[str], object]) -> float:
    """In the child process: MiB, counted anew now that the inputs are there."""
    forget_peak()
    if form != INPUTS:
        run(form)
    return peak_memory()


# Tables


def time_table(head: list[str], names: Names, cases: list[dict]) -> str:
    rows = []
    for case in cases:
        for form, passes in case['seconds'].items():
            times = [statistics.median(values) for values in passes.values()]
            cells = [f'{1e3 * value:.1f}' for value in (*times, case['median'][form])]
            rows.append([*names(case), form, *cells])
    head = [*head, 'form', 'forward ms', 'backward ms', 'both ms']
    return table(head, rows, numbers=3)


def ratio_table(head: list[str], names: Names, cases: list[dict]) -> str:
    rows = []
    for case in cases:
        low, high = case['ratio_range']
        met = 'yes' if case['ratio'] >= case['target'] else 'no'
        cells = [f'{case["ratio"]:.2f}', f'{low:.2f} to {high:.2f}']
        rows.append([*names(case), *cells, f'{case["target"]:.1f}', met])
    head = [*head, 'times faster', 'single', 'target', 'met']
    return table(head, rows, numbers=4)


def memory_table(head: list[str], names: Names, cases: list[dict], other: str) -> str:
    """Shares of the form ``other``; empty where nothing was measured.

    A case with a ``memory_target`` has one for the share of its first form.
    """
    rows, targets = [], 'memory_target' in cases[0]
    for case in cases:
        memory = case.get('memory', {})
        for form, extra in memory.items():
            share = extra / max(memory.get(other, float('nan')), 1e-9)
            row = [*names(case), form, f'{extra:.0f}', f'{share:.3f}']
            if targets:
                row += _target(share, case) if form == next(iter(memory)) else ['', '']
            rows.append(row)
    head = [*head, 'form', 'extra MiB', f'of {other}'] + ['target', 'met'] * targets
    return table(head, rows, numbers=2 + 2 * targets) if rows else ''


def _target(share: float, case: dict) -> list[str]:
    target = case['memory_target']
    return [f'{target:.1f}', 'yes' if share <= target else 'no']
