"""The year of stamps that have none, from the order of a file's lines (RFC 3164 §4.1.2, TIMESTAMP).

Owns one rule: stamps run forward, so each is in the year in which it is nearest to the one before;
and the last one is in the latest year in which it was written before the file was. So it is right
for files years old, over several New Years, and where a file goes on with stamps that have a year.
Knows no form of a stamp: `HeaderReader` reads them, told near which moment they are.
"""

from __future__ import annotations

from calendar import isleap
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
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
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# RFC 3164's form is the only one without a year.
_LEAP_DAY, _STAMP = b"Feb 29 ", 32


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
        """The moments of some of the lines, with their numbers."""
        for n in worth_reading(lines, self._moment, self.at):
            if (at := self.step(lines[n])) is not None:
                yield n, at

    def step(self, line: bytes) -> int | None:
        """The moment of the next line: in whichever year it is nearest to the one before."""
        at = self._moment(line, self.at + _HALF - _DAY)
        if at is not None:
            self.at = at
        return at


def first_moment(samples: Iterable[Sequence[bytes]], moment: Moment, written_at: int) -> int:
    """When a file without years begins, read from its end.

    A line with a year tells that of all before it; a 29 February tells that it was a leap year.
    """
    first: int | None = None
    years, last, told, leaps = Years(moment, written_at), b"", False, list[int]()
    chosen = (lines[n] for lines in samples for n in worth_reading(lines, moment, years.at))
    for line in chosen:
        before = years.at
        if _LEAP_DAY in line[:_STAMP] and first is not None:
            leaps.append(before)
            continue
        at = moment(line, written_at) if first is None else years.step(line)
        if at is None:
            continue
        if first is None:
            first = at
            years.at = at
        elif abs(at - before) > _HALF + _DAY:
            first += round((at - before) / _YEAR) * _YEAR
            told = True
        last = line
    if first is None or told:
        return written_at if first is None else first
    end = moment(last, written_at)
    assert end is not None
    return first - _years_back(round((years.at - end) / _YEAR), leaps) * _YEAR


def worth_reading(lines: Sequence[bytes], moment: Moment, before: int) -> Sequence[int]:
    """The numbers of some of the lines, which tell the year of all: of all that are far apart."""
    if len(lines) <= _SAMPLES:
        return range(len(lines))
    some = [*range(0, len(lines) - 1, len(lines) // _SAMPLES), len(lines) - 1]
    walk = Years(moment, before)
    found = [at for n in some if (at := walk.step(lines[n])) is not None]
    is_short = all(abs(b - a) <= _SHORT for a, b in pairwise(found))
    return some if is_short else range(len(lines))


def _years_back(least: int, leaps: Iterable[int]) -> int:
    """How many years earlier it was: at least so many, and so that leap days are in leap years."""
    # Of a moment less than half a year before a 29 February, or soon after it.
    seen = [(_EPOCH + timedelta(microseconds=at + _YEAR // 3)).year for at in leaps]
    fitting = (n for n in range(least, least + 9) if all(isleap(year - n) for year in seen))
    return next(fitting, least)
