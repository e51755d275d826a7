"""The secret by which a journal of received lines is sealed: it never leaves the database.

Owns where it stands. With another key of the database, in a backup or on another machine it is
the same: a journal can be read where its database can.
"""

from __future__ import annotations

from pda.store.database import Connection


def secret(connection: Connection) -> bytes:
    """Of this database."""
    row = connection.execute("SELECT secret FROM journal_secret").fetchone()
    assert row is not None
    assert isinstance(row[0], bytes)
    return row[0]
