"""How many a second: out of samples of counters, taken at intervals.

Owns a bounded history of samples, and what follows from it. Pure: who samples says when, in seconds
of a clock that only goes forward.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from itertools import pairwise
from typing import Final, TypeAlias

from pda.web.ports import Pace

EVERY_S: Final = 5.0
"""Between two samples."""
_NOW_S: Final = 10.0
_LATELY_S: Final = 300.0
_KEPT_S: Final = 900.0
_STEPS: Final = 60
"""Of the line that is drawn of all that is kept."""

Counters: TypeAlias = Mapping[str, float]


class Rates:
    """Of the counters of one service."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, Counters]] = deque()

    def note(self, at: float, counters: Counters) -> None:
        """A sample; what is older than is kept goes."""
        self._samples.append((at, counters))
        while self._samples[0][0] < at - _KEPT_S:
            self._samples.popleft()

    def lately(self, name: str) -> float:
        """By how much a counter has grown in the last five minutes, or since it was first seen."""
        return self._growth(name, _LATELY_S)[0]

    def pace(self, name: str) -> Pace:
        """How quickly a counter grows; not at all where it is not known."""
        growth, seconds = self._growth(name, _NOW_S)
        grown, long = self._growth(name, _LATELY_S)
        return Pace(_rate(growth, seconds), _rate(grown, long), self._line(name))

    def _growth(self, name: str, seconds: float) -> tuple[float, float]:
        """And how long that took."""
        known = self._known(name)
        if not known:
            return 0.0, 0.0
        last = known[-1][0]
        first = next(one for one in known if one[0] >= last - seconds)
        return max(0.0, known[-1][1] - first[1]), last - first[0]

    def _line(self, name: str) -> tuple[float, ...]:
        """Rates over all that is kept, in steps as long as each other."""
        known = self._known(name)
        every = max(1, int(_KEPT_S / EVERY_S / _STEPS))
        points = known[::-every][::-1]
        return tuple(
            _rate(max(0.0, after - before), until - since)
            for (since, before), (until, after) in pairwise(points)
        )

    def _known(self, name: str) -> list[tuple[float, float]]:
        """Its samples since it last came about; a counter that is gone is not known."""
        found: list[tuple[float, float]] = []
        for at, counters in reversed(self._samples):
            if name not in counters:
                break
            found.append((at, counters[name]))
        return found[::-1]


def _rate(growth: float, seconds: float) -> float:
    return growth / seconds if seconds else 0.0
