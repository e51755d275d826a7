"""What leads from a time to the deliveries in it that came late.

Owns an index. The others of a time are found by when their messages arrived, or by their failures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database


def migrate(database: Database) -> None:
    """Adds it, for all that is stored."""
    database.execute("CREATE INDEX outcome_late ON outcome (last_at) WHERE state = 2")
