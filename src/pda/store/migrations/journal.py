"""The secret of the journal, in which lines wait that were acknowledged and are not stored yet.

Owns its table. It is as secret as the database, and goes with it into backups.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database

_OCTETS = 32


def migrate(database: Database) -> None:
    """Adds the table, with a secret of this database's own."""
    database.execute(
        "CREATE TABLE journal_secret (id INTEGER PRIMARY KEY CHECK (id = 1), secret BLOB NOT NULL)"
    )
    secret = bytearray(secrets.token_bytes(_OCTETS))
    database.execute("INSERT INTO journal_secret VALUES (1, ?)", (secret,))
