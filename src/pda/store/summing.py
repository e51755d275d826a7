"""Sums of those who are written to often: made, and made anew, a little at a time.

Owns which sums there are, and the table `address_span`. Sums of narrow spans are made as soon as
their entries hardly change (`open_spans`, `find_recent`), those of wide ones where their terms were
put together (`find_wide`). What has changed since is summed up again (`find_late`). Each is worked
out on a reading connection, and written at once (`put`). Between the two nobody may take entries
away or rename addresses; what lines change meanwhile is noted, and so no sum of before counts.
"""

from __future__ import annotations

import json
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from pda.maillog.events import State
from pda.store import addresses
from pda.store.address_sums import (
    COLUMNS,
    LEAST_BITS,
    OF_OUTCOMES,
    STEP,
    SUMMED,
    address_of,
    joined,
    summed_to,
    unpacked,
)
from pda.store.database import Connection, Row, Value, each_row, snapshot, transaction
from pda.store.names import number_of
from pda.store.pieces import PIECE_BITS
from pda.store.terms import term

TABLE: Final = """
CREATE TABLE address_span (
    bits INTEGER NOT NULL, number INTEGER NOT NULL, slice INTEGER NOT NULL,
    PRIMARY KEY (bits, number)
) WITHOUT ROWID
"""
"""How far the wide ones are: the next slice of the terms."""
MARGIN: Final = 2048
"""Entries that change too often still."""
_RECENT: Final = 4 << PIECE_BITS
"""Entries that narrow spans are looked at of, where more have come since the last time."""
_OFTEN, _OFTEN_IN_WIDE = 4, 8
"""Messages to an address in a span that are summed up."""
_CERTAIN: Final = 64
"""Entries with a term that are worth to look what it is of."""
WIDEST_BITS: Final = 22
_SLICE_BITS: Final = 16
"""Entries, of which there are about three times as many terms, for one slice."""
_ROWS: Final = 10_000
"""Read at a time where they are many."""
_SUMS_AT_A_TIME, _LATE_AT_A_TIME = 500, 500
_TOO_LATE: Final = 50_000
"""Changes with which all is begun anew, as after new rules: that takes less."""

_ALIVE: Final = f"o.state <> {State.HANDED_ON:d}"
_WRITTEN_TO: Final = """
SELECT recipient FROM outcome WHERE entry_id BETWEEN ? AND ?
GROUP BY recipient HAVING count(*) >= ?
"""
_NARROW: Final = f"""
SELECT o.recipient, e.client_id, {OF_OUTCOMES}
FROM outcome o CROSS JOIN entry e ON e.id = o.entry_id
WHERE o.entry_id BETWEEN ? AND ? AND o.recipient IN (SELECT value FROM json_each(?)) AND {_ALIVE}
GROUP BY 1, 2
"""
_FREQUENT: Final = """
SELECT hash, count(*), min(entry_id) FROM term
WHERE piece = ? AND hash BETWEEN ? AND ? AND entry_id BETWEEN ? AND ?
GROUP BY hash HAVING count(*) >= ?
"""
# In the order of the entries: each page is read once. Who was late may stand in another piece.
_WIDE: Final = f"""
WITH found (entry_id, hash) AS MATERIALIZED (
    SELECT DISTINCT t.entry_id, t.hash
    FROM term_piece p CROSS JOIN json_each(?1) w CROSS JOIN term t
        ON t.piece = p.number AND t.hash = w.value AND t.entry_id BETWEEN ?2 AND ?3
    WHERE p.first <= ?3 AND p.last >= ?2
    ORDER BY t.entry_id LIMIT -1
)
SELECT o.recipient, client_of(f.entry_id), {OF_OUTCOMES}
FROM found f CROSS JOIN outcome o
    ON o.entry_id = f.entry_id AND recipient_term(o.recipient) = f.hash
WHERE {_ALIVE} GROUP BY 1, 2
"""
_WIDTHS: Final = range(LEAST_BITS, WIDEST_BITS + 1, STEP)
_LATE: Final = f"""
SELECT l.id, l.address, l.entry_id, s.bits, s.number
FROM (SELECT * FROM address_late ORDER BY address, entry_id LIMIT ?) l
    LEFT JOIN address_sum s ON s.address = l.address AND s.client_id = 0
        AND s.bits IN ({", ".join(map(str, _WIDTHS))}) AND s.number = l.entry_id >> s.bits
"""
_STILL_THERE: Final = """
SELECT o.entry_id, o.recipient FROM json_each(?) w CROSS JOIN outcome o ON o.entry_id = w.value
"""
_DROP: Final = "DELETE FROM address_sum WHERE address = ? AND bits = ? AND number = ?"
_PUT: Final = f"INSERT OR REPLACE INTO address_sum VALUES ({', '.join('?' * (4 + len(COLUMNS)))})"
_PUT_SPAN: Final = "INSERT OR REPLACE INTO address_span VALUES (?, ?, ?)"
_NOTHING: Final[Row] = (0,) * 5 + (None,) * (len(COLUMNS) - 5)

Place: TypeAlias = tuple[int, int, int]
"""Of a sum: address, bits, number."""


class Made(NamedTuple):
    """Sums, and what they take the place of."""

    gone: list[Place]
    sums: list[list[Row]]
    """Of each the rows."""
    late: list[Row]
    """The numbers of the changes that are summed up with it."""
    done: list[Row]
    """How far the wide spans are then."""


class _Span(NamedTuple):
    bits: int
    number: int

    @property
    def entries(self) -> tuple[int, int]:
        return self.number << self.bits, (self.number + 1 << self.bits) - 1


class _Slice(NamedTuple):
    piece: int
    span: _Span
    number: int
    of: int

    @property
    def hashes(self) -> tuple[int, int]:
        width = (1 << 32) // self.of
        first = width * self.number - (1 << 31)
        return first, first + width - 1


def open_spans(connection: Connection, margin: int = MARGIN) -> tuple[int, int] | None:
    """From now on there may be sums of these entries, from one to another, if of any more.

    A transaction of its own; whoever writes notes what changes of them from then on.
    """
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM entry").fetchall()[0]
    before = summed_to(connection)
    to = (number_of(last) - margin + 1 >> LEAST_BITS << LEAST_BITS) - 1
    if to <= before:
        return None
    with transaction(connection):
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (SUMMED, to))
    return max(before + 1, to + 1 - _RECENT), to


def find_recent(connection: Connection, window: tuple[int, int]) -> Made:
    """The sums of the narrow spans that end with these entries."""
    made = Made([], [], [], [])
    with snapshot(connection):
        for span in _narrow(*window):
            every = connection.execute(_WRITTEN_TO, (*span.entries, _OFTEN)).fetchall()
            often = json.dumps([recipient for (recipient,) in every if recipient])
            rows = connection.execute(_NARROW, (*span.entries, often))
            made.sums.extend(_sums(span, each_row(rows, _SUMS_AT_A_TIME)))
    return made


def find_wide(connection: Connection) -> Made | None:
    """The next sums of wide spans; None where all are made."""
    with snapshot(connection):
        due = _due(connection)
        if due is None:
            return None
        entries, hashes = due.span.entries, due.hashes
        often = connection.execute(
            _FREQUENT, (due.piece, *hashes, *entries, _OFTEN_IN_WIDE)
        ).fetchall()
        wanted = [hashed for hashed, *more in often if _may_be_address(connection, hashed, *more)]
        rows = _wide(connection, entries, wanted) if wanted else []
    sums = list(_sums(due.span, rows))
    return Made([], sums, [], [(*due.span, due.number + 1)])


def find_late(connection: Connection) -> Made | None:
    """What takes the place of sums over what has changed since; None where nothing has."""
    with snapshot(connection):
        rows = connection.execute(_LATE, (_LATE_AT_A_TIME,)).fetchall()
        if not rows:
            return None
        changed: defaultdict[Place, set[int]] = defaultdict(set)
        for _, address, entry, bits, number in rows:
            if bits is not None:
                place = number_of(address), number_of(bits), number_of(number)
                changed[place].add(number_of(entry))
        there = _still_there(connection, changed)
        made = Made([*changed], [], [(number,) for number in {row[0] for row in rows}], [])
        for (address, bits, number), entries in changed.items():
            # What loses entries, as for their age, would be made anew again and again.
            if all((address, entry) in there for entry in entries):
                recipient, span = there[address, min(entries)], _Span(bits, number)
                sums = addresses.by_client(connection, {address: recipient}, span.entries)
                made.sums.append(_of_address(span, address, sums))
        return made


def put(connection: Connection, made: Made) -> None:
    """Writes what was found, in a transaction of its own."""
    with transaction(connection):
        connection.executemany(_DROP, made.gone)
        connection.executemany(_PUT, [row for rows in made.sums for row in rows])
        connection.executemany("DELETE FROM address_late WHERE id = ?", made.late)
        connection.executemany(_PUT_SPAN, made.done)


def parts(made: Made, sums: int = 300) -> Iterator[Made]:
    """What was found, in parts that are soon written, one after the other."""
    *some, last = range(0, len(made.sums), sums) or [0]
    for begin in some:
        yield Made([], made.sums[begin : begin + sums], [], [])
    yield made._replace(sums=made.sums[last:])


def begin_anew(connection: Connection) -> bool:
    """Forgets all sums, where more has changed than is summed up again; whether it did."""
    (count,) = connection.execute("SELECT count(*) FROM address_late").fetchall()[0]
    if number_of(count) < _TOO_LATE:
        return False
    with transaction(connection):
        for table in ("address_sum", "address_late", "address_span"):
            connection.execute(f"DELETE FROM {table}")
    return True


def _narrow(first: int, last: int) -> list[_Span]:
    """The widest ones that end between two entries; none within another."""
    found: list[_Span] = []
    for bits in range(PIECE_BITS, LEAST_BITS - 1, -STEP):
        for end in range((first >> bits) + 1, (last + 1 >> bits) + 1):
            span = _Span(bits, end - 1)
            if not any(one.number == span.number >> one.bits - bits for one in found):
                found.append(span)
    return found


def _due(connection: Connection) -> _Slice | None:
    """The next slice of a span whose terms were put together."""
    summed = summed_to(connection)
    pieces = connection.execute("SELECT number, first, last FROM term_piece").fetchall()
    for piece, first, last in sorted(tuple(map(number_of, row)) for row in pieces):
        bits = min((last - first + 1).bit_length() - 1, WIDEST_BITS)
        if bits <= PIECE_BITS or last > summed:
            continue
        slices = max(1, 1 << bits - _SLICE_BITS)
        for number in range(first >> bits, (last >> bits) + 1):
            done = connection.execute(
                "SELECT slice FROM address_span WHERE bits = ? AND number = ?", (bits, number)
            ).fetchone()
            if (following := number_of(done[0]) if done else 0) < slices:
                return _Slice(piece, _Span(bits, number), following, slices)
    return None


def _may_be_address(connection: Connection, hashed: Value, count: Value, entry: Value) -> bool:
    """Whether a term may be that of an address: what few have is not worth a look."""
    if number_of(count) < _CERTAIN:
        return True
    rows = connection.execute("SELECT recipient FROM outcome WHERE entry_id = ?", (entry,))
    return any(term("recipient", str(recipient)) == hashed for (recipient,) in rows.fetchall())


def _wide(connection: Connection, entries: tuple[int, int], hashes: Sequence[Value]) -> list[Row]:
    clients = _clients(connection, *entries)
    connection.create_function("recipient_term", 1, partial(term, "recipient"))
    connection.create_function("client_of", 1, lambda entry: clients[entry - entries[0]])
    try:
        return connection.execute(_WIDE, (json.dumps([*hashes]), *entries)).fetchall()
    finally:
        del clients[:]  # the function stays


def _clients(connection: Connection, first: int, last: int) -> array[int]:
    """Of each entry: out of an index, which is small."""
    found = array("i", bytes(4 * (last - first + 1)))
    for (client,) in connection.execute("SELECT id FROM client").fetchall():
        rows = connection.execute(
            "SELECT id FROM entry INDEXED BY entry_client"
            " WHERE client_id = ? AND id BETWEEN ? AND ?",
            (client, first, last),
        )
        for (entry,) in each_row(rows, _ROWS):
            found[number_of(entry) - first] = number_of(client)
    return found


def _still_there(
    connection: Connection, changed: Mapping[Place, set[int]]
) -> dict[tuple[int, int], str]:
    """The recipients of entries, by what stands for them, and entry."""
    entries = json.dumps(sorted({entry for one in changed.values() for entry in one}))
    rows = connection.execute(_STILL_THERE, (entries,)).fetchall()
    return {(address_of(str(name)), number_of(entry)): str(name) for entry, name in rows}


def _sums(span: _Span, rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Those of a span, out of rows by recipient and client."""
    by_address: defaultdict[int, list[tuple[int, int, Row]]] = defaultdict(list)
    for recipient, client, *columns in rows:
        address = address_of(str(recipient))
        by_address[address].append((address, number_of(client), unpacked(columns)))
    for address in sorted(by_address):
        yield _of_address(span, address, by_address.pop(address))


def _of_address(span: _Span, address: int, sums: Iterable[tuple[int, int, Row]]) -> list[Row]:
    """The rows of one sum; the first one says that there is one."""
    by_client: defaultdict[int, list[Row]] = defaultdict(list)
    for _, client, columns in sums:
        by_client[client].append(columns)
    rows = {0: _NOTHING, **{client: joined(some) for client, some in by_client.items()}}
    return [(address, *span, client, *columns) for client, columns in rows.items()]
