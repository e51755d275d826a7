"""Settings of the interpreter for a process that reads many lines."""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import suppress

_EVERY_S, _TRIMMED_EVERY_S = 60.0, 2.0
_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3
"""Of glibc's malloc.h; other C libraries have no mallopt(3), and no arenas."""
_LARGE = 256 * 1024


def tune() -> None:
    """To be called once, when what is to be loaded is loaded."""
    # Lines leave nothing that refers to itself; looking for such values took a fifth of the time,
    # and a tenth where it looked after each 50,000 new ones: most of a batch lived still.
    gc.freeze()
    gc.set_threshold(500_000, 20, 50)
    # The database driver lets go of Python's lock at each row, and by default has it back only
    # after 5 ms where another thread computes.
    sys.setswitchinterval(0.0005)
    # Threads that take turns need no heaps of their own, in each of which freed memory would stay.
    # What is large (lines as they come, lists of them) stands apart from what stays (pages of the
    # database): else glibc, once it has seen some of it go, puts it among them and leaves holes.
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _LARGE)


async def tidy() -> None:
    """Frees what refers to itself, which answered requests leave, until it is cancelled.

    What is free between two pieces of memory in use goes back to the system too, and more often:
    a stream at full speed leaves megabytes of it.
    """
    import trio  # not for a process that only reads

    while True:
        for _ in range(round(_EVERY_S / _TRIMMED_EVERY_S)):
            await trio.sleep(_TRIMMED_EVERY_S)
            with suppress(OSError, AttributeError):
                ctypes.CDLL(None).malloc_trim(0)
        gc.collect()
