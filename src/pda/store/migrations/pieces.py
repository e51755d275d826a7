"""Which pieces there are of terms.

Owns when the table came; its shape is with what writes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pda.store import pieces

if TYPE_CHECKING:
    from sqlite_utils import Database


def migrate(database: Database) -> None:
    """Adds it, for all that is stored; they are put together as the service goes on."""
    for statement in (pieces.TABLE, pieces.FILL):
        database.execute(statement)
