"""What finds addresses by a part of them.

Owns when the table came; its shape is with what writes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pda.store import address_blocks

if TYPE_CHECKING:
    from sqlite_utils import Database

    from pda.store.database import Connection


def migrate(database: Database) -> None:
    """Adds it, for all that is stored."""
    for statement in address_blocks.TABLES:
        database.execute(statement)
    address_blocks.recompute(cast("Connection", database.conn))
