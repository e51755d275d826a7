"""The tables of the first version: what lines say, and what follows from it.

Owns their shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pda.store import imports

if TYPE_CHECKING:
    from sqlite_utils import Database


def migrate(database: Database) -> None:
    """What comes again and again is kept once; what belongs to a queue entry stands together.

    Rows are added at the end of their tables, and index entries at the end of few places: so the
    millionth line is written as fast as the first one. What would scatter (addresses, Message-IDs)
    is looked up by `term`.
    """
    for table in ("host", "client"):
        database.table(table).create({"id": int, "name": str}, pk="id", not_null={"name"})
        database.table(table).create_index(["name"], unique=True)
    database.table("verdict").create(
        {"id": int, "bounce_type": str, "category": str, "rule": str}, pk="id"
    )
    database.table("manner").create(
        {"id": int, "program": str, "status": str, "dsn": str, "verdict_id": int}, pk="id"
    )
    for table in ("relay", "reason"):  # a text may stand there several times: no index to find it
        database.table(table).create({"id": int, "name": str}, pk="id", not_null={"name"})
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
    for statement in (_TERM, _ATTEMPT, _ATTEMPT_TOLD, _OUTCOME):
        database.execute(statement)
    database.execute("CREATE UNIQUE INDEX outcome_change ON outcome (change)")
    database.execute(
        "CREATE INDEX attempt_failure ON attempt (manner_id, at, reason_id)"
        " WHERE reason_id IS NOT NULL"
    )
    database.table("judging").create(
        {"id": int, "digest": str, "done_to": int, "changed": int, "finished_at": int}, pk="id"
    )


# Hashes of what an entry can be found by (see `terms`), in pieces that fit into memory (see
# `pieces`).
_TERM = """
CREATE TABLE term (
    piece INTEGER NOT NULL, hash INTEGER NOT NULL, entry_id INTEGER NOT NULL,
    PRIMARY KEY (piece, hash, entry_id)
) WITHOUT ROWID
"""
# The reply of a failure comes again and stands in `reason`, that of a success hardly ever.
_ATTEMPT = """
CREATE TABLE attempt (
    entry_id INTEGER NOT NULL, digest INTEGER NOT NULL, copy INTEGER NOT NULL,
    at INTEGER NOT NULL, grade INTEGER NOT NULL, manner_id INTEGER NOT NULL,
    recipient TEXT NOT NULL, orig_to TEXT, relay_id INTEGER NOT NULL, conn_use INTEGER,
    delay REAL NOT NULL, delays TEXT, tls TEXT, reason_id INTEGER, reply TEXT,
    PRIMARY KEY (entry_id, digest, copy)
) WITHOUT ROWID
"""
_ATTEMPT_TOLD = """
CREATE VIEW attempt_told AS
SELECT a.entry_id, a.digest, a.copy, a.at, a.grade, m.program, a.recipient, a.orig_to,
    r.name AS relay, a.conn_use, a.delay, a.delays, a.tls, m.dsn, m.status,
    coalesce(a.reply, t.name, '') AS reason, m.verdict_id
FROM attempt a JOIN manner m ON m.id = a.manner_id JOIN relay r ON r.id = a.relay_id
    LEFT JOIN reason t ON t.id = a.reason_id
"""
_OUTCOME = """
CREATE TABLE outcome (
    entry_id INTEGER NOT NULL, recipient TEXT NOT NULL, address TEXT, state INTEGER NOT NULL,
    first_at INTEGER NOT NULL, last_at INTEGER NOT NULL, attempts INTEGER NOT NULL,
    verdict_id INTEGER, change INTEGER NOT NULL,
    PRIMARY KEY (entry_id, recipient)
) WITHOUT ROWID
"""
