"""Who may ask: users and tokens.

Owns these tables and their edits. Of a password an argon2 hash is kept. A token and the id of a
session are 256 random bits: nobody can guess one, so a plain SHA-256 is kept of them, which tells
nothing to whoever reads the database and costs nothing at each request. Times are µs since the
epoch.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from hashlib import sha256

import msgspec

from pda.store import sessions
from pda.store.audit import Deed
from pda.store.database import Connection
from pda.store.edits import NotThereError
from pda.store.names import number_of

TABLES = (
    """
CREATE TABLE token (
    id INTEGER PRIMARY KEY AUTOINCREMENT, hash BLOB NOT NULL UNIQUE, role TEXT NOT NULL,
    client_id TEXT NOT NULL, note TEXT NOT NULL, created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL, used_at INTEGER NOT NULL
)
""",
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
        sessions.end_all(connection, self.name)
        known = connection.execute("SELECT 1 FROM user WHERE name = ?", (self.name,)).fetchone()
        connection.execute(
            "INSERT OR REPLACE INTO user VALUES (?, ?, ?, ?, ?)",
            (self.name, self.password_hash, self.role, self.client_id, at),
        )
        return known is None

    def deed(self, result: bool) -> Deed:
        """Which role."""
        action = "add user" if result else "change user"
        return Deed(action, self.name, _granted(self.role, self.client_id))


class RemoveUser(msgspec.Struct, frozen=True, tag="remove-user"):
    """Removes a user and ends the user's sessions."""

    name: str

    def write(self, connection: Connection, at: int) -> None:  # noqa: ARG002
        """Raises `NotThereError`."""
        sessions.end_all(connection, self.name)
        found = connection.execute("DELETE FROM user WHERE name = ? RETURNING 1", (self.name,))
        if not found.fetchall():
            raise NotThereError(f"there is no user {self.name!r}")

    def deed(self, result: None) -> Deed:  # noqa: ARG002
        """Whom."""
        return Deed("remove user", self.name)


class TokenRow(msgspec.Struct, frozen=True):
    """A program's way in."""

    id: int
    hash: bytes
    role: str
    client_id: str
    note: str
    """What it is for."""
    created_at: int
    expires_at: int
    """0: never."""
    used_at: int
    """When it was last used, to the hour; 0 if it never was."""


def tokens(connection: Connection) -> list[TokenRow]:
    """All tokens, oldest first."""
    rows = connection.execute(
        "SELECT id, hash, role, client_id, note, created_at, expires_at, used_at FROM token"
        " ORDER BY id"
    ).fetchall()
    make: Callable[..., TokenRow] = TokenRow
    return [make(*row) for row in rows]


def new_secret() -> str:
    """A token, or the id of a session; begins so that it is known where it should not be."""
    return f"pda_{secrets.token_urlsafe(32)}"


def secret_hash(secret: str) -> bytes:
    """What is kept of a token or the id of a session."""
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()


class AddToken(msgspec.Struct, frozen=True, tag="add-token"):
    """Lets whoever has the secret ask."""

    hash: bytes
    """See `secret_hash`."""
    role: str
    client_id: str = ""
    note: str = ""
    expires_at: int = 0

    def write(self, connection: Connection, at: int) -> int:
        """Its number."""
        row = connection.execute(
            "INSERT INTO token (hash, role, client_id, note, created_at, expires_at, used_at)"
            " VALUES (?, ?, ?, ?, ?, ?, 0) RETURNING id",
            (self.hash, self.role, self.client_id, self.note, at, self.expires_at),
        ).fetchall()
        return number_of(row[0][0])

    def deed(self, result: int) -> Deed:
        """Which number and role."""
        return Deed("add token", str(result), _granted(self.role, self.client_id))


class RemoveToken(msgspec.Struct, frozen=True, tag="remove-token"):
    """Lets nobody ask with it any more."""

    id: int

    def write(self, connection: Connection, at: int) -> None:  # noqa: ARG002
        """Raises `NotThereError`."""
        found = connection.execute("DELETE FROM token WHERE id = ? RETURNING 1", (self.id,))
        if not found.fetchall():
            raise NotThereError(f"there is no token {self.id}")

    def deed(self, result: None) -> Deed:  # noqa: ARG002
        """Which one."""
        return Deed("remove token", str(self.id))


class UseToken(msgspec.Struct, frozen=True):
    """Notes that a token is in use."""

    id: int

    def write(self, connection: Connection, at: int) -> None:
        """Nothing where it has gone."""
        connection.execute("UPDATE token SET used_at = ? WHERE id = ?", (at, self.id))

    def deed(self, result: None) -> None:
        """Not worth an entry."""


def _granted(role: str, client_id: str) -> str:
    return f"role {role}" + (f" of client {client_id}" if client_id else "")
