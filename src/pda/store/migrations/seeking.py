"""What leads from a time, a client, a state and a failure to the queue entries concerned.

Owns the table `stretch` and three indexes. Entries are asked for by number, so each index ends in
it; the two of attempts and outcomes hold failures only, and what is no delivery yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pda.store import stretches

if TYPE_CHECKING:
    from sqlite_utils import Database

    from pda.store.database import Connection

# With what its condition is about: so no row is looked at.
_FAILED = """
CREATE INDEX attempt_failed ON attempt (manner_id, entry_id, reason_id) WHERE reason_id IS NOT NULL
"""


def migrate(database: Database) -> None:
    """Adds them, for all that is stored."""
    for statement in (
        stretches.TABLE,
        "CREATE INDEX entry_client ON entry (client_id)",
        _FAILED,
        "CREATE INDEX outcome_open ON outcome (state, entry_id) WHERE state NOT IN (1, 2, 9)",
    ):
        database.execute(statement)
    stretches.recompute(cast("Connection", database.conn))
