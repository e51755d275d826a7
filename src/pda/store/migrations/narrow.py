"""Narrower rows: delays in fewer octets, and what leads from a change to its outcome without names.

Owns the table `changed`. An index on outcomes would have each recipient in it a second time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pda.store import delays

if TYPE_CHECKING:
    from sqlite_utils import Database

_CHANGED = """
CREATE TABLE changed (change INTEGER PRIMARY KEY, entry_id INTEGER NOT NULL)
"""
_FILL = "INSERT INTO changed SELECT change, entry_id FROM outcome ORDER BY change"
# Whoever removes outcomes, or gives them other numbers: none stays behind. New ones `batch` adds.
_LEAVE = "DELETE FROM changed WHERE change = old.change"
_TRIGGERS = (
    f"CREATE TRIGGER outcome_other AFTER UPDATE OF change ON outcome BEGIN {_LEAVE}; END",
    f"CREATE TRIGGER outcome_gone AFTER DELETE ON outcome BEGIN {_LEAVE}; END",
)
_ATTEMPT_TOLD = f"""
CREATE VIEW attempt_told AS
SELECT a.entry_id, a.digest, a.copy, a.at, a.grade, m.program, a.recipient, a.orig_to,
    r.name AS relay, a.conn_use, {delays.SECONDS} AS delay, a.delays, a.tls, m.dsn, m.status,
    coalesce(a.reply, t.name, '') AS reason, m.verdict_id
FROM attempt a JOIN manner m ON m.id = a.manner_id JOIN relay r ON r.id = a.relay_id
    LEFT JOIN reason t ON t.id = a.reason_id
"""


def migrate(database: Database) -> None:
    """Brings all that is stored into that form."""
    for statement in (
        "DROP VIEW attempt_told",
        _ATTEMPT_TOLD,
        delays.PACK,
        _CHANGED,
        _FILL,
        "DROP INDEX outcome_change",
        *_TRIGGERS,
    ):
        database.execute(statement)
