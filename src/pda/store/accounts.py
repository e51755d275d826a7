"""Who may ask: users, tokens, and the sessions of browsers.

Owns these tables and their edits. Of a password an argon2 hash is kept. A token and the id of a
session are 256 random bits: nobody can guess one, so a plain SHA-256 is kept of them, which tells
nothing to whoever reads the database and costs nothing at each request. Times are µs since the
epoch.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from pda.store.audit import Deed
from pda.store.database import Connection
from pda.store.edits import NotThereError

TABLES = (
    """
CREATE TABLE token (
    id INTEGER PRIMARY KEY AUTOINCREMENT, hash BLOB NOT NULL UNIQUE, role TEXT NOT NULL,
    client_id TEXT NOT NULL, note TEXT NOT NULL, created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL, used_at INTEGER NOT NULL
)
""",
    """
CREATE TABLE session (
    hash BLOB PRIMARY KEY, user_name TEXT NOT NULL, created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL
) WITHOUT ROWID
""",
    "CREATE INDEX session_user ON session (user_name)",
)


class UserRow(msgspec.Struct, frozen=True):
    """Who may ask."""

    name: str
    password_hash: str
    role: str
    client_id: str


def users(connection: Connection) -> list[UserRow]:
    """Who may log in, by name."""
    rows = connection.execute(
        "SELECT name, password_hash, role, client_id FROM user ORDER BY name"
    ).fetchall()
    make: Callable[..., UserRow] = UserRow
    return [make(*row) for row in rows]


class PutUser(msgspec.Struct, frozen=True, tag="put-user"):
    """Adds a user, or gives one a new password and role, which ends the user's sessions."""

    name: str
    password_hash: str
    role: str
    client_id: str = ""

    def write(self, connection: Connection, at: int) -> bool:
        """Whether the user is new."""
        _end_sessions(connection, self.name)
        known = connection.execute("SELECT 1 FROM user WHERE name = ?", (self.name,)).fetchone()
        connection.execute(
            "INSERT OR REPLACE INTO user VALUES (?, ?, ?, ?, ?)",
            (self.name, self.password_hash, self.role, self.client_id, at),
        )
        return known is None

    def deed(self, result: bool) -> Deed:
        """Which role."""
        of = f" of client {self.client_id}" if self.client_id else ""
        return Deed("add user" if result else "change user", self.name, f"role {self.role}{of}")


class RemoveUser(msgspec.Struct, frozen=True, tag="remove-user"):
    """Removes a user and ends the user's sessions."""

    name: str

    def write(self, connection: Connection, at: int) -> None:  # noqa: ARG002
        """Raises `NotThereError`."""
        _end_sessions(connection, self.name)
        found = connection.execute("DELETE FROM user WHERE name = ? RETURNING 1", (self.name,))
        if not found.fetchall():
            raise NotThereError(f"there is no user {self.name!r}")

    def deed(self, result: None) -> Deed:  # noqa: ARG002
        """Whom."""
        return Deed("remove user", self.name)


def _end_sessions(connection: Connection, user_name: str) -> None:
    connection.execute("DELETE FROM session WHERE user_name = ?", (user_name,))
