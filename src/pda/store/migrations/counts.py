"""What is counted of the rows.

Owns that older databases get it too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pda.store.counting import TABLES, Counting

if TYPE_CHECKING:
    from sqlite_utils import Database

    from pda.store.database import Connection


def migrate(database: Database) -> None:
    """Adds the tables, and counts what is stored."""
    for statement in TABLES:
        database.execute(statement)
    Counting(cast("Connection", database.conn)).begin_anew()
