"""Times of several calls beside each other."""

import time
from collections.abc import Callable, Mapping
from statistics import median


def milliseconds(
    calls: Mapping[str, Callable[[], object]], seconds: float = 5.0, least: int = 5
) -> dict[str, float]:
    """Median time of each call, which take turns.

    Args:
        calls: Functions by name.
        seconds: Time that all of them take together, about.
        least: Number of rounds at least, after one that does not count.
    """
    found: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or min(map(len, found.values())) < least:
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            found[name].append(time.perf_counter() - start)
    return {name: 1000 * median(times) for name, times in found.items()}
