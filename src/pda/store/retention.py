"""What is too old to be kept goes, a little at a time between two transactions of the live stream.

Owns which queue entries are too old and all that goes with them, and how free pages are given back.
An entry goes as a whole, when the last that was heard of it lies before the horizon, or where it is
older than any is kept for. Figures by the hour or day stay (`counting`): they name nobody.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from pda.maillog.events import EntryKey
from pda.store import address_runs, address_sums, bounced, pieces
from pda.store.counting import Counting
from pda.store.database import Connection, Row, Value, transaction
from pda.store.names import number_of
from pda.store.removal import raise_horizon
from pda.store.terms import domain_term, term

_AT_A_TIME = 500
_LOOKED_AT = 50_000
"""Entries at a time: some ten milliseconds, out of an index."""
# Not as a list of numbers in the text: the driver keeps the last hundred statements, each with all.
_NAMED = "(SELECT value FROM json_each(?))"
_BORN_BEFORE = """
SELECT c.id, e.born, e.id
FROM client c CROSS JOIN entry e
    ON e.client_id = c.id AND e.born < ?1 AND e.born >= iif(c.id = ?2, ?3, -(1 << 62))
WHERE c.id >= ?2 AND NOT (c.id = ?2 AND e.born = ?3 AND e.id <= ?4)
ORDER BY c.id, e.born, e.id
LIMIT ?5
"""
_TOO_OLD = """
SELECT * FROM (
    SELECT e.id, h.name, e.queue_id, e.message_id, coalesce(e.msg_id, ''), e.born,
        e.removed_at >= ?1 OR e.expired_at >= ?1
            OR EXISTS (SELECT 1 FROM attempt a WHERE a.entry_id = e.id AND a.at >= ?1) AS heard
    FROM entry e JOIN host h ON h.id = e.host_id
    WHERE e.id IN (SELECT value FROM json_each(?3)) AND e.id < (SELECT max(id) FROM entry))
WHERE NOT heard OR born < ?2
"""  # without the last one, whose number must not be given again
_SPAN = """
SELECT min(oldest), max(newest) FROM (
    SELECT (SELECT min(e.born) FROM entry e WHERE e.client_id = c.id) AS oldest,
        (SELECT max(e.born) FROM entry e WHERE e.client_id = c.id) AS newest
    FROM client c
    UNION ALL SELECT (SELECT min(at) FROM reject), (SELECT max(at) FROM reject))
"""
_SAMPLES = 200
_BIRTHS = f"""
WITH RECURSIVE
    span (low, high) AS (SELECT (SELECT min(id) FROM entry), (SELECT max(id) FROM entry)),
    place (number) AS (SELECT 0 UNION ALL SELECT number + 1 FROM place WHERE number < {_SAMPLES})
SELECT DISTINCT (
    SELECT e.born FROM entry e WHERE e.id >= low + (high - low) * number / {_SAMPLES}
    ORDER BY e.id LIMIT 1)
FROM span CROSS JOIN place WHERE low IS NOT NULL ORDER BY 1
"""
TIMED = {"reject": ("at", "at, digest"), "withdrawn": ("born", "change")}
"""Tables of what belongs to no queue entry: the column that says when it was, and the key."""


Place: TypeAlias = tuple[int, int, int]
"""Of an entry, in the order in which they are looked at: client, born, number."""
FIRST: Place = (0, -(1 << 62), 0)


class Bounds(NamedTuple):
    """What is too old, µs since the epoch."""

    horizon: int
    """Nothing was heard since: entries born before, of which that is so, go."""
    latest: int = -(1 << 62)
    """Entries born before go, whatever was heard of them since: they may be in the queue still."""


class Span(NamedTuple):
    """Of what is stored: when the oldest and the newest of it began, µs since the epoch."""

    oldest: int
    newest: int


class Born(NamedTuple):
    """Queue entries that were born before a horizon, some of them."""

    numbers: Sequence[int]
    """In the order of their rows: neighbours stand in the same pages."""
    after: Place | None
    """Where to go on looking; None at the end."""


class Removed(NamedTuple):
    """What a step of the removal took away."""

    entries: list[EntryKey]
    unsettled: int
    """How many of them something was heard of since the horizon."""
    others: int
    """Rows of what belongs to no queue entry."""


class Orphans(NamedTuple):
    """Texts that nothing refers to."""

    table: str
    numbers: list[int]


def octets_used(connection: Connection) -> int:
    """Of the database, without its free pages."""
    pages = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
    return pages * _pragma(connection, "page_size")


def span(connection: Connection) -> Span | None:
    """Of queue entries and of what was refused; None where there is neither."""
    oldest, newest = connection.execute(_SPAN).fetchall()[0]
    return None if oldest is None else Span(number_of(oldest), number_of(newest))


def births(connection: Connection) -> list[int]:
    """When some of the queue entries were born, evenly chosen of all; the oldest first."""
    return [number_of(born) for (born,) in connection.execute(_BIRTHS).fetchall()]


def find_older(
    connection: Connection, horizon: int, after: Place = FIRST, most: int = _LOOKED_AT
) -> Born:
    """The next entries that were born before, whatever was heard of them since.

    Lines before the horizon are refused from then on. A transaction of its own.
    """
    numbers, last = array("q"), after
    with transaction(connection):
        raise_horizon(connection, horizon)
        cursor = connection.execute(_BORN_BEFORE, (horizon, *after, most))
        while rows := cursor.fetchmany(_AT_A_TIME):
            numbers.extend(number_of(number) for *_, number in rows)
            client, born, number = rows[-1]
            last = number_of(client), number_of(born), number_of(number)
    return Born(array("q", sorted(numbers)), last if len(numbers) == most else None)


def remove_older(
    connection: Connection, bounds: Bounds, numbers: Sequence[int], others: int
) -> Removed:
    """Removes those of these entries that are too old, and up to so many other rows of each kind.

    A transaction of its own.
    """
    with transaction(connection):
        found = connection.execute(_TOO_OLD, (*bounds, json.dumps([*numbers]))).fetchall()
        rows = [row[:5] for row in found]
        Counting(connection).leave([number_of(row[0]) for row in rows])
        _remove(connection, rows)
        gone = _remove_timed(connection, bounds.horizon, others)
    keys = [(str(host), str(queue_id)) for _, host, queue_id, *_ in rows]
    return Removed(keys, sum(bool(row[-1]) for row in found), gone)


def _remove(connection: Connection, rows: Sequence[Row]) -> None:
    """These entries with all that belongs to them, each table at once."""
    numbers = [number_of(row[0]) for row in rows]
    named = (json.dumps(numbers),)
    outcomes = connection.execute(
        f"SELECT recipient, entry_id FROM outcome WHERE entry_id IN {_NAMED}", named
    ).fetchall()
    recipients: dict[int, list[str]] = {number: [] for number in numbers}
    for recipient, number in outcomes:
        recipients[number_of(number)].append(str(recipient))
    terms = [
        one
        for number, (_, _, _, *message_ids) in zip(numbers, rows, strict=True)
        for one in _terms(number, [str(name) for name in message_ids if name], recipients[number])
    ]
    pieces.remove(connection, terms)
    connection.executemany(bounced.REMOVE, outcomes)
    address_sums.note(connection, [(number_of(one), str(name)) for name, one in outcomes])
    address_runs.leave(connection, numbers)
    for table, column in (("attempt", "entry_id"), ("outcome", "entry_id"), ("entry", "id")):
        connection.execute(f"DELETE FROM {table} WHERE {column} IN {_NAMED}", named)


def _terms(
    number: int, message_ids: Iterable[str], recipients: list[str]
) -> Iterator[tuple[int, int]]:
    """What the entry was found by."""
    hashes = {term("message-id", one) for one in message_ids}
    hashes |= {term("recipient", one) for one in recipients}
    hashes |= {domain_term(one.rpartition("@")[2]) for one in recipients}
    for hashed in hashes:
        yield hashed, number


def _remove_timed(connection: Connection, horizon: int, rows: int) -> int:
    """How many went."""
    count = 0
    for table, (column, key) in TIMED.items():
        connection.execute(
            f"DELETE FROM {table} WHERE ({key}) IN"
            f" (SELECT {key} FROM {table} WHERE {column} < ? LIMIT ?)",
            (horizon, rows),
        )
        count += number_of(connection.execute("SELECT changes()").fetchall()[0][0])
    return count


def find_orphans(connection: Connection, given: Mapping[str, int]) -> list[Orphans]:
    """Texts that no attempt or reject has, up to these numbers, which nobody gives any more.

    On a reading connection: the whole table of attempts is read, in short transactions.
    """
    used: dict[str, set[Value]] = {name: set() for name in given}
    for table in ("reply", "manner"):
        rows = connection.execute(f"SELECT DISTINCT {table}_id FROM reject").fetchall()
        used[f"reject_{table}"] = {number for (number,) in rows}
    last = number_of(connection.execute("SELECT coalesce(max(id), 0) FROM entry").fetchall()[0][0])
    for begin in range(0, last + 1, 20_000):
        rows = connection.execute(
            "SELECT DISTINCT relay_id, reason_id FROM attempt WHERE entry_id > ? AND entry_id <= ?",
            (begin, begin + 20_000),
        ).fetchall()
        used["relay"] |= {relay for relay, _ in rows}
        used["reason"] |= {reason for _, reason in rows}
    found = []
    for table, numbers in used.items():
        every = connection.execute(
            f"SELECT id FROM {table} WHERE id <= ?", (given[table],)
        ).fetchall()
        lost = [number_of(number) for (number,) in every if number not in numbers]
        found += [
            Orphans(table, lost[at : at + _AT_A_TIME]) for at in range(0, len(lost), _AT_A_TIME)
        ]
    return found


def remove_orphans(connection: Connection, orphans: Orphans) -> None:
    """Removes texts, in a transaction of its own."""
    rows = [(number,) for number in orphans.numbers]
    with transaction(connection):
        connection.executemany(f"DELETE FROM {orphans.table} WHERE id = ?", rows)


def give_back(connection: Connection, pages: int) -> bool:
    """Gives free pages at the file's end back to the disk; whether there are more."""
    if _pragma(connection, "auto_vacuum") != 2:
        return False
    connection.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()
    return _pragma(connection, "freelist_count") > 0


def _pragma(connection: Connection, name: str) -> int:
    return int(str(connection.execute(f"PRAGMA {name}").fetchall()[0][0]))
