"""Memory of training on a CPU."""

import ctypes
import sys
from contextlib import suppress

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


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
