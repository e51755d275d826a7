"""What became of mail to those who are written to often, summed up: so few rows answer for many.

Owns the tables `address_sum` and `address_late`, and how they are read. A sum is of an address and
of an aligned span of queue entries, 2 to the power of `bits` of them, by client; under client 0
stands that there is one. Whoever changes outcomes of entries that may be summed up notes them
(`note`): no sum over such an entry counts until it was made anew. So at any moment the sums that
count, and the rows between them (`read`), say what all rows say. Making them is `summing`'s.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from pda.maillog.events import State
from pda.store.database import Connection, Row, Value
from pda.store.names import number_of
from pda.store.terms import term

LEAST_BITS: Final = 10
STEP: Final = 2
"""The next wider spans have four times as many entries."""
COLUMNS: Final = (
    "recipients", "attempts", "delivered", "hard_bounces", "soft_bounces", "first_at", "last_at",
    "latest", "delivered_at", "hard_at", "hard",
)  # fmt: skip
"""Of a sum: `latest` and `hard` are the changes at `last_at` and `hard_at`, NULL where none is."""
_COUNTS: Final = 5
TABLES: Final = (
    f"""
CREATE TABLE address_sum (
    address INTEGER NOT NULL, bits INTEGER NOT NULL, number INTEGER NOT NULL,
    client_id INTEGER NOT NULL, {", ".join(f"{name} INTEGER" for name in COLUMNS)},
    PRIMARY KEY (address, bits, number, client_id)
) WITHOUT ROWID
""",
    """
CREATE TABLE address_late (
    id INTEGER PRIMARY KEY, address INTEGER NOT NULL, entry_id INTEGER NOT NULL
)
""",
    "CREATE INDEX address_late_address ON address_late (address, entry_id)",
)
SUMMED: Final = "summed"
"""In `meta`: the last entry that there may be a sum over."""
END: Final = 2**62
_DELIVERED: Final = f"o.state IN ({State.DELIVERED:d}, {State.FINALLY_OK:d})"
_HARD: Final = f"o.state = {State.HARD_BOUNCE:d}"
_SOFT: Final = f"o.state IN ({State.SOFT_BOUNCE:d}, {State.EXPIRED:d})"
# Of what comes later the last one tells the change.
_LAST: Final = "max(printf('%020d %020d', o.last_at, o.change))"
OF_OUTCOMES: Final = f"""
count(*), coalesce(sum(o.attempts), 0), coalesce(sum({_DELIVERED}), 0), coalesce(sum({_HARD}), 0),
coalesce(sum({_SOFT}), 0), min(o.first_at), {_LAST}, max(o.last_at) FILTER (WHERE {_DELIVERED}),
{_LAST} FILTER (WHERE {_HARD})
"""
"""Of outcomes `o`, in SQL; `unpacked` makes the columns of a sum of it."""
_WIDTHS: Final = """
SELECT w.value, (SELECT max(bits) FROM address_sum s WHERE s.address = w.value) AS widest,
    (SELECT min(bits) FROM address_sum s WHERE s.address = w.value)
FROM json_each(?) w WHERE widest IS NOT NULL
"""
_LATE: Final = """
SELECT l.address, l.entry_id FROM json_each(?) w CROSS JOIN address_late l ON l.address = w.value
"""
_SUMS: Final = f"""
SELECT s.address, s.number, s.client_id, {", ".join(f"s.{name}" for name in COLUMNS)}
FROM json_each(?) w CROSS JOIN address_sum s ON s.address = w.value ->> 0 AND s.bits = ?
    AND s.number BETWEEN w.value ->> 1 AND w.value ->> 2
"""
_OF_CLIENT: Final = "WHERE s.client_id IN (0, (SELECT id FROM client WHERE name = ?))"
_NOTE: Final = "INSERT INTO address_late (address, entry_id) VALUES (?, ?)"


class Rest(NamedTuple):
    """Queue entries, from one to another, of which no sum says what became of an address."""

    address: int
    first: int
    last: int


class Read(NamedTuple):
    """What was found of some addresses."""

    sums: list[tuple[int, int, Row]]
    """Address, client, columns."""
    rests: list[Rest]


def address_of(recipient: str) -> int:
    """What stands for an address, as compared: 64 bits, signed; the upper half is its term."""
    return term("recipient", recipient) << 32 | term("address", recipient) & 0xFFFFFFFF


def term_of(address: int) -> int:
    """By which its entries are found."""
    return address >> 32


def note(connection: Connection, outcomes: Iterable[tuple[int, str]]) -> None:
    """These outcomes (entry, recipient) change or go, in the transaction that is open."""
    to = summed_to(connection)
    late = [(address_of(recipient), entry) for entry, recipient in outcomes if entry <= to]
    connection.executemany(_NOTE, late)


def summed_to(connection: Connection) -> int:
    """The last entry that there may be a sum over; -1 where there is none."""
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (SUMMED,)).fetchone()
    return number_of(row[0]) if row else -1


def read(
    connection: Connection,
    addresses: Iterable[int],
    client: str | None = None,
    within: tuple[int, int] = (0, END),
) -> Read:
    """The sums that count, of all or of one client's mail, and what is left to be read.

    Entries from one number to another. Within one snapshot, together with what is left.
    """
    rests = [Rest(address, *within) for address in addresses]
    asked = json.dumps([rest.address for rest in rests])
    widths = {number_of(row[0]): row[1:] for row in _all(connection, _WIDTHS, asked)}
    found = Read([], [rest for rest in rests if rest.address not in widths])
    if widths:
        late = _late(connection, widths)
        left = [rest for rest in rests if rest.address in widths]
        every = [number_of(bits) for both in widths.values() for bits in both]
        for bits in range(max(every), min(every) - 1, -STEP):
            sums, covered = _sums(connection, left, bits, client, late)
            found.sums.extend(sums)
            left = [gap for rest in left for gap in _gaps(rest, covered[rest.address], bits)]
        found.rests.extend(left)
    return found


def joined(sums: Sequence[Sequence[Value]]) -> Row:
    """Several sums as one."""
    columns: list[Any] = [*zip(*sums, strict=True)]
    first_at = min((at for at in columns[5] if at is not None), default=None)
    delivered_at = max((at for at in columns[8] if at is not None), default=None)
    last, hard = _latest(columns[6], columns[7]), _latest(columns[9], columns[10])
    return (*map(sum, columns[:_COUNTS]), first_at, *last, delivered_at, *hard)


def unpacked(row: Sequence[Value]) -> Row:
    """The columns of a sum, out of `OF_OUTCOMES`."""
    return (*row[:6], *_pair(row[6]), row[7], *_pair(row[8]))


def _pair(packed: Value) -> tuple[int | None, int | None]:
    if packed is None:
        return None, None
    at, _, change = str(packed).partition(" ")
    return int(at), int(change)


def _latest(times: Iterable[Any], changes: Iterable[Any]) -> tuple[int | None, int | None]:
    pairs = [pair for pair in zip(times, changes, strict=True) if pair[0] is not None]
    return max(pairs, default=(None, None))


def _late(connection: Connection, addresses: Iterable[int]) -> dict[int, list[int]]:
    found: defaultdict[int, list[int]] = defaultdict(list)
    for address, entry in _all(connection, _LATE, json.dumps([*addresses])):
        found[number_of(address)].append(number_of(entry))
    return found


def _sums(
    connection: Connection,
    rests: Sequence[Rest],
    bits: int,
    client: str | None,
    late: dict[int, list[int]],
) -> tuple[list[tuple[int, int, Row]], defaultdict[int, set[int]]]:
    """Those of one width, and the numbers of the spans that they cover."""
    mask = (1 << bits) - 1
    spans = [(one.address, one.first + mask >> bits, (one.last + 1 >> bits) - 1) for one in rests]
    sql, values = (_SUMS, []) if client is None else (_SUMS + _OF_CLIENT, [client])
    sums: list[tuple[int, int, Row]] = []
    covered: defaultdict[int, set[int]] = defaultdict(set)
    stale = {(address, entry >> bits) for address, entries in late.items() for entry in entries}
    for address, number, client_id, *columns in _all(
        connection, sql, json.dumps(spans), bits, *values
    ):
        place = number_of(address), number_of(number)
        if place not in stale:
            covered[place[0]].add(place[1])
            if client_id:
                sums.append((place[0], number_of(client_id), tuple(columns)))
    return sums, covered


def _gaps(rest: Rest, covered: Iterable[int], bits: int) -> Iterator[Rest]:
    """What of it these spans leave."""
    first = rest.first
    for number in sorted(covered):
        begin, end = number << bits, (number + 1 << bits) - 1
        if rest.first <= begin and end <= rest.last:
            if first < begin:
                yield Rest(rest.address, first, begin - 1)
            first = end + 1
    if first <= rest.last:
        yield Rest(rest.address, first, rest.last)


def _all(connection: Connection, sql: str, *values: Value) -> list[Row]:
    return connection.execute(sql, values).fetchall()
