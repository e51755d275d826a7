"""Sessions of browsers: who logged in with the form, and until when that holds.

Owns the table. The id of a session is 256 random bits, of which the hash is kept (see `accounts`).
Times are µs since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from pda.store.audit import Deed
from pda.store.database import Connection
from pda.store.edits import NotThereError

TABLES: Final = (
    """
CREATE TABLE session (
    hash BLOB PRIMARY KEY, user_name TEXT NOT NULL, created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL
) WITHOUT ROWID
""",
    "CREATE INDEX session_user ON session (user_name)",
)
MOST: Final = 20
"""Of one user at a time; a further one ends that which was not seen for the longest time."""


class SessionRow(msgspec.Struct, frozen=True):
    """A browser in which somebody has logged in."""

    user_name: str
    created_at: int
    seen_at: int
    """The last request, give or take some minutes."""


def session(connection: Connection, hashed: bytes) -> SessionRow | None:
    """The session with this hash, whether or not it still holds."""
    row = connection.execute(
        "SELECT user_name, created_at, seen_at FROM session WHERE hash = ?", (hashed,)
    ).fetchone()
    make: Callable[..., SessionRow] = SessionRow
    return None if row is None else make(*row)


def end_all(connection: Connection, user_name: str) -> None:
    """Ends the sessions of a user."""
    connection.execute("DELETE FROM session WHERE user_name = ?", (user_name,))


class StartSession(msgspec.Struct, frozen=True):
    """Lets a browser in whose user has proven the password; takes away what has ended."""

    hash: bytes
    user_name: str
    password_hash: str
    """Of the password that was proven: it may have changed meanwhile."""
    idle: int
    """µs without a request, after which a session ends."""
    longest: int
    """µs after which it ends in any case."""

    def write(self, connection: Connection, at: int) -> None:
        """Raises `NotThereError` for a user that has changed meanwhile."""
        connection.execute(
            "DELETE FROM session WHERE seen_at <= ? OR created_at <= ?",
            (at - self.idle, at - self.longest),
        )
        connection.execute(
            "DELETE FROM session WHERE hash IN (SELECT hash FROM session WHERE user_name = ?"
            " ORDER BY seen_at DESC LIMIT -1 OFFSET ?)",
            (self.user_name, MOST - 1),
        )
        made = connection.execute(
            "INSERT INTO session SELECT ?, name, ?, ? FROM user"
            " WHERE name = ? AND password_hash = ? RETURNING 1",
            (self.hash, at, at, self.user_name, self.password_hash),
        ).fetchall()
        if not made:
            raise NotThereError("the user has changed meanwhile: log in again")

    def deed(self, result: None) -> Deed:  # noqa: ARG002
        """Who."""
        return Deed("log in", self.user_name)


class SeeSession(msgspec.Struct, frozen=True):
    """Notes that a session is in use."""

    hash: bytes

    def write(self, connection: Connection, at: int) -> None:
        """Nothing where it has ended."""
        connection.execute("UPDATE session SET seen_at = ? WHERE hash = ?", (at, self.hash))

    def deed(self, result: None) -> None:
        """Not worth an entry."""


class EndSession(msgspec.Struct, frozen=True):
    """Lets the browser in no more."""

    hash: bytes

    def write(self, connection: Connection, at: int) -> str:  # noqa: ARG002
        """Whose it was; raises `NotThereError`."""
        row = connection.execute(
            "DELETE FROM session WHERE hash = ? RETURNING user_name", (self.hash,)
        ).fetchall()
        if not row:
            raise NotThereError("there is no such session")
        return str(row[0][0])

    def deed(self, result: str) -> Deed:
        """Who."""
        return Deed("log out", result)
