"""Addresses in blocks that are put together, and which of those may name what has gone.

Owns when that came; the shape of the tables is with what writes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pda.store import address_runs

if TYPE_CHECKING:
    from sqlite_utils import Database

    from pda.store.database import Connection


def migrate(database: Database) -> None:
    """Adds it, for all that is stored."""
    database.execute(address_runs.TABLE)
    address_runs.recompute(cast("Connection", database.conn))
