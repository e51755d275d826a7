"""The rows that one transaction writes, and how they are written.

Owns every statement that writes what lines say. Knows no value of `maillog`.

The driver asks protocols for None and bytes at every value it binds, which takes longer than the
row itself: NULL is written as NULLIF(?, …), and an octet string is bound as a bytearray.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TypeAlias

import msgspec

from pda.store import address_blocks, address_sums, bounced, imports, pieces, rejects
from pda.store.database import Connection, Row
from pda.store.imports import Import
from pda.store.names import Name, number_of

_NEW = {
    **rejects.NEW,
    "host": "INSERT INTO host VALUES (?, ?)",
    "client": "INSERT INTO client VALUES (?, ?)",
    "relay": "INSERT INTO relay VALUES (?, ?, ?)",
    "reason": "INSERT INTO reason VALUES (?, ?)",
    "verdict": "INSERT INTO verdict VALUES (?, ?, ?, ?)",
    "manner": "INSERT INTO manner VALUES (?, ?, ?, ?, ?)",
}
_ENTRY = (
    "host_id", "queue_id", "born", "client_id", "claimed_id", "message_id", "msg_id", "sender",
    "size", "nrcpt", "expired_at", "removed_at", "origin", "facts",
)  # fmt: skip
_MESSAGE_ID = 6
"""Where it stands in such a row."""
# To replace a row takes twice as long where a table has other indexes, also if there is none. Host
# and queue id stay as they are: an index is written anew where one of its columns is set.
_PUT_ENTRY = f"""
INSERT INTO entry (id, {", ".join(_ENTRY)}) VALUES (
    ?, ?, ?, ?, ?, NULLIF(?, ''), ?, NULLIF(?, ''), ?, ?, ?, ?, ?, NULLIF(?, ''), ?
) ON CONFLICT (id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _ENTRY[2:])}
"""
_PUT_ATTEMPT = """
INSERT OR REPLACE INTO attempt VALUES (
    ?, ?, ?, ?, ?, ?, ?, NULLIF(?, ''), ?, NULLIF(?, 0), ?, NULLIF(?, x''), NULLIF(?, ''),
    NULLIF(?, 0), NULLIF(?, '')
)
"""
_OUTCOME = ("address", "state", "first_at", "last_at", "attempts", "verdict_id", "change")
# Not replaced: what follows its change (see the migration `narrow`) would not see one go.
_PUT_OUTCOME = f"""
INSERT INTO outcome VALUES (?, ?, NULLIF(?, ''), ?, ?, ?, ?, NULLIF(?, 0), ?)
ON CONFLICT (entry_id, recipient) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in _OUTCOME)}
"""
# Made of the rows by SQLite itself, a trigger for each would take as long as the row does.
_PUT_CHANGED = """
INSERT OR IGNORE INTO changed SELECT change, entry_id FROM outcome WHERE entry_id BETWEEN ? AND ?
"""
_PUT_CHANGE = "INSERT OR IGNORE INTO changed VALUES (?, ?)"
_PUT_WITHDRAWN = "INSERT INTO withdrawn VALUES (?, ?, ?, NULLIF(?, ''), ?, ?, ?, ?)"


class Judging(msgspec.Struct, frozen=True):
    """How far what is stored was judged by the rules of a list."""

    digest: str = ""
    done_to: int = 0
    """The last entry (its row) that was looked at."""
    changed: int = 0
    """Attempts that got another verdict."""
    finished_at: int = 0
    """µs since the epoch; 0 while there is more."""


class Placed(msgspec.Struct):
    """Rows of entries of which nothing was known, see `sheets`; in the order of their keys."""

    entries: list[Row]
    attempts: list[Row]
    outcomes: list[Row]
    terms: list[tuple[int, int]]
    evidence: list[Row]
    named: list[tuple[int, str]]
    """Addresses of entries, which go into blocks."""


Reached: TypeAlias = tuple[str, int, int, int, str]
"""An outcome: recipient, state, at, verdict, provider."""


class Progress(msgspec.Struct, frozen=True, gc=False):
    """What a known queue entry has come to: how else it counts than before."""

    client_id: int
    host_id: int
    attempts: list[Row]
    """Rows of those that are new."""
    before: list[Reached]
    after: list[Reached]


class Batch(msgspec.Struct):
    """Rows that one transaction writes."""

    names: list[Name] = []
    placed: Placed | None = None
    """Written before all others, which may change it."""
    entries: list[Row] = []
    vacated: list[Row] = []
    """Ids of entries that turned out to be part of others."""
    attempts: dict[tuple[int, int, int], Row | None] = {}
    outcomes: dict[tuple[int, str], Row | None] = {}
    """None: the row has to go."""
    progress: dict[int, list[Progress]] = {}
    """Of known entries; one that is changed otherwise is to be counted anew."""
    terms: list[tuple[int, int]] = []
    """Hash and entry, see `pieces`."""
    addresses: list[Row] = []
    """Blocks of them, see `address_blocks`."""
    replaced: list[Row] = []
    """Numbers of smaller blocks that they take the place of."""
    evidence: dict[tuple[str, int], Row] = {}
    """By recipient and entry: outcomes that say something about the address."""
    no_evidence: list[tuple[str, int]] = []
    """Those that may have said something before; taken out first."""
    rejects: list[Row] = []
    withdrawn: list[Row] = []
    """Outcomes that are none any more."""
    clients: set[str] = set()
    """Whose outcomes are others than before."""
    last_change: int = 0
    imported: Import | None = None
    judging: Judging | None = None
    new_attempts: int = 0
    """Those that were not known, or are better known now."""
    added_attempts: int = 0
    """Those that were not known."""
    refused: int = 0
    """Lines that were too old to be stored."""
    refused_attempts: int = 0
    """Attempts among them."""

    def message_ids(self) -> Iterator[tuple[int, str]]:
        """Those of the entries that it writes."""
        for row in chain(self.placed.entries if self.placed else (), self.entries):
            yield number_of(row[0]), str(row[_MESSAGE_ID])

    def lose_evidence(self, recipient: str, entry_id: int) -> None:
        """An outcome may have said something about the address, and does so no more."""
        self.no_evidence.append((recipient, entry_id))
        self.evidence.pop((recipient, entry_id), None)


def put_names(connection: Connection, names: Iterable[Name]) -> None:
    """Writes the new names of a batch, which its rows need, within a transaction that is open."""
    by_table: dict[str, list[Row]] = {}
    for table, row in names:
        by_table.setdefault(table, []).append(row)
    for table, rows in by_table.items():
        connection.executemany(_NEW[table], rows)


def put_placed(connection: Connection, placed: Placed) -> None:
    """Writes the rows of new entries within a transaction that is open."""
    many = connection.executemany
    many(_PUT_ENTRY, placed.entries)
    many(_PUT_ATTEMPT, placed.attempts)
    many(_PUT_OUTCOME, placed.outcomes)
    if placed.outcomes:
        connection.execute(_PUT_CHANGED, (placed.outcomes[0][0], placed.outcomes[-1][0]))
    pieces.put(connection, placed.terms)
    many(bounced.PUT, placed.evidence)


def execute(connection: Connection, batch: Batch) -> None:
    """Writes the other rows of a batch within a transaction that is open."""
    many = connection.executemany
    address_sums.note(connection, _changed(batch))
    for table, column in (("entry", "id"), ("attempt", "entry_id"), ("outcome", "entry_id")):
        many(f"DELETE FROM {table} WHERE {column}=?", batch.vacated)
    many(_PUT_ENTRY, batch.entries)
    # In the order of their keys: pages fill up one after the other, and are touched once.
    gone = [key for key, row in batch.attempts.items() if row is None]
    many("DELETE FROM attempt WHERE entry_id=? AND digest=? AND copy=?", gone)
    many(_PUT_ATTEMPT, [row for _, row in sorted(batch.attempts.items()) if row is not None])
    gone_outcomes = [key for key, row in batch.outcomes.items() if row is None]
    many("DELETE FROM outcome WHERE entry_id=? AND recipient=?", gone_outcomes)
    outcomes = [row for _, row in sorted(batch.outcomes.items()) if row is not None]
    many(_PUT_OUTCOME, outcomes)
    many(_PUT_CHANGE, sorted((row[-1], row[0]) for row in outcomes))
    pieces.put(connection, batch.terms)
    many(address_blocks.DROP, batch.replaced)
    many(address_blocks.PUT, batch.addresses)
    many(_PUT_WITHDRAWN, batch.withdrawn)
    many(rejects.PUT, sorted(batch.rejects))
    many(bounced.REMOVE, sorted(batch.no_evidence))
    many(bounced.PUT, [row for _, row in sorted(batch.evidence.items())])
    if batch.imported is not None:
        imports.put(connection, batch.imported)
    if batch.judging is not None:
        row = msgspec.structs.astuple(batch.judging)
        connection.execute("INSERT OR REPLACE INTO judging VALUES (1, ?, ?, ?, ?)", row)
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('change', ?)", (batch.last_change,))


def _changed(batch: Batch) -> Iterator[tuple[int, str]]:
    """The outcomes that are others afterwards, or none any more; some of them twice."""
    yield from batch.outcomes
    if batch.vacated:
        gone = {number for (number,) in batch.vacated}
        yield from ((entry, recipient) for recipient, entry in batch.no_evidence if entry in gone)
