"""One function per question.

Owns every SELECT that an interface needs. Each takes a reading connection and returns typed
values; times are µs since the epoch. Knows neither HTTP nor who asks: whoever may see one client
only gets that client's id into the `Filter`, and with it into the SQL.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias, TypeVar

import msgspec

from pda.maillog.events import State, address_key
from pda.store import terms
from pda.store.database import Connection, Value


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which attempts, outcomes or messages; None stands for all."""

    client: str | None = None
    recipient: str | None = None
    queue_id: str | None = None
    msg_id: str | None = None
    """The original's `msgId`, or a Message-ID as logged."""
    since: int | None = None
    until: int | None = None
    """Both inclusive."""
    limit: int | None = None


class AttemptRow(msgspec.Struct, frozen=True):
    """A delivery attempt with what is known of its message."""

    at: int
    host: str
    queue_id: str
    client_id: str
    message_id: str
    msg_id: str
    sender: str | None
    recipient: str
    orig_to: str | None
    relay: str
    delay: float
    dsn: str
    status: str
    reason: str
    bounce_type: str | None
    category: str | None
    rule: str | None
    deferred_before: bool
    """Whether an earlier attempt at this recipient did not succeed."""


class OutcomeRow(msgspec.Struct, frozen=True):
    """The current state of one recipient of a message."""

    first_at: int
    last_at: int
    host: str
    queue_id: str
    origin: str
    """`HOST/QUEUE_ID` of the entry that the message came in by, where that is another one."""
    client_id: str
    message_id: str
    msg_id: str
    sender: str | None
    recipient: str
    state: str
    attempts: int
    bounce_type: str | None
    category: str | None
    rule: str | None
    change: int


class MessageRow(msgspec.Struct, frozen=True):
    """A queue entry and how many of its recipients are in which state."""

    born: int
    host: str
    queue_id: str
    client_id: str
    claimed_id: str
    message_id: str
    msg_id: str
    sender: str | None
    size: int
    nrcpt: int
    expired_at: int
    removed_at: int
    recipients: int
    attempts: int
    delivered: int
    bounced: int


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


class Totals(msgspec.Struct, frozen=True):
    """How much is stored."""

    entries: int
    attempts: int
    outcomes: int
    with_header: int
    """Entries whose client was named by a logged header."""
    with_message_id: int


Kind: TypeAlias = Literal["all", "not plainly sent", "undetermined"]
"""Which attempts: those sent at the first try may be left out."""

_T = TypeVar("_T")
_Where: TypeAlias = tuple[str, list[Value]]
_Make: TypeAlias = Callable[..., _T]

# A failure has its reply in `reason`.
_DEFERRED_BEFORE = """
    (a.status = 'sent' AND EXISTS (SELECT 1 FROM attempt d WHERE d.entry_id = a.entry_id
        AND d.recipient = a.recipient AND d.reason_id IS NOT NULL AND d.at <= a.at))
"""
_KINDS: dict[Kind, str] = {
    "all": "",
    "not plainly sent": f"(a.status <> 'sent' OR {_DEFERRED_BEFORE})",
    "undetermined": "'undetermined' IN (v.bounce_type, v.category)",
}
_ATTEMPTS = f"""
SELECT a.at, h.name, e.queue_id, c.name, e.message_id, coalesce(e.msg_id, ''), e.sender,
    a.recipient, a.orig_to, a.relay, a.delay, a.dsn, a.status, a.reason, v.bounce_type,
    v.category, v.rule,
    {_DEFERRED_BEFORE}
FROM attempt_told a JOIN entry e ON e.id = a.entry_id JOIN host h ON h.id = e.host_id
    JOIN client c ON c.id = e.client_id LEFT JOIN verdict v ON v.id = a.verdict_id
"""
_OUTCOMES = """
SELECT o.first_at, o.last_at, h.name, e.queue_id, coalesce(e.origin, ''), c.name, e.message_id,
    coalesce(e.msg_id, ''), e.sender, coalesce(o.address, o.recipient), o.state, o.attempts,
    v.bounce_type, v.category, v.rule, o.change
FROM outcome o JOIN entry e ON e.id = o.entry_id JOIN host h ON h.id = e.host_id
    JOIN client c ON c.id = e.client_id LEFT JOIN verdict v ON v.id = o.verdict_id
"""
_DELIVERED = f"{State.DELIVERED:d}, {State.FINALLY_OK:d}"
_BOUNCED = ", ".join(
    f"{state:d}" for state in (State.SOFT_BOUNCE, State.HARD_BOUNCE, State.UNDETERMINED_BOUNCE)
)
_MESSAGES = f"""
SELECT e.born, h.name, e.queue_id, c.name, coalesce(e.claimed_id, ''), e.message_id,
    coalesce(e.msg_id, ''), e.sender, e.size, e.nrcpt, e.expired_at, e.removed_at,
    count(o.recipient), coalesce(sum(o.attempts), 0),
    coalesce(sum(o.state IN ({_DELIVERED})), 0), coalesce(sum(o.state IN ({_BOUNCED})), 0)
FROM entry e JOIN host h ON h.id = e.host_id JOIN client c ON c.id = e.client_id
    LEFT JOIN outcome o ON o.entry_id = e.id
"""


# By the number of the change: so only as many outcomes are looked at as are shown.
_FAILURES = """
SELECT o.last_at, h.name, e.queue_id, c.name, a.recipient, o.state, o.attempts,
    v.bounce_type, v.category, a.status, a.relay, a.reason
FROM outcome o JOIN entry e ON e.id = o.entry_id JOIN host h ON h.id = e.host_id
    JOIN client c ON c.id = e.client_id JOIN verdict v ON v.id = o.verdict_id
    JOIN attempt_told a ON a.entry_id = o.entry_id AND (a.digest, a.copy) = (
        SELECT l.digest, l.copy FROM attempt l WHERE l.entry_id = o.entry_id
            AND l.recipient = coalesce(o.address, o.recipient) AND l.reason_id IS NOT NULL
        ORDER BY l.at DESC LIMIT 1)
WHERE c.name = coalesce(?, c.name) ORDER BY o.change DESC LIMIT ?
"""


def attempts(connection: Connection, wanted: Filter, kind: Kind = "all") -> list[AttemptRow]:
    """Delivery attempts, oldest first."""
    where, values = _where(wanted, "a.at", "a.recipient = ?")
    where = _and(where, _KINDS[kind])
    order = " ORDER BY a.at, e.queue_id, e.message_id, a.recipient"
    rows = connection.execute(_ATTEMPTS + where + order + _limit(wanted), values).fetchall()
    made: _Make[AttemptRow] = AttemptRow
    return [made(*row[:-1], bool(row[-1])) for row in rows]


def outcomes(
    connection: Connection, wanted: Filter, state: State | None = None
) -> list[OutcomeRow]:
    """Outcomes of recipients, by when they came into their state, oldest first.

    An entry whose message goes on as another one has no outcome of its own, unless asked for.
    """
    where, values = _where(wanted, "o.last_at", "o.recipient = ?")
    of_state = f"o.state <> {State.HANDED_ON:d}" if state is None else f"o.state = {state:d}"
    where = _and(where, of_state)
    order = " ORDER BY o.last_at, e.queue_id, e.message_id, o.recipient"
    rows = connection.execute(_OUTCOMES + where + order + _limit(wanted), values).fetchall()
    return [_outcome(row) for row in rows]


def messages(connection: Connection, wanted: Filter) -> list[MessageRow]:
    """Queue entries, oldest first."""
    where, values = _where(wanted, "e.born", "o.recipient = ?")
    order = " GROUP BY e.id ORDER BY e.born, e.queue_id"
    rows = connection.execute(_MESSAGES + where + order + _limit(wanted), values).fetchall()
    return [_made(MessageRow, row) for row in rows]


def clients(connection: Connection) -> list[str]:
    """Ids of the clients that any message has; not the empty one."""
    rows = connection.execute(
        "SELECT name FROM client WHERE name <> ''"
        " AND EXISTS (SELECT 1 FROM entry WHERE client_id = client.id) ORDER BY name"
    ).fetchall()
    return [str(name) for (name,) in rows]


def recipients(connection: Connection, client: str | None = None) -> dict[str, list[str]]:
    """The distinct recipients of each client, or of one."""
    rows = connection.execute(
        "SELECT DISTINCT c.name, coalesce(o.address, o.recipient) FROM outcome o"
        " JOIN entry e ON e.id = o.entry_id JOIN client c ON c.id = e.client_id"
        " WHERE c.name <> '' AND c.name = coalesce(?, c.name) AND o.recipient <> '' ORDER BY 1, 2",
        (client,),
    ).fetchall()
    known = clients(connection) if client is None else [client]
    found: dict[str, list[str]] = {name: [] for name in known}
    for name, recipient in rows:
        found.setdefault(str(name), []).append(str(recipient))
    return found


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
    return _made(Totals, row)


def states(connection: Connection, client: str | None = None) -> list[StateCount]:
    """How many recipients are in which state, by client; the empty client too."""
    rows = connection.execute(
        "SELECT c.name, o.state, count(*) FROM outcome o JOIN entry e ON e.id = o.entry_id"
        " JOIN client c ON c.id = e.client_id WHERE c.name = coalesce(?, c.name)"
        " GROUP BY e.client_id, o.state ORDER BY 1, 2",
        (client,),
    ).fetchall()
    make: _Make[StateCount] = StateCount
    return [make(name, _state_name(state), number) for name, state, number in rows]


def latest_failures(
    connection: Connection, client: str | None = None, limit: int = 10
) -> list[FailureRow]:
    """The failures that were stored last, latest first."""
    rows = connection.execute(_FAILURES, (client, limit)).fetchall()
    make: _Make[FailureRow] = FailureRow
    return [make(*row[:5], _state_name(row[5]), *row[6:]) for row in rows]


_FOUND = f"e.id IN ({terms.FIND})"
_OF_MESSAGE = f"{_FOUND} AND ? IN (e.message_id, e.msg_id)"


def _own(client: str | None) -> tuple[str, str, list[Value]]:
    """Conditions, for entries and for what belongs to them, that keep to one client if any."""
    if client is None:
        return "1", "", []
    own = "client_id = (SELECT id FROM client WHERE name = ?1)"
    return own, f"WHERE entry_id IN (SELECT id FROM entry WHERE {own})", [client]


def _where(wanted: Filter, at: str, of_recipient: str) -> _Where:
    """Conditions; attempts have a recipient as logged, outcomes as compared."""
    used: list[tuple[str, list[Value]]] = [
        (sql, [value])
        for sql, value in (
            ("c.name = ?", wanted.client),
            ("e.queue_id = ?", wanted.queue_id),
            (f"{at} >= ?", wanted.since),
            (f"{at} <= ?", wanted.until),
        )
        if value is not None
    ]
    if wanted.recipient is not None:
        key = address_key(wanted.recipient)
        exact = wanted.recipient if of_recipient.startswith("a.") else key
        found: list[Value] = [terms.term("recipient", key), exact]
        used.append((f"{_FOUND} AND {of_recipient}", found))
    if wanted.msg_id is not None:
        used.append((_OF_MESSAGE, [terms.term("message-id", wanted.msg_id), wanted.msg_id]))
    if not used:
        return "", []
    where = "WHERE " + " AND ".join(sql for sql, _ in used)
    return where, [value for _, values in used for value in values]


def _and(where: str, condition: str) -> str:
    if not condition:
        return where
    return f"{where} AND {condition}" if where else f"WHERE {condition}"


def _limit(wanted: Filter) -> str:
    return "" if wanted.limit is None else f" LIMIT {wanted.limit:d}"


def _outcome(row: tuple[Value, ...]) -> OutcomeRow:
    made: _Make[OutcomeRow] = OutcomeRow
    return made(*row[:10], _state_name(row[10]), *row[11:])


def _state_name(number: Value) -> str:
    assert isinstance(number, int)
    return State(number).name.lower().replace("_", "-")


def _made(kind: _Make[_T], row: tuple[Value, ...]) -> _T:
    """A row as a value: its columns stand in the order of the fields."""
    return kind(*row)
