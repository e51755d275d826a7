"""Who runs each relay.

Owns the column `provider` of `relay`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pda.maillog.providers import provider_of

if TYPE_CHECKING:
    from sqlite_utils import Database


def migrate(database: Database) -> None:
    """Adds it, and says it of the relays that are known."""
    database.execute("ALTER TABLE relay ADD COLUMN provider TEXT NOT NULL DEFAULT ''")
    rows = database.execute("SELECT id, name FROM relay").fetchall()
    database.conn.executemany(
        "UPDATE relay SET provider = ? WHERE id = ?",
        [(provider_of(name), number) for number, name in rows],
    )
