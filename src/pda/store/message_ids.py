"""Message-IDs that are surely not stored: so that hardly any new one is looked for on the disk.

Owns a filter in memory (Bloom's) of the Message-IDs of the newest queue entries. What comes is
added before it is written; entries that were stored before are read a few at a time, as far as
questions make that worth it. It may say of a Message-ID that it is there where it is not, as of
one that has gone. Of entries whose Message-IDs somebody else changes, it knows nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

from pda.store.database import Connection
from pda.store.names import number_of

WINDOW_BITS: Final = 16
"""A filter is of 65,536 entries, so that old ones can be left out, and few pages are looked at."""
MOST_WINDOWS: Final = 128
"""16 MiB: eight million entries."""
_PLACES: Final = 1 << 20
"""Bits of a filter, 16 for each entry: one of seven hundred answers is wrong."""
_MASK: Final = _PLACES - 1
_WORTH_READING, _AT_A_TIME = 1024, 16_384
"""Questions about entries that are not known yet, after which so many of them are read: which takes
about as long as the questions did."""
_OLDER: Final = """
SELECT id, coalesce(message_id, '') FROM entry WHERE id < ? ORDER BY id DESC LIMIT ?
"""
_END: Final = 2**62


class Span(NamedTuple):
    """Queue entries from one number to another."""

    first: int
    last: int


EVERYWHERE: Final = Span(0, _END)


class MessageIds:
    """Of the newest entries of one database."""

    def __init__(self, connection: Connection, last_entry: int) -> None:
        """Of those after this one at first."""
        self._connection = connection
        self._windows: dict[int, bytearray] = {}
        self._from = last_entry + 1
        """The first entry that is known, with all after it."""
        self._asked = 0
        """About entries before that, since some of them were read."""

    def add(self, entries: Iterable[tuple[int, str]]) -> None:
        """Entries that have these Message-IDs from now on."""
        for number, message_id in entries:
            if message_id and number >= self._from:
                bits = self._windows.get(number >> WINDOW_BITS)
                if bits is None:
                    bits = self._opened(number >> WINDOW_BITS)
                for place in _places(message_id):
                    bits[place >> 3] |= 1 << (place & 7)

    def forget_gone(self) -> None:
        """Those of entries before the first that is stored, once some have gone."""
        (first,) = self._connection.execute("SELECT min(id) FROM entry").fetchone() or (None,)
        begin = number_of(first or 0) >> WINDOW_BITS
        for window in [window for window in self._windows if window < begin]:
            del self._windows[window]

    def where(self, message_ids: Collection[str]) -> Iterator[tuple[Span, list[str]]]:
        """Among which entries there may be which of these, the oldest entries first."""
        if self._from > 1:
            self._asked += len(message_ids)
            if self._asked >= _WORTH_READING:
                self._read_older()
        if self._from > 1:
            yield Span(0, self._from - 1), [*message_ids]
        places = [(one, a, b, more) for one in message_ids for a, b, *more in [_places(one)]]
        for window, bits in sorted(self._windows.items()):
            found = [
                one
                for one, a, b, more in places
                if bits[a >> 3] >> (a & 7) & 1
                and bits[b >> 3] >> (b & 7) & 1
                and all(bits[c >> 3] >> (c & 7) & 1 for c in more)
            ]
            if found:
                first = window << WINDOW_BITS
                yield Span(max(first, self._from), first + (1 << WINDOW_BITS) - 1), found

    def _opened(self, window: int) -> bytearray:
        """A new window; the oldest is left to the disk where there are too many."""
        bits = self._windows[window] = bytearray(_PLACES >> 3)
        if len(self._windows) > MOST_WINDOWS:
            oldest = min(self._windows)
            del self._windows[oldest]
            self._from = (oldest + 1) << WINDOW_BITS
        return bits

    def _read_older(self) -> None:
        """The next entries before those that are known, while there is room for them."""
        self._asked = 0
        if len(self._windows) >= MOST_WINDOWS:
            return
        rows = self._connection.execute(_OLDER, (self._from, _AT_A_TIME)).fetchall()
        self._from = number_of(rows[-1][0]) if len(rows) == _AT_A_TIME else 0
        self.add((number_of(number), str(message_id)) for number, message_id in rows)


def _places(message_id: str) -> tuple[int, int, int, int, int]:
    """Where it stands in a filter; by a hash that nobody can foresee who makes one up."""
    hashed = hash(message_id)
    a, step = hashed & _MASK, hashed >> 32
    b, c = a + step & _MASK, a + 2 * step & _MASK
    return a, b, c, a + 3 * step & _MASK, a + 4 * step & _MASK
