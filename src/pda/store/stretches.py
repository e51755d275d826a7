"""When the messages of each stretch of queue entries were heard of.

Owns the table `stretch`, by which a question about a time finds the entries that may be of it:
entries are numbered as they come, so those of one time stand together. Its times hold all that is
stored, and may reach farther where something was taken away.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from pda.store.database import Connection

STRETCH_BITS: Final = 10
"""A stretch is 1,024 entries."""
TABLE: Final = """
CREATE TABLE stretch (
    number INTEGER PRIMARY KEY, first_born INTEGER NOT NULL, last_born INTEGER NOT NULL,
    last_at INTEGER NOT NULL
)
"""
_PUT = """
INSERT INTO stretch VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    first_born = min(first_born, excluded.first_born),
    last_born = max(last_born, excluded.last_born), last_at = max(last_at, excluded.last_at)
"""
_FILL = f"""
INSERT INTO stretch
SELECT id >> {STRETCH_BITS}, min(born), max(born), max(max(born, coalesce(
    (SELECT max(o.last_at) FROM outcome o WHERE o.entry_id = entry.id), 0)))
FROM entry GROUP BY 1
"""
# An outcome's time may lie a little before that of its last attempt: on hold, expired.
_AHEAD = 1_000_000
_NEVER = 2**62


def widen(
    connection: Connection, entries: Iterable[tuple[Any, ...]], results: Iterable[tuple[Any, ...]]
) -> None:
    """Lets the stretches hold these entries (number, born) and outcomes (entry, time)."""
    found: dict[int, tuple[int, int, int]] = {}
    for number, born in entries:
        first, last, at = found.get(number >> STRETCH_BITS, (_NEVER, -_NEVER, -_NEVER))
        found[number >> STRETCH_BITS] = min(first, born), max(last, born), max(at, born)
    for number, heard in results:
        first, last, at = found.get(number >> STRETCH_BITS, (_NEVER, -_NEVER, -_NEVER))
        found[number >> STRETCH_BITS] = first, last, max(at, heard + _AHEAD)
    connection.executemany(_PUT, [(number, *times) for number, times in sorted(found.items())])


def recompute(connection: Connection) -> None:
    """The table, anew, in the transaction that is open."""
    connection.execute("DELETE FROM stretch")
    connection.execute(_FILL)
    connection.execute("UPDATE stretch SET last_at = last_at + ?", (_AHEAD,))
