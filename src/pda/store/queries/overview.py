"""How much is stored, of whom, and what went wrong last.

Owns the questions of a first look. All of them are answered at once, however much
is stored.
"""

from __future__ import annotations

import msgspec

from pda.store.database import Connection, Value
from pda.store.queries.rows import made, state_name


class StateCount(msgspec.Struct, frozen=True):
    """How many recipients of a client's messages are in a state."""

    client_id: str
    state: str
    recipients: int


class FailureRow(msgspec.Struct, frozen=True):
    """A recipient that was not delivered to, with the last reply."""

    last_at: int
    host: str
    queue_id: str
    client_id: str
    recipient: str
    state: str
    attempts: int
    bounce_type: str
    category: str
    status: str
    relay: str
    reason: str
    id: int = 0
    """Of the message's queue entry."""


class Totals(msgspec.Struct, frozen=True):
    """How much is stored."""

    entries: int
    attempts: int
    outcomes: int
    with_header: int
    """Entries whose client was named by a logged header."""
    with_message_id: int


# By the number of the change: so only as many outcomes are looked at as are shown.
_FAILURES = """
SELECT o.last_at, h.name, e.queue_id, c.name, a.recipient, o.state, o.attempts,
    v.bounce_type, v.category, a.status, a.relay, a.reason, e.id
FROM outcome o JOIN entry e ON e.id = o.entry_id JOIN host h ON h.id = e.host_id
    JOIN client c ON c.id = e.client_id JOIN verdict v ON v.id = o.verdict_id
    JOIN attempt_told a ON a.entry_id = o.entry_id AND (a.digest, a.copy) = (
        SELECT l.digest, l.copy FROM attempt l WHERE l.entry_id = o.entry_id
            AND l.recipient = coalesce(o.address, o.recipient) AND l.reason_id IS NOT NULL
        ORDER BY l.at DESC LIMIT 1)
WHERE c.name = coalesce(?, c.name) ORDER BY o.change DESC LIMIT ?
"""


def clients(connection: Connection) -> list[str]:
    """Ids of the clients that any message has; not the empty one."""
    rows = connection.execute(
        "SELECT name FROM client WHERE name <> ''"
        " AND EXISTS (SELECT 1 FROM entry WHERE client_id = client.id) ORDER BY name"
    ).fetchall()
    return [str(name) for (name,) in rows]


def hosts(connection: Connection) -> list[str]:
    """Names of the mail hosts that were heard of."""
    rows = connection.execute("SELECT name FROM host ORDER BY name").fetchall()
    return [str(name) for (name,) in rows]


def oldest(connection: Connection, client: str | None = None) -> int | None:
    """When the oldest attempt was made, of all or of one client's."""
    _, of_entries, values = _own(client)
    row = connection.execute(f"SELECT min(first_at) FROM outcome {of_entries}", values).fetchone()
    return row[0] if row and isinstance(row[0], int) else None


def totals(connection: Connection, client: str | None = None) -> Totals:
    """How much is stored, of all or of one client's."""
    own, of_entries, values = _own(client)
    row = connection.execute(
        f"SELECT (SELECT count(*) FROM entry WHERE {own}),"
        f" (SELECT count(*) FROM attempt {of_entries}),"
        f" (SELECT count(*) FROM outcome {of_entries}),"
        "  (SELECT count(*) FROM entry WHERE msg_id IS NULL AND client_id IN"
        f"   (SELECT id FROM client WHERE name <> '') AND {own}),"
        f" (SELECT count(*) FROM entry WHERE message_id <> '' AND {own})",
        values,
    ).fetchone()
    assert row is not None
    return made(Totals, row)


def states(connection: Connection, client: str | None = None) -> list[StateCount]:
    """How many recipients are in which state, by client; the empty client too."""
    rows = connection.execute(
        "SELECT c.name, o.state, count(*) FROM outcome o JOIN entry e ON e.id = o.entry_id"
        " JOIN client c ON c.id = e.client_id WHERE c.name = coalesce(?, c.name)"
        " GROUP BY e.client_id, o.state ORDER BY 1, 2",
        (client,),
    ).fetchall()
    return [made(StateCount, (name, state_name(state), number)) for name, state, number in rows]


def latest_failures(
    connection: Connection, client: str | None = None, limit: int = 10
) -> list[FailureRow]:
    """The failures that were stored last, latest first."""
    rows = connection.execute(_FAILURES, (client, limit)).fetchall()
    return [made(FailureRow, (*row[:5], state_name(row[5]), *row[6:])) for row in rows]


def _own(client: str | None) -> tuple[str, str, list[Value]]:
    """Conditions, for entries and for what belongs to them, that keep to one client if any."""
    if client is None:
        return "1", "", []
    own = "client_id = (SELECT id FROM client WHERE name = ?1)"
    return own, f"WHERE entry_id IN (SELECT id FROM entry WHERE {own})", [client]
