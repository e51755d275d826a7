"""What is to be sent to others, until they have it.

Owns the table: each item goes to a channel, and of a channel one after the other, in their order.
Knows neither what an item says nor how it is sent. Times are µs since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from pda.store.database import Connection

NEVER = 2**62
"""Due when somebody says so."""
TABLES = (
    """
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, channel TEXT NOT NULL, body BLOB NOT NULL,
    created_at INTEGER NOT NULL, due_at INTEGER NOT NULL, tries INTEGER NOT NULL,
    last_error TEXT NOT NULL
)
""",
    "CREATE INDEX outbox_channel ON outbox (channel)",
)


class Item(msgspec.Struct, frozen=True):
    """Something to be sent."""

    id: int
    channel: str
    """Its kind, and after a blank which one: `webhook 3`."""
    body: bytes
    created_at: int
    due_at: int
    """Not to be tried before."""
    tries: int
    last_error: str


def heads(connection: Connection) -> list[Item]:
    """The first item of each channel, by when it is due."""
    rows = connection.execute(
        "SELECT id, channel, body, created_at, due_at, tries, last_error FROM outbox"
        " WHERE id IN (SELECT min(id) FROM outbox GROUP BY channel) ORDER BY due_at"
    ).fetchall()
    make: Callable[..., Item] = Item
    return [make(*row) for row in rows]


def put(connection: Connection, channel: str, body: bytes, at: int) -> None:
    """Adds an item, due at once, in the transaction that is open."""
    connection.execute(
        "INSERT INTO outbox (channel, body, created_at, due_at, tries, last_error)"
        " VALUES (?, ?, ?, ?, 0, '')",
        (channel, bytearray(body), at, at),
    )


def retry(connection: Connection, channel: str, at: int) -> None:
    """What was given up is due again, as if it were new."""
    connection.execute(
        "UPDATE outbox SET due_at = ?, created_at = ?, tries = 0 WHERE channel = ?",
        (at, at, channel),
    )


def drop(connection: Connection, channel: str) -> None:
    """Forgets all of a channel."""
    connection.execute("DELETE FROM outbox WHERE channel = ?", (channel,))


class ItemSent(msgspec.Struct, frozen=True):
    """It has arrived."""

    id: int

    def write(self, connection: Connection, at: int) -> None:  # noqa: ARG002
        """Removes it."""
        connection.execute("DELETE FROM outbox WHERE id = ?", (self.id,))

    def deed(self, result: None) -> None:
        """Nobody's."""


class ItemFailed(msgspec.Struct, frozen=True):
    """It has not arrived, and is to be tried again."""

    id: int
    error: str
    due_at: int

    def write(self, connection: Connection, at: int) -> None:  # noqa: ARG002
        """Notes why."""
        connection.execute(
            "UPDATE outbox SET tries = tries + 1, last_error = ?, due_at = ? WHERE id = ?",
            (self.error, self.due_at, self.id),
        )

    def deed(self, result: None) -> None:
        """Nobody's."""
