"""The pieces that terms are kept in: made as they come, and put together later.

Owns the tables `term` and `term_piece`. What comes is written into the piece of its 65,536 queue
entries, which fits into memory, so that the millionth line is written as fast as the first one. A
search looks into every piece, which takes a page each: so those of entries that hardly change are
merged into ones of 4, 16, 64 … times as many entries, a little at a time. Those have numbers below
zero. At any moment each term stands somewhere; one that came again, or late, in two pieces.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from pda.store.database import Connection, Value, transaction
from pda.store.names import number_of

PIECE_BITS: Final = 16
_FOUR_TIMES: Final = 2
_MOST_BITS: Final = 40
AT_A_TIME: Final = 4000
"""Terms that are moved within one transaction: some ten milliseconds."""

TABLE: Final = """
CREATE TABLE term_piece (number INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL)
"""
FILL: Final = f"""
WITH RECURSIVE piece (number) AS (
    SELECT min(piece) FROM term UNION ALL
    SELECT (SELECT min(t.piece) FROM term t WHERE t.piece > piece.number) FROM piece
    WHERE number IS NOT NULL
)
INSERT INTO term_piece
SELECT number, number << {PIECE_BITS}, (number + 1 << {PIECE_BITS}) - 1 FROM piece
WHERE number IS NOT NULL
"""
_BEGIN: Final = f"""
INSERT OR IGNORE INTO term_piece VALUES (?1, ?1 << {PIECE_BITS}, (?1 + 1 << {PIECE_BITS}) - 1)
"""
_PUT: Final = "INSERT OR IGNORE INTO term VALUES (?, ?, ?)"
_REMOVE: Final = """
DELETE FROM term WHERE hash = ?1 AND entry_id = ?2
    AND piece IN (SELECT number FROM term_piece WHERE ?2 BETWEEN first AND last)
"""
# In the order of the pieces, so that each is a search in a piece and nothing else.
_FIND: Final = """
WITH span (low, high) AS (SELECT ?, ?)
SELECT t.entry_id FROM span CROSS JOIN term_piece p ON p.first <= span.high AND p.last >= span.low
    CROSS JOIN term t
    ON t.piece = p.number AND t.hash IN ({}) AND t.entry_id BETWEEN span.low AND span.high
"""
_ALL: Final = "SELECT number, first, last FROM term_piece"
_NTH: Final = "SELECT hash, entry_id FROM term WHERE piece = ? LIMIT 1 OFFSET ?"
_UP_TO: Final = "piece = ? AND (hash, entry_id) <= (?, ?)"
_MOVE: Final = """
INSERT OR IGNORE INTO term
SELECT ?, hash, entry_id FROM term WHERE {} ORDER BY hash, entry_id
"""
LAST: Final = 2**62
"""Behind every entry."""


class Piece(NamedTuple):
    """Where the terms of some queue entries stand, from one number to another."""

    number: int
    first: int
    last: int


_Place = tuple[int, int]
"""Within a piece: hash and entry."""


def find_between(hashes: int) -> str:
    """A statement for the entries, from one number to another, with one of so many terms."""
    return _FIND.format(",".join("?" * hashes))


def put(connection: Connection, terms: Iterable[tuple[int, int]]) -> None:
    """Adds terms, each a hash and an entry, in the transaction that is open."""
    # In the order of their keys: pages fill up one after the other, and are touched once.
    rows = sorted([(entry >> PIECE_BITS, hashed, entry) for hashed, entry in terms])
    connection.executemany(_BEGIN, [(number,) for number in {row[0] for row in rows}])
    connection.executemany(_PUT, rows)


def remove(connection: Connection, terms: Iterable[tuple[int, int]]) -> None:
    """Takes terms out of whatever pieces they are in, in the transaction that is open."""
    connection.executemany(_REMOVE, sorted(terms))


def merge(connection: Connection, rows: int = AT_A_TIME) -> bool:
    """Puts the next few terms together, in a transaction of its own; whether there were any."""
    pieces = [Piece(*map(number_of, row)) for row in connection.execute(_ALL).fetchall()]
    first, open_from = _bounds(connection)
    if gone := [one for one in pieces if one.last < first]:
        with transaction(connection):
            _drop(connection, gone, _end(connection, gone, rows))
        return True
    into = _due(pieces, open_from)
    if into is None:
        return False
    parts = [one for one in pieces if into.first <= one.first <= one.last <= into.last]
    parts = [one for one in parts if one != into]
    with transaction(connection):
        connection.execute("INSERT OR IGNORE INTO term_piece VALUES (?, ?, ?)", into)
        end = _end(connection, parts, rows)
        where, values = _up_to(parts, end)
        connection.execute(_MOVE.format(where), [into.number, *values])
        _drop(connection, parts, end)
    return True


def _bounds(connection: Connection) -> tuple[int, int]:
    """The first entry that there is, and the first one of the piece that is being written."""
    row = connection.execute("SELECT (SELECT min(id) FROM entry), (SELECT max(id) FROM entry)")
    first, last = [number_of(value or 0) for value in row.fetchall()[0]]
    return first, last >> PIECE_BITS << PIECE_BITS


def _due(pieces: list[Piece], open_from: int) -> Piece | None:
    """The widest piece that others can be put into by now, whether it is there or not."""
    new = min([0, *(one.number for one in pieces)]) - 1
    for bits in range(_MOST_BITS, PIECE_BITS, -_FOUR_TIMES):
        for piece in pieces:
            first = piece.first >> bits << bits
            last = first + (1 << bits) - 1
            is_part = piece.last <= last and (piece.first, piece.last) != (first, last)
            if is_part and last < open_from:
                there = (one for one in pieces if (one.first, one.last) == (first, last))
                return next(there, Piece(new, first, last))
    return None


def _end(connection: Connection, pieces: list[Piece], rows: int) -> _Place:
    """Up to where these pieces have not more terms than so many, and if they can, some."""
    offset = max(1, rows // len(pieces)) - 1
    each = (connection.execute(_NTH, (one.number, offset)).fetchone() for one in pieces)
    return min(((number_of(row[0]), number_of(row[1])) for row in each if row), default=(LAST, 0))


def _up_to(pieces: list[Piece], end: _Place) -> tuple[str, list[Value]]:
    """The condition for their terms up to a place."""
    values: list[Value] = [value for one in pieces for value in (one.number, *end)]
    return " OR ".join([_UP_TO] * len(pieces)), values


def _drop(connection: Connection, pieces: list[Piece], end: _Place) -> None:
    """Removes their terms up to a place, and each that has none any more."""
    for one in pieces:
        connection.execute(f"DELETE FROM term WHERE {_UP_TO}", (one.number, *end))
        if connection.execute(_NTH, (one.number, 0)).fetchone() is None:
            connection.execute("DELETE FROM term_piece WHERE number = ?", (one.number,))
