"""What is too old to be kept goes, a little at a time between two transactions of the live stream.

Owns which queue entries are too old and all that goes with them, and how free pages are given back.
An entry goes as a whole, when the last that was heard of it lies before the horizon. Figures by the
hour or day stay (`counting`): they name nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from pda.maillog.events import EntryKey
from pda.store import address_blocks, bounced, pieces
from pda.store.counting import Counting
from pda.store.database import Connection, Row, Value, transaction
from pda.store.names import number_of
from pda.store.removal import raise_horizon
from pda.store.terms import domain_term, term

_AT_A_TIME = 500
_BORN_BEFORE = """
SELECT c.id, e.born, e.id, h.name, e.queue_id, e.message_id, coalesce(e.msg_id, ''),
    e.removed_at < ?1 AND e.expired_at < ?1
        AND NOT EXISTS (SELECT 1 FROM attempt a WHERE a.entry_id = e.id AND a.at >= ?1)
        AND e.id < (SELECT max(id) FROM entry)  -- whose number must not be given again
FROM client c CROSS JOIN entry e
    ON e.client_id = c.id AND e.born < ?1 AND e.born >= iif(c.id = ?2, ?3, -(1 << 62))
    JOIN host h ON h.id = e.host_id
WHERE c.id >= ?2 AND NOT (c.id = ?2 AND e.born = ?3 AND e.id <= ?4)
ORDER BY c.id, e.born, e.id
LIMIT ?5
"""
_OLDEST = """
SELECT min(at) FROM (
    SELECT (SELECT min(e.born) FROM entry e WHERE e.client_id = c.id) AS at FROM client c
    UNION ALL SELECT min(at) FROM reject)
"""
TIMED = {"reject": ("at", "at, digest"), "withdrawn": ("born", "change")}
"""Tables of what belongs to no queue entry: the column that says when it was, and the key."""


Place: TypeAlias = tuple[int, int, int]
"""Of an entry, in the order in which they are looked at: client, born, number."""
FIRST: Place = (0, -(1 << 62), 0)


class Removed(NamedTuple):
    """What a step of the removal took away."""

    entries: list[EntryKey]
    others: int
    """Rows of what belongs to no queue entry."""
    after: Place | None
    """Where to go on; None at the end."""


class Orphans(NamedTuple):
    """Texts that nothing refers to."""

    table: str
    numbers: list[int]


def octets_used(connection: Connection) -> int:
    """Of the database, without its free pages."""
    pages = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
    return pages * _pragma(connection, "page_size")


def oldest(connection: Connection) -> int | None:
    """When the oldest queue entry was born, or something refused, whichever is older."""
    row = connection.execute(_OLDEST).fetchone()
    return None if row is None or row[0] is None else number_of(row[0])


def remove_older(
    connection: Connection, horizon: int, entries: int, after: Place = FIRST
) -> Removed:
    """Removes, of so many entries that were born before, those of which nothing was heard since.

    And so many other rows of each kind. Lines before the horizon are refused from then on. A
    transaction of its own. What stays is looked at once, not with each step: there may be a lot.
    """
    with transaction(connection):
        raise_horizon(connection, horizon)
        found = connection.execute(_BORN_BEFORE, (horizon, *after, entries)).fetchall()
        rows = [row[2:-1] for row in found if row[-1]]
        Counting(connection).leave([number_of(row[0]) for row in rows])
        _remove(connection, rows)
        others = _remove_timed(connection, horizon, entries)
    if found:
        client_id, born, number = map(number_of, found[-1][:3])
        after = client_id, born, number
    gone = [(str(host), str(queue_id)) for _, host, queue_id, *_ in rows]
    return Removed(gone, others, after if others or len(found) == entries else None)


def _remove(connection: Connection, rows: Sequence[Row]) -> None:
    """These entries with all that belongs to them, each table at once."""
    numbers = [number_of(row[0]) for row in rows]
    named = f"({','.join(map(str, numbers))})"
    outcomes = connection.execute(
        f"SELECT recipient, entry_id FROM outcome WHERE entry_id IN {named}"
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
    address_blocks.drop(connection, numbers)
    for table, column in (("attempt", "entry_id"), ("outcome", "entry_id"), ("entry", "id")):
        connection.execute(f"DELETE FROM {table} WHERE {column} IN {named}")


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
