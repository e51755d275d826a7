"""Slows down those who fail to log in.

Owns how failures are remembered, in bounded memory. Times are seconds of any clock; knows no user
and no request.
"""

from __future__ import annotations

from collections.abc import Iterable


class Throttle:
    """Slows down those who fail: a few tries are free, then the wait doubles."""

    FREE = 5
    LONGEST_S = 60.0
    FORGOTTEN_S = 900.0
    MOST = 10_000

    def __init__(self) -> None:
        self._failures: dict[str, tuple[int, float]] = {}

    def wait(self, keys: Iterable[str], now: float) -> float:
        """Seconds until the next try is looked at; 0 where it may be tried now."""
        return max(self._wait(key, now) for key in keys)

    def failed(self, keys: Iterable[str], now: float) -> bool:
        """Notes a failure under each key; whether one of them is slowed down from now on."""
        counts = []
        for key in keys:
            count, at = self._failures.pop(key, (0, now))
            counts.append(count + 1 if now - at < self.FORGOTTEN_S else 1)
            self._failures[key] = (counts[-1], now)
        while len(self._failures) > self.MOST:
            del self._failures[next(iter(self._failures))]
        return self.FREE in counts

    def forget(self, key: str) -> None:
        """A success ends the slowing down."""
        self._failures.pop(key, None)

    def _wait(self, key: str, now: float) -> float:
        count, at = self._failures.get(key, (0, now))
        if count < self.FREE:
            return 0.0
        return max(0.0, at + min(2.0 ** min(count - self.FREE, 10), self.LONGEST_S) - now)
