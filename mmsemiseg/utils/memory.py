"""Memory of a machine, and of training on a CPU."""

import ctypes
import sys
from contextlib import suppress
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
PROC, GROUP = Path('/proc'), Path('/sys/fs/cgroup')


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for the next step.

    glibc gives large blocks back to the system at once, and each training step then
    waits while the system maps and clears them again. Kept, they cost memory only if
    later blocks do not fit into them.

    Returns:
        Whether the C library is glibc and has taken the setting.
    """
    if not sys.platform.startswith('linux'):
        return False
    with suppress(AttributeError, OSError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, -1))
    return False


def available_memory() -> int | None:
    """Bytes that programs can still take; None where that is not known.

    A limit of the control group, as containers have it, counts.
    """
    found = []
    with suppress(OSError, ValueError, IndexError, StopIteration):
        lines = (PROC / 'meminfo').read_text(encoding='utf-8').splitlines()
        line = next(x for x in lines if x.startswith('MemAvailable'))
        found.append(int(line.split()[1]) * 1024)
    with suppress(OSError, ValueError, KeyError):
        limit, used = ((GROUP / f'memory.{x}').read_text() for x in ('max', 'current'))
        stat = dict(x.split() for x in (GROUP / 'memory.stat').read_text().splitlines())
        cached = int(stat['inactive_file'])  # which the system gives back
        found.append(max(int(limit) - int(used) + cached, 0))
    return min(found, default=None)
