"""Tokens, sessions, and the audit of changes.

Owns when they came; their shape is with what writes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pda.store import accounts, audit, sessions

if TYPE_CHECKING:
    from sqlite_utils import Database


def migrate(database: Database) -> None:
    """Adds the tables."""
    for statement in (audit.TABLE, *accounts.TABLES, *sessions.TABLES):
        database.execute(statement)
