"""The write-ahead log: how large it is, and making it small again.

SQLite copies it into the database by itself, every thousand pages, and begins it anew where nobody
reads any more; `journal_size_limit` then cuts it. But who reads for long keeps it, and so do many
who read one after another without a pause between them: it grows until somebody waits for them.
"""

from __future__ import annotations

from pathlib import Path

from pda.store.database import Connection

LIMIT = 64 * 1024 * 1024
"""Octets, as `journal_size_limit`: what is larger is kept by who reads."""
_PATIENCE_MS, _USUAL_MS = 500, 5000


def size(database: Path) -> int:
    """Octets."""
    path = database.with_name(database.name + "-wal")
    return path.stat().st_size if path.exists() else 0


def cut(connection: Connection) -> bool:
    """Copies it into the database and makes it empty; False where that would wait for a reader.

    Beginners are made to wait for half a second at the most, so that those before them can end.
    Raises `DatabaseError` where the disk refuses.
    """
    connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}").fetchone()
    try:
        row = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {_USUAL_MS}").fetchone()
    return row is not None and row[0] == 0
