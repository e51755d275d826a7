"""Who wants to be told of what changes: addresses, secrets, and how far each was told.

Owns the table. A webhook is a cursor into the feed; what it is told next stands in the outbox,
together with the cursor behind it. The secret stands as it is needed: the database is encrypted.
Times are µs since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from pda.store import outbox
from pda.store.audit import Deed
from pda.store.database import Connection, Value
from pda.store.edits import NotThereError

TABLE = """
CREATE TABLE webhook (
    id INTEGER PRIMARY KEY AUTOINCREMENT, client TEXT NOT NULL, url TEXT NOT NULL,
    secret TEXT NOT NULL, final INTEGER NOT NULL, cursor INTEGER NOT NULL, who TEXT NOT NULL,
    created_at INTEGER NOT NULL, disabled_at INTEGER NOT NULL, disabled_why TEXT NOT NULL
)
"""


class Webhook(msgspec.Struct, frozen=True):
    """Somebody who wants to be told."""

    id: int
    client: str
    """Whose outcomes; empty: of all clients."""
    url: str
    secret: str
    final: bool
    """Only of what nothing more is expected of."""
    cursor: int
    """The change up to which it was told, or is being told."""
    who: str
    """Added it."""
    created_at: int
    disabled_at: int
    """0: it is told."""
    disabled_why: str
    waiting_since: int
    """When what it is told now was ready; 0: it knows all."""
    tries: int
    last_error: str

    @property
    def channel(self) -> str:
        """Its items in the outbox."""
        return channel(self.id)


def channel(number: int) -> str:
    """The items of a webhook in the outbox."""
    return f"webhook {number}"


_WEBHOOKS = """
SELECT w.id, w.client, w.url, w.secret, w.final, w.cursor, w.who, w.created_at, w.disabled_at,
    w.disabled_why, coalesce(o.created_at, 0), coalesce(o.tries, 0), coalesce(o.last_error, '')
FROM webhook w LEFT JOIN outbox o ON o.id = (
    SELECT min(id) FROM outbox WHERE channel = 'webhook ' || w.id)
"""


def webhooks(connection: Connection, client: str | None = None) -> list[Webhook]:
    """All of them, or those of one client."""
    return _found(connection, "WHERE w.client = coalesce(?, w.client) ORDER BY w.id", client)


def idle(connection: Connection) -> list[Webhook]:
    """Those that have nothing to be told yet."""
    return _found(connection, "WHERE w.disabled_at = 0 AND o.id IS NULL ORDER BY w.id")


def webhook(connection: Connection, number: int, client: str | None = None) -> Webhook | None:
    """One, where it is that client's."""
    where = "WHERE w.id = ? AND w.client = coalesce(?, w.client)"
    found = _found(connection, where, number, client)
    return found[0] if found else None


def _found(connection: Connection, where: str, *values: Value) -> list[Webhook]:
    rows = connection.execute(f"{_WEBHOOKS} {where}", values).fetchall()
    make: Callable[..., Webhook] = Webhook
    return [make(*row[:4], bool(row[4]), *row[5:]) for row in rows]


class AddWebhook(msgspec.Struct, frozen=True):
    """Adds one, which is told of what changes from now on."""

    client: str
    url: str
    secret: str
    final: bool
    who: str

    def write(self, connection: Connection, at: int) -> int:
        """Its number."""
        rows = connection.execute(
            "INSERT INTO webhook (client, url, secret, final, cursor, who, created_at, disabled_at,"
            " disabled_why) VALUES (?, ?, ?, ?,"
            " coalesce((SELECT value FROM meta WHERE name = 'change'), 0), ?, ?, 0, '')"
            " RETURNING id",
            (self.client, self.url, self.secret, self.final, self.who, at),
        ).fetchall()
        return int(str(rows[0][0]))

    def deed(self, result: int) -> Deed:
        """Which one, and of whose outcomes."""
        return Deed("add webhook", str(result), _whose(self.client))


class RemoveWebhook(msgspec.Struct, frozen=True):
    """Removes one, with what it was to be told."""

    id: int
    client: str | None
    """It has to be this client's."""

    def write(self, connection: Connection, at: int) -> None:  # noqa: ARG002
        """Raises `NotThereError`."""
        _one(connection, self.id, self.client)
        connection.execute("DELETE FROM webhook WHERE id = ?", (self.id,))
        outbox.drop(connection, channel(self.id))

    def deed(self, result: None) -> Deed:  # noqa: ARG002
        """Which one."""
        return Deed("remove webhook", str(self.id))


class EnableWebhook(msgspec.Struct, frozen=True):
    """Tells it again, from where it stopped."""

    id: int
    client: str | None

    def write(self, connection: Connection, at: int) -> None:
        """Raises `NotThereError`."""
        _one(connection, self.id, self.client)
        sql = "UPDATE webhook SET disabled_at = 0, disabled_why = '' WHERE id = ?"
        connection.execute(sql, (self.id,))
        outbox.retry(connection, channel(self.id), at)

    def deed(self, result: None) -> Deed:  # noqa: ARG002
        """Which one."""
        return Deed("enable webhook", str(self.id))


class DisableWebhook(msgspec.Struct, frozen=True):
    """Tells it no more; what it was to be told stays."""

    id: int
    why: str

    def write(self, connection: Connection, at: int) -> None:
        """Also where it has gone meanwhile."""
        sql = "UPDATE webhook SET disabled_at = ?, disabled_why = ? WHERE id = ?"
        connection.execute(sql, (at, self.why, self.id))

    def deed(self, result: None) -> Deed:  # noqa: ARG002
        """Which one, and why."""
        return Deed("disable webhook", str(self.id), self.why)


class TellWebhook(msgspec.Struct, frozen=True):
    """Puts what it is to be told into the outbox, and notes how far that goes."""

    id: int
    cursor: int
    body: bytes

    def write(self, connection: Connection, at: int) -> None:
        """Unless it has gone meanwhile."""
        sql = "UPDATE webhook SET cursor = ? WHERE id = ? RETURNING 1"
        if connection.execute(sql, (self.cursor, self.id)).fetchall():
            outbox.put(connection, channel(self.id), self.body, at)

    def deed(self, result: None) -> None:
        """Nobody's."""


def _one(connection: Connection, number: int, client: str | None) -> None:
    if webhook(connection, number, client) is None:
        raise NotThereError(f"there is no webhook {number}")


def _whose(client: str) -> str:
    return f"client {client}" if client else "all clients"
