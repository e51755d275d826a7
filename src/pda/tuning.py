"""Settings of the interpreter for a process that reads many lines."""

from __future__ import annotations

import gc
import sys


def tune() -> None:
    """To be called once, when what is to be loaded is loaded."""
    # Nothing of ours refers to itself; looking for such values took a fifth of the time, and a
    # tenth where it looked after each 50,000 new ones: most of a batch lived still.
    gc.freeze()
    gc.set_threshold(500_000, 20, 50)
    # The database driver lets go of Python's lock at each row, and by default has it back only
    # after 5 ms where another thread computes.
    sys.setswitchinterval(0.0005)
