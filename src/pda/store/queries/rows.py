"""What a row of an answer has, and how it comes out of the database.

Owns the rows that lists and pages consist of: their columns stand in the order of their fields.
Times are µs since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from pda.maillog.events import State
from pda.store import delays, replies
from pda.store.database import Row, Value
from pda.store.queries.filters import Kind


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
    id: int = 0
    """Of the message's queue entry."""
    provider: str = ""
    delays: str = ""
    """Seconds before the queue manager, in it, for connection set-up, for transmission."""


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
    id: int = 0
    """Of the message's queue entry."""


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
    id: int = 0
    origin: str = ""
    """`HOST/QUEUE_ID` of the entry that the message came in by, where that is another one."""


AnyRow = TypeVar("AnyRow", bound=msgspec.Struct)
Columns: TypeAlias = list[Sequence[Any]]
"""Of each field the values in all rows; nothing at all where there is no row."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Listing(Generic[AnyRow]):
    """How rows of one kind are read."""

    kind: Kind
    columns: str
    tables: str
    """What else they need beside their entry."""
    keys: tuple[str, ...]
    """What tells the rows of one entry apart, in their order."""
    types: tuple[type, ...]
    """Of the keys."""
    row: Callable[..., AnyRow]
    """Its fields stand in the order of the columns."""
    turned: Sequence[tuple[int, Callable[[Value], object]]] = ()
    """Columns whose values are other ones in SQL, and what makes ours of them."""

    def values(self, rows: Sequence[Row], skipped: int = 0) -> Columns:
        """The values of each field, of rows with some columns before theirs.

        Column by column: no function is called for each of many rows.
        """
        found: Columns = []
        found.extend(zip(*rows, strict=True))
        del found[:skipped]
        for place, turn in self.turned if found else ():
            found[place] = list(map(turn, found[place]))
        return found

    def made(self, rows: Sequence[Row], skipped: int = 0) -> list[AnyRow]:
        """Rows of an answer."""
        return list(map(self.row, *self.values(rows, skipped))) if rows else []

    def select(self, more: str = "") -> str:
        """The statement, up to its conditions; columns may come before those of the row."""
        return f"SELECT {more}{self.columns} FROM entry e {_NAMES} {self.tables}"


# A failure has its reply in `reason`.
DEFERRED_BEFORE = """
    (m.status = 'sent' AND EXISTS (SELECT 1 FROM attempt d WHERE d.entry_id = a.entry_id
        AND d.recipient = a.recipient AND d.reason_id IS NOT NULL AND d.at <= a.at))
"""
_ATTEMPT_COLUMNS = f"""
a.at, h.name, e.queue_id, c.name, e.message_id, coalesce(e.msg_id, ''), e.sender, a.recipient,
a.orig_to, r.name, {delays.SECONDS}, m.dsn, m.status, coalesce(a.reply, t.name, ''), v.bounce_type,
v.category, v.rule, {DEFERRED_BEFORE}, e.id, r.provider, a.delays
"""
_ATTEMPT_TABLES = """
CROSS JOIN attempt a ON a.entry_id = e.id CROSS JOIN manner m ON m.id = a.manner_id
CROSS JOIN relay r ON r.id = a.relay_id LEFT JOIN reason t ON t.id = a.reason_id
LEFT JOIN verdict v ON v.id = m.verdict_id
"""
_OUTCOME_COLUMNS = """
o.first_at, o.last_at, h.name, e.queue_id, coalesce(e.origin, ''), c.name, e.message_id,
coalesce(e.msg_id, ''), e.sender, coalesce(o.address, o.recipient), o.state, o.attempts,
v.bounce_type, v.category, v.rule, o.change, e.id
"""
_OUTCOME_TABLES = """
CROSS JOIN outcome o ON o.entry_id = e.id LEFT JOIN verdict v ON v.id = o.verdict_id
"""
_DELIVERED = f"{State.DELIVERED:d}, {State.FINALLY_OK:d}"
_BOUNCED = ", ".join(
    f"{state:d}" for state in (State.SOFT_BOUNCE, State.HARD_BOUNCE, State.UNDETERMINED_BOUNCE)
)
_MESSAGE_COLUMNS = f"""
e.born, h.name, e.queue_id, c.name, coalesce(e.claimed_id, ''), e.message_id,
coalesce(e.msg_id, ''), e.sender, e.size, e.nrcpt, e.expired_at, e.removed_at,
(SELECT count(*) FROM outcome n WHERE n.entry_id = e.id),
(SELECT coalesce(sum(n.attempts), 0) FROM outcome n WHERE n.entry_id = e.id),
(SELECT count(*) FROM outcome n WHERE n.entry_id = e.id AND n.state IN ({_DELIVERED})),
(SELECT count(*) FROM outcome n WHERE n.entry_id = e.id AND n.state IN ({_BOUNCED})),
e.id, coalesce(e.origin, '')
"""
_NAMES = "CROSS JOIN host h ON h.id = e.host_id CROSS JOIN client c ON c.id = e.client_id"
"""What every row tells of its entry. CROSS JOIN keeps the order: from the entry to the rest."""


def state_name(number: Value) -> str:
    """What interfaces call a state."""
    assert isinstance(number, int)
    return State(number).name.lower().replace("_", "-")


def made(kind: Callable[..., _T], row: Row) -> _T:
    """A row as a value: its columns stand in the order of the fields."""
    return kind(*row)


ATTEMPTS: Listing[AttemptRow] = Listing(
    "attempt",
    _ATTEMPT_COLUMNS,
    _ATTEMPT_TABLES,
    ("a.at", "a.digest", "a.copy"),
    (int, int, int),
    AttemptRow,
    ((13, replies.text_of), (17, bool), (20, delays.text_of)),
)
OUTCOMES: Listing[OutcomeRow] = Listing(
    "outcome",
    _OUTCOME_COLUMNS,
    _OUTCOME_TABLES,
    ("o.recipient",),
    (str,),
    OutcomeRow,
    ((10, state_name),),
)
MESSAGES: Listing[MessageRow] = Listing("message", _MESSAGE_COLUMNS, "", (), (), MessageRow)
