"""What the CPU can do, and how busy it is."""

import os
import time
from pathlib import Path

import torch

BFLOAT16 = ('amx_bf16', 'avx512_bf16', 'bf16')  # Intel and AMD; the last one: Arm
STAT = Path('/proc/stat')


def has_bfloat16() -> bool:
    """Whether the CPU has instructions for bfloat16; False where that is not known."""
    return not _capabilities().isdisjoint(BFLOAT16)


def usable_cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def busy_cores(seconds: float = 0.5) -> float | None:
    """Cores of the machine that others keep busy; None where that is not known.

    Args:
        seconds: Time for which this process waits while it looks.
    """
    before = _core_times()
    time.sleep(seconds)
    after = _core_times()
    if before is None or after is None or after[1] <= before[1]:
        return None
    share = (after[0] - before[0]) / (after[1] - before[1])
    return share * (os.cpu_count() or 1)


def _core_times() -> tuple[int, int] | None:
    """(busy time, all time) of all cores since the machine was started."""
    try:
        times = STAT.read_text(encoding='utf-8').splitlines()[0].split()[1:9]
        user, nice, system, idle, wait, *others = map(int, times)
    except (OSError, ValueError, IndexError):  # not Linux
        return None
    busy = user + nice + system + sum(others)
    return busy, busy + idle + wait


def _capabilities() -> set[str]:
    ask = getattr(torch.cpu, 'get_capabilities', None)  # of newer releases alone
    if ask is not None:
        return {name for name, there in ask().items() if there is True}
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:  # not Linux
        return set()
    flags = [x for x in lines if x.lower().startswith(('flags', 'features'))]
    return set(flags[0].partition(':')[2].split()) if flags else set()
