"""Part of an address → the queue entries that have it: all addresses, packed in blocks.

Owns the table `address_block`: senders and recipients of some queue entries, in lower case, in the
order in which they became known. A block is looked through as a whole, so that all of them take a
fraction of a second. It may name an entry that has gone, and has every address that an entry has:
whoever searches compares the entry itself. What comes is written as small blocks, which one takes
the place of when it is full; and those are put together later (`pack`), with numbers below zero:
the time of a search is that of reading their pages.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

import msgspec
import zstandard

from pda.store.database import Connection, Row, Value, transaction
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

_PIECE_BITS: Final = 16
"""The entries of a block are of one piece of 65,536: one that comes late makes none wide."""
_MOST: Final = (1 << _PIECE_BITS) - 1
_FULL: Final = 1024
"""Addresses of a block that takes the place of smaller ones."""
_PACKED: Final = 4096
"""And of one that was put together."""
_TOGETHER: Final = 16
"""Blocks that are put together at a time: some ten milliseconds."""
_MOST_OPEN: Final = 16
_OVERLAPPING: Final = f"""
address_block b INDEXED BY address_block_last
    ON b.last BETWEEN span.low AND span.high + {_MOST} AND b.first <= span.high
"""
FIND: Final = f"""
WITH span (low, high) AS (SELECT ?, ?)
SELECT n.value FROM span CROSS JOIN {_OVERLAPPING}
    CROSS JOIN json_each(entries_addressed(b.last, b.addresses, b.entries, ?)) n
WHERE may_have_address(b.addresses, ?) AND n.value BETWEEN span.low AND span.high
"""
"""Entries from one number to another with a text, given twice, in an address; see `prepare`."""
_SOME: Final = f"""
WITH span (low, high) AS (SELECT ?, ?)
SELECT b.number, b.last, b.addresses, b.entries FROM span CROSS JOIN {_OVERLAPPING}
"""
_STORED: Final = """
SELECT entry_id, recipient FROM outcome WHERE entry_id > ?1 AND entry_id <= ?2
UNION ALL SELECT entry_id, address FROM outcome
    WHERE entry_id > ?1 AND entry_id <= ?2 AND address IS NOT NULL
UNION ALL SELECT id, sender FROM entry WHERE id > ?1 AND id <= ?2 AND sender IS NOT NULL
ORDER BY 1
"""
_UNPACKED: Final = f"""
SELECT max(last >> {_PIECE_BITS}) FROM address_block INDEXED BY address_block_last
WHERE number > 0 AND last < (SELECT max(id) >> {_PIECE_BITS} << {_PIECE_BITS} FROM entry)
GROUP BY last >> {_PIECE_BITS} HAVING count(*) >= {_TOGETHER} LIMIT 1
"""
_OF_PIECE: Final = f"""
SELECT number, addresses, entries FROM address_block INDEXED BY address_block_last
WHERE number > 0 AND last BETWEEN ?1 << {_PIECE_BITS} AND (?1 + 1 << {_PIECE_BITS}) - 1
ORDER BY number LIMIT {_TOGETHER}
"""
_AT_A_TIME: Final = 20_000
_MOST_OCTETS: Final = 64 * 1024 * 1024

# A domain, and the local parts that it has, each with its end: so a domain stands there once.
_DOMAIN, _LOCALS, _END = "\x01", "\x00", "\n"
_MARKS: Final = (_DOMAIN, _LOCALS, _END)
_NO_MARKS: Final = {ord(mark): " " for mark in _MARKS}
_BEGIN: Final = _DOMAIN.encode()
_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder(list[list[int]]).decode

Named: TypeAlias = tuple[int, str]
"""The number of a queue entry, and an address that it has."""


class _Small(NamedTuple):
    """Blocks that are not full together."""

    numbers: list[Row]
    named: list[Named]


class AddressBlocks:
    """Makes the rows of one database."""

    def __init__(self, connection: Connection) -> None:
        row = connection.execute("SELECT max(number) FROM address_block").fetchone()
        self._last = max(0, number_of(row[0] or 0)) if row else 0
        self._packing = _Packing()
        self._open: dict[int, _Small] = {}
        """By piece."""

    def rows(self, named: Iterable[Named]) -> tuple[list[Row], list[Row]]:
        """Blocks with these addresses, and the numbers of those that they take the place of."""
        put: list[Row] = []
        gone: list[Row] = []
        for piece, some in _by_piece(named).items():
            small = self._open.pop(piece, None) or _Small([], [])
            self._last += 1
            block = _Block(self._last, piece)
            if len(small.named) + len(some) < _FULL:
                block.add(some)
                self._keep_open(piece, _Small([*small.numbers, (self._last,)], small.named + some))
            else:
                block.add(small.named + some)
                gone += small.numbers
            put.append(block.row(self._packing))
        return put, gone

    def close(self) -> None:
        """What comes goes into new blocks: others have changed those that there are."""
        self._open.clear()

    def _keep_open(self, piece: int, small: _Small) -> None:
        if len(self._open) >= _MOST_OPEN:
            del self._open[next(iter(self._open))]
        self._open[piece] = small


def recompute(connection: Connection) -> None:
    """The table, anew from the rows, in the transaction that is open."""
    connection.execute("DELETE FROM address_block")
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM entry").fetchone() or (0,)
    for begin in range(0, number_of(last), _AT_A_TIME):
        rows = connection.execute(_STORED, (begin, begin + _AT_A_TIME)).fetchall()
        named = [(number_of(number), str(address)) for number, address in rows if address]
        for piece, some in _by_piece(named).items():
            _put_packed(connection, piece, some)


def pack(connection: Connection) -> bool:
    """Puts some blocks together, of those that hardly change; whether there were any."""
    row = connection.execute(_UNPACKED).fetchone()
    if row is None:
        return False
    piece, packing = number_of(row[0]), _Packing()
    rows = connection.execute(_OF_PIECE, (piece,)).fetchall()
    named = {
        one
        for number, addresses, entries in rows
        for one in _Block(number_of(number), piece).named(
            packing.unpack(addresses), packing.unpack(entries)
        )
    }
    with transaction(connection):
        connection.executemany(DROP, [(number,) for number, *_ in rows])
        _put_packed(connection, piece, sorted(named))
    return True


def _put_packed(connection: Connection, piece: int, named: list[Named]) -> None:
    """Blocks with all of these, which are in the order of their entries."""
    packing = _Packing(level=9)
    (first,) = connection.execute("SELECT min(number) FROM address_block").fetchone() or (0,)
    number = min(0, number_of(first or 0))
    for begin in range(0, len(named), _PACKED):
        number -= 1
        block = _Block(number, piece)
        block.add(sorted(named[begin : begin + _PACKED], key=_by_domain))
        connection.execute(PUT, block.row(packing))


def _by_domain(one: Named) -> tuple[str, str]:
    """So that what is alike stands together."""
    local, _, domain = one[1].rpartition("@")
    return domain, local


def rewrite(
    connection: Connection,
    between: tuple[int, int],
    change: Callable[[list[Named]], list[Named]],
    word: str = "",
) -> None:
    """Changes the blocks of these entries, from one to another, that have a word (lower case)."""
    packing = prepare(connection)
    rows = connection.execute(
        f"{_SOME} WHERE may_have_address(b.addresses, ?)", (*between, word)
    ).fetchall()
    for number, last, addresses, entries in rows:
        block = _Block(number_of(number), number_of(last) >> _PIECE_BITS)
        before = list(block.named(packing.unpack(addresses), packing.unpack(entries)))
        now = change(before)
        if now == before:
            continue
        connection.execute(DROP, (number,))
        if now:
            block.add(now)
            connection.execute(PUT, block.row(packing))


def drop(connection: Connection, entries: Iterable[int]) -> None:
    """Removes queue entries from their blocks."""
    gone = set(entries)
    for stretch in sorted({number // _FULL for number in gone}):
        some = range(stretch * _FULL, (stretch + 1) * _FULL)
        rewrite(
            connection,
            (some[0], some[-1]),
            lambda named: [one for one in named if one[0] not in gone],
        )
    # What was part of another entry is in none that goes.
    connection.execute("DELETE FROM address_block WHERE last < (SELECT min(id) FROM entry)")


class _Block:
    """Addresses with their entries, which are of one piece."""

    def __init__(self, number: int, piece: int) -> None:
        self.number = number
        self._base = piece << _PIECE_BITS
        self._first, self._last = self._base + _MOST, self._base
        self._by_domain: dict[str, dict[str, list[int]]] = {}
        """The entries by domain and local part, counted from the first one of the piece."""

    def add(self, named: list[Named]) -> None:
        by_domain, base = self._by_domain, self._base
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
        numbers = [number for number, _ in named]
        self._first, self._last = min(self._first, *numbers), max(self._last, *numbers)

    def row(self, packing: _Packing) -> Row:
        by_domain = self._by_domain
        text = _text([(domain, list(by_local)) for domain, by_local in by_domain.items()])
        octets = text.encode("utf-8", "surrogatepass").lower()
        entries = _pack([some for by_local in by_domain.values() for some in by_local.values()])
        return self.number, self._first, self._last, packing.pack(octets), packing.pack(entries)

    def named(self, addresses: bytes, entries: bytes) -> Iterator[Named]:
        """What a row of it has."""
        for octets, numbers in zip(_addresses(addresses), _unpack(entries), strict=True):
            address = octets.decode("utf-8", "surrogatepass")
            for number in numbers:
                yield self._base + number, address


_Groups: TypeAlias = list[tuple[str, list[str]]]
"""Domains with their local parts."""


def _text(groups: _Groups) -> str:
    """The form in which addresses are looked through."""
    text = _joined(groups)
    parts = sum(len(locals_) for _, locals_ in groups)
    if tuple(map(text.count, _MARKS)) == (len(groups), len(groups), parts):
        return text
    return _joined([(_plain(domain), [_plain(one) for one in some]) for domain, some in groups])


def _joined(groups: _Groups) -> str:
    return "".join(f"{_DOMAIN}{domain}{_LOCALS}{_END.join([*some, ''])}" for domain, some in groups)


def _plain(text: str) -> str:
    return text.translate(_NO_MARKS)


def _by_piece(named: Iterable[Named]) -> dict[int, list[Named]]:
    """Most often all of it is of one."""
    found: dict[int, list[Named]] = {}
    for one in named:
        found.setdefault(one[0] >> _PIECE_BITS, []).append(one)
    return found


def _addresses(text: bytes) -> Iterator[bytes]:
    """One after the other; in front of one without domain stands an `@`."""
    for group in text.split(_BEGIN)[1:]:
        domain, _, some = group.partition(_LOCALS.encode())
        for local in some.split(_END.encode())[:-1]:
            yield local + b"@" + domain


class _Packing:
    """Not to be used by two threads at a time."""

    def __init__(self, level: int = 3) -> None:
        self._pack = zstandard.ZstdCompressor(level=level).compress
        self._unpack = zstandard.ZstdDecompressor().decompress

    def pack(self, octets: bytes) -> bytearray:
        return bytearray(self._pack(octets))

    def unpack(self, octets: Value) -> bytes:
        assert isinstance(octets, bytes)
        return self._unpack(octets, max_output_size=_MOST_OCTETS)


# --- in SQL ---------------------------------------------------------------------------------------


class _Own(threading.local):
    """Each thread's: contexts of zstd are for one at a time."""

    def __init__(self) -> None:
        self.packing = _Packing()


_own = _Own()


def prepare(connection: Connection) -> _Packing:
    """Lets a connection ask `FIND`.

    The driver keeps each other function that it is ever given, so that these are always the same.
    """
    connection.create_function("may_have_address", 2, _may_have_address)
    connection.create_function("entries_addressed", 4, _entries_addressed)
    return _own.packing


def _may_have_address(addresses: bytes, text: str) -> bool:
    return _wanted(text).may_be_in(_own.packing.unpack(addresses))


def _entries_addressed(last: int, addresses: bytes, entries: bytes, text: str) -> str:
    packing = _own.packing
    base, numbers = last >> _PIECE_BITS << _PIECE_BITS, _unpack(packing.unpack(entries))
    places = _wanted(text).places(packing.unpack(addresses))
    found = [base + number for place in places for number in numbers[place]]
    return msgspec.json.encode(found).decode()


class _Wanted:
    """A text that is looked for, in any case (ASCII, as SQLite's `lower` has it)."""

    def __init__(self, text: str) -> None:
        self.octets = _plain(text).encode("utf-8", "surrogatepass").lower()
        local, self._has_at, domain = self.octets.rpartition(b"@")
        self._end_of_local = local + _END.encode()
        self._begin_of_domain = _BEGIN + domain

    def may_be_in(self, text: bytes) -> bool:
        """Whether it is in what `_text` makes."""
        return self.octets in text or (bool(self._has_at) and self._is_across(text))

    def places(self, text: bytes) -> Iterator[int]:
        """Which of its addresses have it."""
        begun, octets, domain = 0, self.octets, self._begin_of_domain[1:]
        for group in text.split(_BEGIN)[1:]:
            if octets in group or (self._has_at and group.startswith(domain)):
                for place, address in enumerate(_addresses(_BEGIN + group), begun):
                    if octets in address:
                        yield place
            begun += group.count(_END.encode())

    def _is_across(self, text: bytes) -> bool:
        """Whether a local part ends with it, and its domain begins so."""
        begin = text.find(self._begin_of_domain)
        while begin >= 0:
            end = text.find(_BEGIN, begin + 1)
            if text.find(self._end_of_local, begin, end if end > 0 else len(text)) >= 0:
                return True
            begin = text.find(self._begin_of_domain, end) if end > 0 else -1
        return False


_wanted = lru_cache(64)(_Wanted)
