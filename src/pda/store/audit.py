"""Who changed what, and when: one row for each change, written in its transaction.

Owns the table. Rows are added, and go when there are too many; an address that is erased is
taken out of them by `erase`.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from pda.store.database import Connection

TABLE = """
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, who TEXT NOT NULL,
    address TEXT NOT NULL, action TEXT NOT NULL, target TEXT NOT NULL, detail TEXT NOT NULL
)
"""


MOST_ROWS = 100_000
"""The oldest ones go: whoever makes entries by failing to log in fills no disk."""


class Author(msgspec.Struct, frozen=True):
    """Who asks for a change, and where from."""

    who: str
    """`user NAME`, `token ID`, `uid NUMBER` (a command), `this machine`, or `pda` itself."""
    address: str = ""
    """IP address; empty for a command and the service itself."""


class Deed(msgspec.Struct, frozen=True):
    """What was done, as the audit says it."""

    action: str
    """Verb and kind: `put user`, `remove token` …"""
    target: str = ""
    """Name, number or address of what was changed; the only place where a person may be named."""
    detail: str = ""
    """What else is worth knowing; never names a person."""


class Note(msgspec.Struct, frozen=True):
    """An edit that is nothing but its entry: for what is done elsewhere than in the store."""

    told: Deed

    def write(self, connection: Connection, at: int) -> None:
        """Writes nothing else."""

    def deed(self, result: None) -> Deed:  # noqa: ARG002
        """What was done."""
        return self.told


class AuditRow(msgspec.Struct, frozen=True):
    """One change."""

    id: int
    at: int
    """µs since the epoch."""
    who: str
    address: str
    action: str
    target: str
    detail: str


def put(connection: Connection, deed: Deed, by: Author, at: int) -> None:
    """Adds a row."""
    connection.execute(
        "INSERT INTO audit (at, who, address, action, target, detail) VALUES (?, ?, ?, ?, ?, ?)",
        (at, by.who, by.address, deed.action, deed.target, deed.detail),
    )
    connection.execute("DELETE FROM audit WHERE id <= last_insert_rowid() - ?", (MOST_ROWS,))


def rows(connection: Connection, before: int | None = None, limit: int = 100) -> list[AuditRow]:
    """The latest changes, latest first; of those before the row with this number."""
    found = connection.execute(
        "SELECT id, at, who, address, action, target, detail FROM audit"
        " WHERE id < coalesce(?, 9223372036854775807) ORDER BY id DESC LIMIT ?",
        (before, limit),
    ).fetchall()
    make: Callable[..., AuditRow] = AuditRow
    return [make(*row) for row in found]


def erase(connection: Connection, target: str, replacement: str) -> None:
    """Writes another word for a target, in whatever case it stands there."""
    connection.execute(
        "UPDATE audit SET target = ? WHERE lower(target) = lower(?)", (replacement, target)
    )
