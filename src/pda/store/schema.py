"""Tables, and how older ones become newer ones.

Owns the shape of the database. A migration is never changed once released: a new one is added.
Its number is kept in `user_version`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from pysqlcipher3 import dbapi2

from pda.store import imports
from pda.store.database import Connection, DatabaseError, StoreError

# sqlite-utils takes module pysqlite3 in place of sqlite3 where it finds one; so it catches the
# exceptions of the driver in use.
sys.modules.setdefault("pysqlite3", dbapi2)
sys.modules.setdefault("pysqlite3.dbapi2", dbapi2)

from sqlite_utils import Database  # noqa: E402


def migrate(connection: Connection) -> None:
    """Brings the tables to this version; raises `StoreError` for those of a newer one."""
    row = connection.execute("PRAGMA user_version").fetchone()
    version = row[0] if row else 0
    assert isinstance(version, int)
    if version > len(MIGRATIONS):
        raise StoreError(
            f"the database is of a newer version of pda (schema {version}, this one knows"
            f" {len(MIGRATIONS)}): install that version; nothing was changed"
        )
    for number, migration in enumerate(MIGRATIONS[version:], version + 1):
        try:
            connection.execute("BEGIN IMMEDIATE")
            migration(Database(connection))  # type: ignore[arg-type]  # a DB-API connection
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except DatabaseError as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise StoreError(
                f"the tables cannot be brought to this version ({error}); nothing was changed"
            ) from error


def _first(database: Database) -> None:
    """Names are kept once; attempts and outcomes are clustered by their queue entry."""
    for table in ("host", "client"):
        database.table(table).create({"id": int, "name": str}, pk="id", not_null={"name"})
        database.table(table).create_index(["name"], unique=True)
    database.table("verdict").create(
        {"id": int, "bounce_type": str, "category": str, "rule": str}, pk="id"
    )
    database.table("meta").create({"name": str, "value": int}, pk="name")
    database.table("user").create(
        {"name": str, "password_hash": str, "role": str, "client_id": str, "created_at": int},
        pk="name",
    )
    database.execute(imports.TABLE)
    database.table("entry").create(
        {"id": int, "host_id": int, "queue_id": str, "born": int, "client_id": int,
         "claimed_id": str, "message_id": str, "msg_id": str, "sender": str, "size": int,
         "nrcpt": int, "expired_at": int, "removed_at": int, "origin": str, "facts": bytes},
        pk="id",
    )  # fmt: skip
    database.table("entry").create_index(["queue_id", "host_id"])
    database.table("entry").create_index(["client_id", "born"])
    database.table("entry").create_index(["message_id"])
    database.execute("CREATE INDEX entry_msg_id ON entry (msg_id) WHERE msg_id <> ''")
    database.execute(_ATTEMPT)
    database.execute("CREATE INDEX attempt_recipient ON attempt (recipient, at)")
    database.execute(_OUTCOME)
    database.execute("CREATE UNIQUE INDEX outcome_change ON outcome (change)")
    database.execute("CREATE INDEX outcome_recipient ON outcome (recipient)")


_ATTEMPT = """
CREATE TABLE attempt (
    entry_id INTEGER NOT NULL, digest INTEGER NOT NULL, copy INTEGER NOT NULL,
    at INTEGER NOT NULL, grade INTEGER NOT NULL, program TEXT NOT NULL, recipient TEXT NOT NULL,
    orig_to TEXT, relay TEXT NOT NULL, conn_use INTEGER, delay REAL NOT NULL, delays TEXT,
    tls TEXT, dsn TEXT NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL, verdict_id INTEGER,
    PRIMARY KEY (entry_id, digest, copy)
) WITHOUT ROWID
"""
_OUTCOME = """
CREATE TABLE outcome (
    entry_id INTEGER NOT NULL, recipient TEXT NOT NULL, address TEXT, state INTEGER NOT NULL,
    first_at INTEGER NOT NULL, last_at INTEGER NOT NULL, attempts INTEGER NOT NULL,
    verdict_id INTEGER, change INTEGER NOT NULL,
    PRIMARY KEY (entry_id, recipient)
) WITHOUT ROWID
"""


def _judging(database: Database) -> None:
    """How far history was judged by which rules; failures can be found by their verdict."""
    database.table("judging").create(
        {"id": int, "digest": str, "done_to": int, "changed": int, "finished_at": int}, pk="id"
    )
    database.execute(
        "CREATE INDEX attempt_verdict ON attempt (verdict_id, at) WHERE verdict_id IS NOT NULL"
    )


MIGRATIONS: list[Callable[[Database], None]] = [_first, _judging]
