"""What finds addresses by a part of them.

Owns when the table came; its shape is with what writes it. It is filled by `address_runs`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pda.store import address_blocks

if TYPE_CHECKING:
    from sqlite_utils import Database


def migrate(database: Database) -> None:
    """Adds it."""
    for statement in address_blocks.TABLES:
        database.execute(statement)
