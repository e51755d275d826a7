"""Part of an address → the queue entries that have it: all addresses, packed in blocks.

Owns the table `address_block`: senders and recipients of some queue entries, in lower case. A block
is looked through as a whole, so that all of them take a fraction of a second: the time is that of
reading its pages and unpacking it. It may name an entry that has gone, and has every address that
an entry has: whoever searches compares the entry itself. What comes is written as small blocks,
which one takes the place of when it is full; `address_runs` puts those together, with numbers below
zero, so that an address stands there once for many entries.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate, chain, groupby
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias

import zstandard

from pda.store.database import Connection, Row, Value, snapshot
from pda.store.names import number_of

TABLES: Final = (
    """
CREATE TABLE address_block (
    number INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL,
    addresses BLOB NOT NULL, entries BLOB NOT NULL
)
""",
    "CREATE INDEX address_block_last ON address_block (last, first)",
)
PUT: Final = "INSERT INTO address_block VALUES (?, ?, ?, ?, ?)"
DROP: Final = "DELETE FROM address_block WHERE number = ?"

PIECE_BITS: Final = 16
"""The entries of a block that is written are of one piece of 65,536: one that is late makes none
wide."""
WIDE_BITS: Final = 18
"""And the entries of any block of one stretch of 262,144, from whose first one they are counted."""
_FULL: Final = 1024
"""Addresses of a block that takes the place of smaller ones."""
_MOST_OPEN: Final = 16
_BETWEEN: Final = f"""
SELECT number, last FROM address_block INDEXED BY address_block_last
WHERE last BETWEEN ?1 AND ?2 + {(1 << WIDE_BITS) - 1} AND first <= ?2
"""
ADDRESSES: Final = "SELECT addresses FROM address_block WHERE number = ?"
ENTRIES: Final = "SELECT entries FROM address_block WHERE number = ?"
_MOST_OCTETS: Final = 64 * 1024 * 1024
_WIDTH, _USED = 4, 3
"""Octets of a number, and those of them that are not always zero."""

# A domain, and the local parts that it has, each with its end: so a domain stands there once.
_DOMAIN, _LOCALS, _END = "\x01", "\x00", "\n"
_MARKS: Final = (_DOMAIN, _LOCALS, _END)
_NO_MARKS: Final = {ord(mark): " " for mark in _MARKS}
_BEGIN, _THEN, _STOP = (mark.encode() for mark in _MARKS)
Named: TypeAlias = tuple[int, str]
"""The number of a queue entry, and an address that it has."""
Addressed: TypeAlias = tuple[bytes, bytes, bytes]
"""Domain and local part of an address, and the queue entries that have it: numbers of four octets,
counted from the first one of their stretch."""
Span: TypeAlias = tuple[int, int]
"""The first and the last queue entry of a block."""


class _Small(NamedTuple):
    """Blocks that are not full together."""

    numbers: list[Row]
    named: list[Named]


class AddressBlocks:
    """Makes the rows of one database."""

    def __init__(self, connection: Connection) -> None:
        row = connection.execute("SELECT max(number) FROM address_block").fetchone()
        self._last = max(0, number_of(row[0] or 0)) if row else 0
        self._packing = Packing()
        self._open: dict[int, _Small] = {}
        """By piece."""

    def rows(self, named: Iterable[Named]) -> tuple[list[Row], list[Row]]:
        """Blocks with these addresses, and the numbers of those that they take the place of."""
        put: list[Row] = []
        gone: list[Row] = []
        for piece, some in _by_piece(named).items():
            small = self._open.pop(piece, None) or _Small([], [])
            self._last += 1
            together = small.named + some
            if len(together) < _FULL:
                self._keep_open(piece, _Small([*small.numbers, (self._last,)], together))
                together = some
            else:
                gone += small.numbers
            put.append(self._row(together))
        return put, gone

    def close(self) -> None:
        """What comes goes into new blocks: others have changed those that there are."""
        self._open.clear()

    def _keep_open(self, piece: int, small: _Small) -> None:
        if len(self._open) >= _MOST_OPEN:
            del self._open[next(iter(self._open))]
        self._open[piece] = small

    def _row(self, named: list[Named]) -> Row:
        by_domain: dict[str, dict[str, list[int]]] = {}
        numbers = [number for number, _ in named]
        span = min(numbers), max(numbers)
        base = base_of(span[1])
        for number, address in named:
            local, _, domain = address.rpartition("@")
            by_local = by_domain.get(domain)
            if by_local is None:
                by_local = by_domain[domain] = {}
            entries = by_local.get(local)
            if entries is None:
                by_local[local] = [number - base]
            else:
                entries.append(number - base)
        text = _text([(domain, list(by_local)) for domain, by_local in by_domain.items()])
        octets = text.encode("utf-8", "surrogatepass").lower()
        entries_of = [some for by_local in by_domain.values() for some in by_local.values()]
        flat = octets_of(chain.from_iterable(entries_of))
        return self._packing.row(self._last, span, octets, map(len, entries_of), flat)


def base_of(entry: int) -> int:
    """What the entries of a block are counted from that has this one."""
    return entry >> WIDE_BITS << WIDE_BITS


def octets_of(numbers: Iterable[int]) -> bytes:
    """Four of each."""
    some = list(numbers)
    return struct.pack(f"<{len(some)}I", *some)


def numbers_of(octets: bytes) -> tuple[int, ...]:
    """The other way round."""
    return struct.unpack(f"<{len(octets) // _WIDTH}I", octets)


_Groups: TypeAlias = list[tuple[str, list[str]]]
"""Domains with their local parts."""


def _text(groups: _Groups) -> str:
    """The form in which addresses are looked through."""
    text = _joined(groups)
    parts = sum(len(locals_) for _, locals_ in groups)
    if tuple(map(text.count, _MARKS)) == (len(groups), len(groups), parts):
        return text
    return _joined([(_plain(domain), [_plain(one) for one in some]) for domain, some in groups])


def parts(address: str) -> tuple[bytes, bytes]:
    """Its domain and local part, as they stand in a block."""
    local, _, domain = _octets(address).rpartition(b"@")
    return domain, local


def addressed(named: Iterable[Named]) -> list[Addressed]:
    """Each address once, in order."""
    found: dict[str, list[int]] = {}
    for number, address in named:
        found.setdefault(address, []).append(number - base_of(number))
    return sorted((*parts(address), octets_of(entries)) for address, entries in found.items())


def _octets(text: str) -> bytes:
    return _plain(text).encode("utf-8", "surrogatepass").lower()


def _joined(groups: _Groups) -> str:
    return "".join(f"{_DOMAIN}{domain}{_LOCALS}{_END.join([*some, ''])}" for domain, some in groups)


def _plain(text: str) -> str:
    return text.translate(_NO_MARKS)


def _by_piece(named: Iterable[Named]) -> dict[int, list[Named]]:
    """Most often all of it is of one."""
    found: dict[int, list[Named]] = {}
    for one in named:
        found.setdefault(one[0] >> PIECE_BITS, []).append(one)
    return found


class Packing:
    """Packs and unpacks blocks; not to be used by two threads at a time."""

    def __init__(self, level: int = 3) -> None:
        self._pack = zstandard.ZstdCompressor(level=level).compress
        self._unpack = zstandard.ZstdDecompressor().decompress

    def row(
        self, number: int, span: Span, text: bytes, counts: Iterable[int], entries: bytes
    ) -> Row:
        """Of a block with a text as `text_of` makes it, and so many entries of each address."""
        each = octets_of(counts)
        numbers = octets_of([len(each) // _WIDTH]) + each + entries
        # What is alike stands together: octets of the same weight.
        planes = b"".join([numbers[place::_WIDTH] for place in range(_USED)])
        return number, *span, bytearray(self._pack(text)), bytearray(self._pack(planes))

    def block(self, number: int, span: Span, addressed: list[Addressed]) -> Row:
        """Of a block with these, those of a domain beside each other."""
        counts = [len(entries) // _WIDTH for _, _, entries in addressed]
        entries = b"".join([entries for _, _, entries in addressed])
        return self.row(number, span, text_of(addressed), counts, entries)

    def text(self, addresses: Value) -> bytes:
        """What is looked through."""
        assert isinstance(addresses, bytes | bytearray)
        return self._unpack(addresses, max_output_size=_MOST_OCTETS)

    def entries(self, entries: Value) -> tuple[bytes, list[int]]:
        """Those of all addresses, and where those of each begin, and the last ones end."""
        assert isinstance(entries, bytes | bytearray)
        planes = self._unpack(entries, max_output_size=_MOST_OCTETS)
        many = len(planes) // _USED
        numbers = bytearray(_WIDTH * many)
        for place in range(_USED):
            numbers[place::_WIDTH] = planes[place * many : (place + 1) * many]
        end = _WIDTH * (1 + int.from_bytes(numbers[:_WIDTH], "little"))
        counts = numbers_of(bytes(numbers[_WIDTH:end]))
        return bytes(numbers[end:]), [_WIDTH * at for at in accumulate(counts, initial=0)]


def text_of(addressed: Iterable[Addressed]) -> bytes:
    """The form in which they are looked through."""
    return b"".join(
        _BEGIN + domain + _THEN + b"".join([local + _STOP for _, local, _ in group])
        for domain, group in groupby(addressed, key=itemgetter(0))
    )


def parts_of(text: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Domain and local part of each address."""
    for group in text.split(_BEGIN)[1:]:
        domain, _, some = group.partition(_THEN)
        for local in some.split(_STOP)[:-1]:
            yield domain, local


class Search:
    """The entries that may have a text in an address, for one page.

    Its windows follow one another, and a block that was looked through is not looked through again
    for the next one.
    """

    def __init__(self, connection: Connection, text: str) -> None:
        self._connection = connection
        self._wanted = _Wanted(text)
        self._packing = Packing()
        self._known: dict[int, list[int]] = {}
        """What was found in each block of the last window, in order."""

    def between(self, low: int, high: int) -> list[int]:
        """From one number to another."""
        known = self._known
        # Else a block that takes the place of others might be missed.
        with snapshot(self._connection):
            rows = self._connection.execute(_BETWEEN, (low, high)).fetchall()
            self._known = {
                number: known[number] if number in known else self._found(number, last)
                for number, last in ((number_of(number), number_of(last)) for number, last in rows)
            }
        every = self._known.values()
        return sorted({n for some in every for n in some[_at(some, low) : _behind(some, high)]})

    def _found(self, number: int, last: int) -> list[int]:
        text = self._packing.text(self._of(ADDRESSES, number))
        if not self._wanted.may_be_in(text):
            return []
        entries, begin = self._packing.entries(self._of(ENTRIES, number))
        places = self._wanted.places(text)
        found = numbers_of(b"".join([entries[begin[at] : begin[at + 1]] for at in places]))
        base = base_of(last)
        return sorted({base + number for number in found})

    def _of(self, sql: str, number: int) -> Value:
        return self._connection.execute(sql, (number,)).fetchall()[0][0]


_at, _behind = bisect_left, bisect_right


class _Wanted:
    """A text that is looked for, in any case (ASCII, as SQLite's `lower` has it)."""

    def __init__(self, text: str) -> None:
        self.octets = _octets(text)
        local, self._has_at, domain = self.octets.rpartition(b"@")
        self._end_of_local = local + _STOP
        self._begin_of_domain = _BEGIN + domain

    def may_be_in(self, text: bytes) -> bool:
        """Whether it is in what `text_of` makes."""
        return self.octets in text or (bool(self._has_at) and self._is_across(text))

    def places(self, text: bytes) -> Iterator[int]:
        """Which of its addresses have it."""
        begun = 0
        for group in text.split(_BEGIN)[1:]:
            many = group.count(_STOP)
            if self._has_at or self.octets in group:
                domain, _, some = group.partition(_THEN)
                yield from self._of_domain(begun, many, domain, some)
            begun += many

    def _of_domain(self, begun: int, many: int, domain: bytes, some: bytes) -> Iterable[int]:
        octets = self.octets
        if octets in domain:
            return range(begun, begun + many)
        # In front of an address without domain stands an `@`.
        end = b"@" + domain if domain.startswith(self._begin_of_domain[1:]) else b""
        if octets not in some and not (self._has_at and end):
            return ()
        each = some.split(_STOP)[:-1]
        return [place for place, local in enumerate(each, begun) if octets in local + end]

    def _is_across(self, text: bytes) -> bool:
        """Whether a local part ends with it, and its domain begins so."""
        begin = text.find(self._begin_of_domain)
        while begin >= 0:
            end = text.find(_BEGIN, begin + 1)
            if text.find(self._end_of_local, begin, end if end > 0 else len(text)) >= 0:
                return True
            begin = text.find(self._begin_of_domain, end) if end > 0 else -1
        return False
