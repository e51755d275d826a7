"""What was found wrong, and whom it was told.

Owns when the table came; its shape is with what writes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pda.store import alerts

if TYPE_CHECKING:
    from sqlite_utils import Database


def migrate(database: Database) -> None:
    """Adds the table."""
    for statement in alerts.TABLES:
        database.execute(statement)
