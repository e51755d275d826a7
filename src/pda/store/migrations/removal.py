"""What was erased, and by which secret it is known again.

Owns when the tables came; their shape is with what writes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pda.store import removal

if TYPE_CHECKING:
    from sqlite_utils import Database


def migrate(database: Database) -> None:
    """Adds the tables."""
    for statement in removal.TABLES:
        database.execute(statement)
