"""A log of what took long, where that is switched on.

Owns the measure. Says what was done, never about whom.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager


class _Slow:
    """Notes what took long, where that is switched on."""

    def __init__(self) -> None:
        self.from_s = 0.0
        """0: nothing is noted."""
        self._log = logging.getLogger("pda.slow")

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - begun
            if self.from_s and took >= self.from_s:
                self._log.warning("%s took %.0f ms", what, took * 1000)


slow = _Slow()
"""`with slow("a commit"): …`"""
