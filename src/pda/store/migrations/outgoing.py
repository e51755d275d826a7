"""What is sent to others: the outbox, and the webhooks that are told of changes.

Owns when the tables came; their shape is with what writes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pda.store import outbox, webhooks

if TYPE_CHECKING:
    from sqlite_utils import Database


def migrate(database: Database) -> None:
    """Adds the tables."""
    for statement in (*outbox.TABLES, webhooks.TABLE):
        database.execute(statement)
