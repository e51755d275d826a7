"""The year of stamps that have none, from the order of a file's lines (RFC 3164 §4.1.2, TIMESTAMP).

Owns one rule: stamps run forward, so each is in the year in which it is nearest to the one before;
and the last one is in the latest year in which it was written before the file was. So it is right
for files years old, over several New Years, and where a file goes on with stamps that have a year.
Knows no form of a stamp: `HeaderReader` reads them, told near which moment they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TypeAlias

from pda.maillog.syslog import HeaderReader

Moment: TypeAlias = Callable[[bytes, int], int | None]
"""A line's stamp (µs since the epoch), in the latest year that puts it no more than a day after
the moment given; None where it has none."""

_DAY = 86_400_000_000
_HALF = 182 * _DAY
_YEAR = 365 * _DAY + _DAY // 4
_SAMPLES = 16
_SHORT = _DAY
_PIECE = 60 * _DAY


def moment_reader(reader: HeaderReader) -> Moment:
    """How `reader` reads stamps."""

    def moment(line: bytes, near: int) -> int | None:
        header = reader.read(line.decode("utf-8", "backslashreplace"), near)
        return None if header is None else header.at

    return moment


def lacks_years(lines: Iterable[bytes], moment: Moment, written_at: int) -> bool:
    """Whether the first line with a stamp tells no year: it then is of whatever year is asked."""
    for line in lines:
        at = moment(line, written_at)
        if at is not None:
            return moment(line, at - _HALF) != at
    return False


class Years:
    """Walks along the lines of a file; `at` is the moment of the last one."""

    def __init__(self, moment: Moment, at: int) -> None:
        self.at = at
        self._moment = moment

    def pieces(self, lines: Sequence[bytes]) -> Iterator[tuple[Sequence[bytes], int]]:
        """The next lines in parts, each with the moment that tells the year of all in it."""
        begin, first, latest = 0, self.at, self.at
        for n, at in self._walk(lines):
            if abs(at - first) > _PIECE and n > begin:
                yield lines[begin:n], latest
                begin, first, latest = n, at, at
            latest = max(latest, at) if n > begin else at
        if lines[begin:]:
            yield lines[begin:], latest

    def _walk(self, lines: Sequence[bytes]) -> Iterator[tuple[int, int]]:
        """Some of the lines and their moments: all of them where they lie far apart."""
        if not lines:
            return
        step = max(len(lines) // _SAMPLES, 1)
        numbers: Sequence[int] = [*range(0, len(lines) - 1, step), len(lines) - 1]
        before = self.at
        found = [(n, at) for n in numbers if (at := self.step(lines[n])) is not None]
        if step > 1 and any(abs(b - a) > _SHORT for (_, a), (_, b) in pairwise(found)):
            self.at = before
            numbers = range(len(lines))
            found = [(n, at) for n in numbers if (at := self.step(lines[n])) is not None]
        yield from found

    def step(self, line: bytes) -> int | None:
        """The moment of the next line: in whichever year it is nearest to the one before."""
        at = self._moment(line, self.at + _HALF - _DAY)
        if at is not None:
            self.at = at
        return at


def first_moment(samples: Iterable[Sequence[bytes]], moment: Moment, written_at: int) -> int:
    """When a file without years begins, read from its end.

    A stamp far from the one before has a year of its own, or is a 29 February: it tells the year
    of all before it.
    """
    first: int | None = None
    years, last, told = Years(moment, written_at), b"", False
    for lines in samples:
        for line in [*lines[:: max(len(lines) // _SAMPLES, 1)], *lines[-1:]]:
            before = years.at
            at = moment(line, written_at) if first is None else years.step(line)
            if at is None:
                continue
            if first is None:
                first = years.at = at
            elif abs(at - before) > _HALF + _DAY:
                first += round((at - before) / _YEAR) * _YEAR
                told = True
            last = line
    if first is None:
        return written_at
    end = moment(last, written_at)
    if not told and end is not None:
        first += round((end - years.at) / _YEAR) * _YEAR
    return first
