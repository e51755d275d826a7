"""Sums of those who are written to often.

Owns when the tables came; their shape is with what reads and makes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pda.store import address_sums, summing

if TYPE_CHECKING:
    from sqlite_utils import Database


def migrate(database: Database) -> None:
    """Adds them, empty: sums are made as the service goes on."""
    for statement in (*address_sums.TABLES, summing.TABLE):
        database.execute(statement)
