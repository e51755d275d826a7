"""How much is stored, of whom, and what went wrong last.

Owns the questions of a first look. All of them are answered at once, however much
is stored.
"""

from __future__ import annotations

import msgspec

from pda.store.database import Connection
from pda.store.names import number_of
from pda.store.queries.rows import made, state_name
from pda.store.tally import BY_DAY, GONE, HOUR, STATES


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


_OWN = "AND (?2 IS NULL OR t.client_id = (SELECT id FROM client WHERE name = ?2))"
_WITH_HEADER = (
    "(client_id IS NOT (SELECT id FROM client WHERE name = '')) * (entries - with_msg_id)"
)
_RESULTS = f"({' + '.join(STATES)})"
_FIRST = """
SELECT min(born) FROM (
    SELECT (SELECT min(e.born) FROM entry e WHERE e.client_id = c.id) AS born FROM client c
    WHERE ?1 IS NULL OR c.name = ?1)
"""
# Among the messages of the first hour.
_OLDEST = """
SELECT min(o.first_at) FROM client c CROSS JOIN entry e ON e.client_id = c.id AND e.born < ?1
    CROSS JOIN outcome o ON o.entry_id = e.id
WHERE ?2 IS NULL OR c.name = ?2
"""
# By the number of the change: so only as many outcomes are looked at as are shown.
_FAILURES = """
SELECT o.last_at, h.name, e.queue_id, c.name, a.recipient, o.state, o.attempts,
    v.bounce_type, v.category, a.status, a.relay, a.reason, e.id
FROM changed n CROSS JOIN outcome o ON o.entry_id = n.entry_id AND o.change = n.change
    JOIN entry e ON e.id = o.entry_id JOIN host h ON h.id = e.host_id
    JOIN client c ON c.id = e.client_id JOIN verdict v ON v.id = o.verdict_id
    JOIN attempt_told a ON a.entry_id = o.entry_id AND (a.digest, a.copy) = (
        SELECT l.digest, l.copy FROM attempt l WHERE l.entry_id = o.entry_id
            AND l.recipient = coalesce(o.address, o.recipient) AND l.reason_id IS NOT NULL
        ORDER BY l.at DESC LIMIT 1)
WHERE c.name = coalesce(?, c.name) ORDER BY n.change DESC LIMIT ?
"""


def clients(connection: Connection) -> list[str]:
    """Ids of the clients that any message has; not the empty one."""
    rows = connection.execute(
        "SELECT name FROM client WHERE name <> '' AND id IN"
        " (SELECT client_id FROM counted WHERE piece = ? AND entries > 0) ORDER BY name",
        (BY_DAY,),
    ).fetchall()
    return [str(name) for (name,) in rows]


def hosts(connection: Connection) -> list[str]:
    """Names of the mail hosts that were heard of."""
    rows = connection.execute("SELECT name FROM host ORDER BY name").fetchall()
    return [str(name) for (name,) in rows]


def oldest(connection: Connection, client: str | None = None) -> int | None:
    """When the oldest attempt was made, of all or of one client's."""
    (born,) = connection.execute(_FIRST, (client,)).fetchone() or (None,)
    if born is None:
        return None
    (first,) = connection.execute(_OLDEST, (number_of(born) + HOUR, client)).fetchone() or (None,)
    return number_of(born if first is None else first)


def totals(connection: Connection, client: str | None = None) -> Totals:
    """How much is stored, of all or of one client's."""
    row = connection.execute(
        f"SELECT {_there('entries')}, {_there('attempts + hand_offs')}, {_there(_RESULTS)},"
        f" {_there(_WITH_HEADER)}, {_there('with_message_id')}"
        f" FROM counted t WHERE piece IN (?1, {GONE:d}) {_OWN}",
        (BY_DAY, client),
    ).fetchone()
    assert row is not None
    return made(Totals, row)


def _there(counter: str) -> str:
    """What is counted of rows that are there still."""
    return f"coalesce(sum(iif(piece = {GONE:d}, -1, 1) * ({counter})), 0)"


def states(connection: Connection, client: str | None = None) -> list[StateCount]:
    """How many recipients are in which state, by client; the empty client too."""
    sums = ", ".join(map(_there, STATES))
    rows = connection.execute(
        f"SELECT c.name, {sums} FROM counted t JOIN client c ON c.id = t.client_id"
        f" WHERE piece IN (?1, {GONE:d}) {_OWN} GROUP BY c.name ORDER BY c.name",
        (BY_DAY, client),
    ).fetchall()
    return [
        StateCount(str(name), state.replace("_", "-"), number_of(number))
        for name, *numbers in rows
        for state, number in zip(STATES, numbers, strict=True)
        if number
    ]


def latest_failures(
    connection: Connection, client: str | None = None, limit: int = 10
) -> list[FailureRow]:
    """The failures that were stored last, latest first."""
    rows = connection.execute(_FAILURES, (client, limit)).fetchall()
    return [made(FailureRow, (*row[:5], state_name(row[5]), *row[6:])) for row in rows]
