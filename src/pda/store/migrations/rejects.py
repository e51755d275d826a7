"""What was refused.

Owns when the tables came; their shape is with what writes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pda.store import rejects

if TYPE_CHECKING:
    from sqlite_utils import Database


def migrate(database: Database) -> None:
    """Adds the tables; what was refused before is in the logs, and can be imported again."""
    for statement in rejects.TABLES:
        database.execute(statement)
