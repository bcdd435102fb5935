"""Several forms of one computation against each other: time in turn, extra memory."""

import time
from collections.abc import Callable, Iterable

from torch import Tensor

from .process import forget_peak, peak_memory, sync

INPUTS = 'inputs'  # the child process that is subtracted

Seconds = dict[str, dict[str, list[float]]]  # form -> forward, backward -> each repeat


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


def check_equal(first: dict, other: dict, name: str, tolerance: float) -> None:
    """Refuse a form with another value or gradient than the first one."""
    for key in ('value', 'grad'):
        gap = (other[key] - first[key]).norm() / first[key].norm()
        if not gap <= tolerance:
            raise ValueError(f'{name} differs in {key} by {gap:.2g}')


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
