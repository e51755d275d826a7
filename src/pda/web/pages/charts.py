"""Charts, drawn on the server: numbers in, shapes out.

Owns scales, ticks and the geometry of bars and lines; `_chart.html` makes SVG of them. The plot is
1000 wide and `HEIGHT` high, and stretched to the page. Knows no page. Times are µs since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from math import ceil, floor, log10
from typing import Final

import msgspec

from pda.web.pages import wording
from pda.web.pages.view import DAY, HOUR
from pda.web.ports import Pace

HEIGHT: Final = 168
_WIDTH: Final = 1000.0
_TICKS: Final = 6
_GRID: Final = 4
_EVERY: Final = (HOUR // 12, HOUR // 4, HOUR // 2, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR,
                 DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY, 91 * DAY)  # fmt: skip


class Series(msgspec.Struct, frozen=True):
    """One kind of values over time."""

    key: str
    """Class of its shapes, and of its pattern where it has one."""
    label: str
    values: Sequence[float | None]
    """One for each bucket; None where nothing is known."""


class Chart(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What is to be shown."""

    id: str
    title: str
    description: str
    """What there is to see, in a sentence."""
    starts: Sequence[int]
    step: int
    series: Sequence[Series]
    written: Callable[[float], str] = wording.number
    stacked: bool = True
    most: float | None = None
    """Top of the scale, where it is known: 100 for a rate."""
    powers: bool = False
    """Whether the scale goes by powers of ten: for lines that lie far apart."""
    marks: Sequence[float] = ()
    """Levels that such a scale may be marked at."""

    @property
    def is_empty(self) -> bool:
        return not any(value for series in self.series for value in series.values)

    @cached_property
    def top(self) -> float:
        """Where the scale ends."""
        return self.most or self._grid()[-1]

    def levels(self) -> list[tuple[float, str]]:
        """Lines of the grid: height from above, and what they stand for."""
        if self.powers:
            low, high = self._decades
            inside = [mark for mark in self.marks if 10.0**low <= mark <= 10.0**high]
            shown = inside[:: -(-len(inside) // (_GRID + 1)) or 1]
            return [(self._y(mark), self.written(mark)) for mark in shown]
        grid = self._grid() if self.most is None else [self.most * n / _GRID for n in range(5)]
        return [(self._y(value), self.written(value)) for value in grid]

    def moments(self) -> list[tuple[float, int, bool]]:
        """Ticks below: percent from the left, when, and whether a day is meant."""
        if not self.starts:
            return []
        begin, end = self.starts[0], self.starts[-1] + self.step
        every = next((e for e in _EVERY if (end - begin) / e <= _TICKS), _EVERY[-1])
        first = -(-begin // every) * every
        span = end - begin
        return [
            (round(100 * (at - begin) / span, 2), at, every >= DAY)
            for at in range(first, end, every)
        ]

    def shapes(self) -> list[tuple[str, str]]:
        """For each series its key and the data of its path."""
        if not self.stacked:
            return [(series.key, self._line(series.values)) for series in self.series]
        below = [0.0] * len(self.starts)
        found = []
        for series in self.series:
            found.append((series.key, self._bars(series.values, below)))
            below = [b + (v or 0) for b, v in zip(below, series.values, strict=True)]
        return found

    def rows(self) -> list[tuple[int, list[str]]]:
        """The numbers as a table: when a bucket begins, and a text for each series."""
        return [
            (at, [self._text(series.values[n]) for series in self.series])
            for n, at in enumerate(self.starts)
        ]

    def _text(self, value: float | None) -> str:
        return "–" if value is None else self.written(value)

    def hits(self) -> list[tuple[float, float, int]]:
        """Columns to point at: left, width, when."""
        width = self._column
        return [(round(n * width, 2), round(width, 2), at) for n, at in enumerate(self.starts)]

    @property
    def _column(self) -> float:
        return _WIDTH / max(1, len(self.starts))

    def _grid(self) -> list[float]:
        return ticks(max(self._heights(), default=0.0))

    def _heights(self) -> list[float]:
        if not self.stacked:
            return [value or 0.0 for series in self.series for value in series.values]
        columns = zip(*(series.values for series in self.series), strict=True)
        return [sum(value or 0.0 for value in column) for column in columns]

    @cached_property
    def _decades(self) -> tuple[int, int]:
        known = [value for value in self._heights() if value > 0] or [1.0]
        low, high = floor(log10(max(min(known), 0.01))), ceil(log10(max(known)))
        return low, max(high, low + 1)

    def _y(self, value: float) -> float:
        if self.powers:
            low, high = self._decades
            share = (log10(max(value, 10.0**low)) - low) / (high - low)
            return round(HEIGHT - HEIGHT * min(share, 1.0), 2)
        return round(HEIGHT - HEIGHT * min(value / self.top, 1.0), 2)

    def _bars(self, values: Sequence[float | None], below: Sequence[float]) -> str:
        column = self._column
        gap = min(2.0, column / 6)
        parts = []
        for n, value in enumerate(values):
            if value:
                upper, lower = self._y(below[n] + value), self._y(below[n])
                upper = min(upper, lower - 1)  # one is not none
                left, width = round(n * column + gap / 2, 2), round(column - gap, 2)
                parts.append(f"M{left} {lower}h{width}V{upper}h-{width}z")
        return "".join(parts)

    def _line(self, values: Sequence[float | None]) -> str:
        """Through the middle of each column; broken where nothing is known."""
        parts, pen = [], "M"
        for n, value in enumerate(values):
            if value is None:
                pen = "M"
                continue
            point = f"{round((n + 0.5) * self._column, 2)} {self._y(value)}"
            alone = pen == "M" and (n + 1 == len(values) or values[n + 1] is None)
            parts.append(f"{pen}{point}" + ("h0.01" if alone else ""))
            pen = "L"
        return "".join(parts)


class Spark(msgspec.Struct, frozen=True):
    """A small line for a row of a table, 100 wide and 20 high."""

    values: Sequence[float | None]
    most: float

    def path(self) -> str:
        """The data of its path."""
        step, parts, pen = 100 / max(1, len(self.values) - 1), [], "M"
        for n, value in enumerate(self.values):
            if value is None:
                pen = "M"
                continue
            height = round(19 - 18 * min(1.0, value / (self.most or 1)), 1)
            parts.append(f"{pen}{round(n * step, 1)} {height}")
            pen = "L"
        return "".join(parts)


def line_of(pace: Pace) -> Spark:
    """A small line of how quickly something went on, up to its most."""
    return Spark(pace.line, max(pace.line, default=0.0))


def ticks(most: float) -> list[float]:
    """Round numbers from 0 to at least `most`."""
    if most <= 0:
        return [0.0, 1.0]
    unit = 10.0 ** floor(log10(most / _GRID))
    step = next(unit * n for n in (1, 2, 2.5, 5, 10) if unit * n * _GRID >= most)
    if most >= 1 and step < 1 and most == int(most):
        step = 1.0
    count = int(-(-most // step))
    return [round(step * n, 10) for n in range(count + 1)]
