"""What a row of an answer has, and how it comes out of the database.

Owns the rows that lists and pages consist of: their columns stand in the order of their fields.
Times are µs since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec

from pda.maillog.events import State
from pda.store import delays, replies
from pda.store.database import Connection, Row, Value
from pda.store.queries.deferrals import deferred_before
from pda.store.queries.filters import Kind
from pda.store.queries.keyed import (
    OF_ATTEMPT,
    OF_ENTRY,
    OF_OUTCOME,
    REPLY_OR_KEY,
    Columns,
    Key,
    Texts,
    needed,
)


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
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Listing(Generic[AnyRow]):
    """How rows of one kind are read."""

    kind: Kind
    columns: Sequence[str]
    tables: str
    """Where they are, beside their entry."""
    joins: Mapping[str, str]
    """The tables that their texts are in, by their short names."""
    texts: Mapping[str, Key]
    """Columns that many rows look up, see `keyed`."""
    keys: tuple[str, ...]
    """What tells the rows of one entry apart, in their order."""
    types: tuple[type, ...]
    """Of the keys."""
    row: Callable[..., AnyRow]
    """Its fields stand in the order of the columns."""
    turned: Sequence[tuple[int, Callable[[Any], object]]] = ()
    """Columns whose values are other ones in SQL, and what makes ours of them."""
    octets: frozenset[str] = frozenset()
    """Columns, or keys of texts in their place, that may be octets."""
    asked: Sequence[tuple[int, Sequence[int], Callable[..., Sequence[Any]]]] = ()
    """Columns that are asked for at once for all rows with keys, by the columns of some others."""

    def values(self, rows: Sequence[Row], skipped: int = 0) -> Columns:
        """The values of each field, of rows with some columns before theirs.

        Column by column: no function is called for each of many rows.
        """
        return self.turn(_columns(rows, skipped))

    def with_texts(self, connection: Connection, texts: Texts, found: Columns) -> Columns:
        """Of columns with keys of texts those of each field; some are yet to `turn`."""
        if not found:
            return found
        places = {column: place for place, column in enumerate(self._keyed)}
        wanted = [
            (places.get(key.column if key else one, 0), key)  # what is asked for comes below
            for one in self.columns
            for key in [self.texts.get(one)]
        ]
        columns = texts.put(connection, wanted, found)
        for place, others, ask in self.asked:
            columns[place] = ask(connection, *(columns[other] for other in others))
        return columns

    def turn(self, found: Sequence[Sequence[Any]]) -> Columns:
        """The values of each field, of those that stand in the database: some become others."""
        turned = [*found]
        for place, turn in self.turned if found else ():
            turned[place] = list(map(turn, found[place]))
        return turned

    @property
    def place(self) -> tuple[str, ...]:
        """Columns that tell where a row stands, in their order."""
        return "e.id", *self.keys

    @property
    def _keyed(self) -> list[str]:
        """Each once; the place comes first."""
        asked = {self.columns[place] for place, *_ in self.asked}
        columns = [one for one in self.columns if one not in asked]
        keys = (key.column if (key := self.texts.get(one)) else one for one in columns)
        return [*dict.fromkeys([*self.place, *keys])]

    def made(self, rows: Sequence[Row], skipped: int = 0) -> list[AnyRow]:
        """Rows of an answer."""
        return self.of_columns(self.values(rows, skipped))

    def of_columns(self, columns: Columns) -> list[AnyRow]:
        """The same, where the values of each field are there."""
        return list(map(self.row, *columns)) if columns else []

    def select(self, more: str = "") -> str:
        """The statement, up to its conditions; columns may come before those of the row."""
        joins = " ".join(self.joins.values())
        return f"SELECT {more}{', '.join(self.columns)} FROM entry e {self.tables} {joins}"

    @property
    def octets_keyed(self) -> list[bool]:
        """Of each column with keys, whether it may have octets."""
        return [one in self.octets for one in self._keyed]

    def select_keyed(self, conditions: str) -> str:
        """The same with keys of texts, a place in front, and these conditions."""
        joins = needed(self.joins, conditions)
        return (
            f"SELECT {', '.join(self._keyed)} FROM entry e {self.tables} {joins} WHERE {conditions}"
        )


def _columns(rows: Sequence[Row], skipped: int = 0) -> Columns:
    found: Columns = []
    found.extend(zip(*rows, strict=True))
    del found[:skipped]
    return found


# A failure has its reply in `reason`.
DEFERRED_BEFORE: Final = """
    (a.manner_id IN (SELECT id FROM manner WHERE status = 'sent') AND EXISTS (
        SELECT 1 FROM attempt d WHERE d.entry_id = a.entry_id
            AND d.recipient = a.recipient AND d.reason_id IS NOT NULL AND d.at <= a.at))
"""
_ATTEMPT_COLUMNS: Final = (
    "a.at",
    "h.name",
    "e.queue_id",
    "c.name",
    "e.message_id",
    "coalesce(e.msg_id, '')",
    "e.sender",
    "a.recipient",
    "a.orig_to",
    "r.name",
    delays.MICROSECONDS,
    "m.dsn",
    "m.status",
    "coalesce(a.reply, t.name, '')",
    "v.bounce_type",
    "v.category",
    "v.rule",
    DEFERRED_BEFORE,
    "e.id",
    "r.provider",
    "a.delays",
)
_OUTCOME_COLUMNS: Final = (
    "o.first_at",
    "o.last_at",
    "h.name",
    "e.queue_id",
    "coalesce(e.origin, '')",
    "c.name",
    "e.message_id",
    "coalesce(e.msg_id, '')",
    "e.sender",
    "coalesce(o.address, o.recipient)",
    "o.state",
    "o.attempts",
    "v.bounce_type",
    "v.category",
    "v.rule",
    "o.change",
    "e.id",
)
_DELIVERED = f"{State.DELIVERED:d}, {State.FINALLY_OK:d}"
_BOUNCED = ", ".join(
    f"{state:d}" for state in (State.SOFT_BOUNCE, State.HARD_BOUNCE, State.UNDETERMINED_BOUNCE)
)
_MESSAGE_COLUMNS: Final = (
    "e.born",
    "h.name",
    "e.queue_id",
    "c.name",
    "coalesce(e.claimed_id, '')",
    "e.message_id",
    "coalesce(e.msg_id, '')",
    "e.sender",
    "e.size",
    "e.nrcpt",
    "e.expired_at",
    "e.removed_at",
    "(SELECT count(*) FROM outcome n WHERE n.entry_id = e.id)",
    "(SELECT coalesce(sum(n.attempts), 0) FROM outcome n WHERE n.entry_id = e.id)",
    f"(SELECT count(*) FROM outcome n WHERE n.entry_id = e.id AND n.state IN ({_DELIVERED}))",
    f"(SELECT count(*) FROM outcome n WHERE n.entry_id = e.id AND n.state IN ({_BOUNCED}))",
    "e.id",
    "coalesce(e.origin, '')",
)
_OF_ENTRY: Final = {
    "h": "CROSS JOIN host h ON h.id = e.host_id",
    "c": "CROSS JOIN client c ON c.id = e.client_id",
}
"""What every row tells of its entry. CROSS JOIN keeps the order: from the entry to the rest."""
_OF_ATTEMPT: Final = {
    **_OF_ENTRY,
    "m": "CROSS JOIN manner m ON m.id = a.manner_id",
    "r": "CROSS JOIN relay r ON r.id = a.relay_id",
    "t": "LEFT JOIN reason t ON t.id = a.reason_id",
    "v": "LEFT JOIN verdict v ON v.id = m.verdict_id",
}
_OF_OUTCOME: Final = {**_OF_ENTRY, "v": "LEFT JOIN verdict v ON v.id = o.verdict_id"}


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
    "CROSS JOIN attempt a ON a.entry_id = e.id",
    _OF_ATTEMPT,
    OF_ATTEMPT,
    ("a.at", "a.digest", "a.copy"),
    (int, int, int),
    AttemptRow,
    ((10, delays.seconds), (13, replies.text_of), (17, bool), (20, delays.text_of)),
    frozenset([REPLY_OR_KEY, "a.delays"]),
    ((17, (18, 7, 0, 12), deferred_before),),
)
OUTCOMES: Listing[OutcomeRow] = Listing(
    "outcome",
    _OUTCOME_COLUMNS,
    "CROSS JOIN outcome o ON o.entry_id = e.id",
    _OF_OUTCOME,
    OF_OUTCOME,
    ("o.recipient",),
    (str,),
    OutcomeRow,
    ((10, state_name),),
)
MESSAGES: Listing[MessageRow] = Listing(
    "message", _MESSAGE_COLUMNS, "", _OF_ENTRY, OF_ENTRY, (), (), MessageRow
)
