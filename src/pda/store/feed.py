"""The feed: what became of recipients, in the order in which it became known.

Owns its one question. An outcome that changes again moves to the end, under a new number: so who
reads on from the last number seen may miss what was in between, and never misses what is. What
another one may have read and is an outcome no more is told as withdrawn. Times are µs since the
epoch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from heapq import merge
from itertools import islice
from typing import TypeVar

import msgspec

from pda.maillog.events import State
from pda.store.bounced import LAST_FAILURE
from pda.store.database import Connection, Value

_T = TypeVar("_T")
_MOST_NUMBERS = 50_000
"""How far one question looks, whatever it finds there."""
WITHDRAWN = "withdrawn"
"""Stands in the place of a state."""


class UnknownCursorError(Exception):
    """This database has not come to that change yet: it is another one, or a restored copy."""


class Change(msgspec.Struct, frozen=True):
    """What became of one recipient of a message, or that what was told of it is no more."""

    change: int
    key: str
    """What it is about: queue entry and recipient. It stays, whatever becomes of them."""
    id: int
    """The number of the queue entry."""
    host: str
    queue_id: str
    client_id: str
    message_id: str
    msg_id: str
    sender: str | None
    recipient: str
    state: str
    """As that of an outcome, or `withdrawn`."""
    final: bool
    """Whether nothing more is expected."""
    first_at: int
    last_at: int
    attempts: int
    bounce_type: str | None = None
    category: str | None = None
    rule: str | None = None
    dsn: str | None = None
    """Of the last failed attempt, as the reply, where the outcome is no delivery."""
    reply: str | None = None


class Changes(msgspec.Struct, frozen=True):
    """A piece of the feed."""

    changes: list[Change]
    cursor: int
    """Where to read on."""
    more: bool
    """Whether there is more already."""


_FINAL = ", ".join(f"{state:d}" for state in State if state.is_final)
# By the number of the change, never by all that a client has: CROSS JOIN and + see to that.
_OF_CLIENT = "client_id = (SELECT id FROM client WHERE name = ?3)"
_OUTCOMES = f"""
SELECT o.change, o.entry_id || ':' || o.recipient, o.entry_id, h.name, e.queue_id, c.name,
    e.message_id, coalesce(e.msg_id, ''), e.sender, coalesce(o.address, o.recipient), o.state,
    o.state IN ({_FINAL}), o.first_at, o.last_at, o.attempts, v.bounce_type, v.category, v.rule,
    m.dsn, r.name
FROM changed n CROSS JOIN outcome o ON o.entry_id = n.entry_id AND o.change = n.change
    CROSS JOIN entry e ON e.id = o.entry_id JOIN host h ON h.id = e.host_id
    JOIN client c ON c.id = e.client_id LEFT JOIN verdict v ON v.id = o.verdict_id
    {LAST_FAILURE}
"""
_BETWEEN = f" WHERE n.change > ?1 AND n.change <= ?2 AND o.state <> {State.HANDED_ON:d}"
_GONE = f"""
SELECT w.change, w.entry_id || ':' || w.recipient, w.entry_id, h.name, w.queue_id, c.name,
    '', '', NULL, coalesce(w.address, w.recipient),
    '{WITHDRAWN}', 1, 0, 0, 0
FROM withdrawn w JOIN host h ON h.id = w.host_id JOIN client c ON c.id = w.client_id
WHERE w.change > ?1 AND w.change <= ?2
"""
_NEXT = """
SELECT min(change) FROM (SELECT min(change) AS change FROM changed WHERE change > ?1
    UNION ALL SELECT min(change) FROM withdrawn WHERE change > ?1)
"""


def last_change(connection: Connection) -> int:
    """The number of the last change."""
    row = connection.execute("SELECT value FROM meta WHERE name = 'change'").fetchone()
    return row[0] if row and isinstance(row[0], int) else 0


def changes(
    connection: Connection, after: int, limit: int, client: str | None, *, final: bool = False
) -> Changes:
    """Changes with greater numbers than `after`, of all or of one client's mail.

    At most `limit`; there may be more even where there are fewer. With `final` only those of
    which nothing more is expected, and what is withdrawn. Raises `UnknownCursorError`.
    """
    end = last_change(connection)
    if after > end:
        raise UnknownCursorError
    upto = _reach(connection, after, end)
    values: list[Value] = [after, upto, client]
    of_outcomes = _OUTCOMES + _BETWEEN + (f" AND o.state IN ({_FINAL})" if final else "")
    told, gone = (
        _found(connection, sql, column, values, limit)
        for sql, column in ((of_outcomes, "n.change"), (_GONE, "w.change"))
    )
    first = list(islice(merge(told, gone, key=_number), limit + 1))
    if len(first) > limit:
        return Changes(first[:limit], first[limit - 1].change, more=True)
    return Changes(first, upto, more=upto < end)


def by_number(connection: Connection, numbers: Iterable[int]) -> dict[int, Change]:
    """The outcomes with these numbers, as far as none of them has changed since."""
    of_numbers = _OUTCOMES + " WHERE n.change IN (SELECT value FROM json_each(?))"
    rows = connection.execute(of_numbers, (json.dumps([*numbers]),)).fetchall()
    return {change.change: change for change in map(_change, rows)}


def _reach(connection: Connection, after: int, end: int) -> int:
    """How far this question looks: numbers that were left behind cost nothing."""
    row = connection.execute(_NEXT, (after,)).fetchone()
    first = row[0] if row else None
    return min(end, first - 1 + _MOST_NUMBERS) if isinstance(first, int) else end


def _found(
    connection: Connection, sql: str, order: str, values: list[Value], limit: int
) -> list[Change]:
    own = "" if values[2] is None else f" AND +{order[0] if order[0] == 'w' else 'e'}.{_OF_CLIENT}"
    used = values[:2] if values[2] is None else values
    rows = connection.execute(f"{sql}{own} ORDER BY {order} LIMIT {limit + 1:d}", used).fetchall()
    return [_change(row) for row in rows]


def _change(row: tuple[Value, ...]) -> Change:
    make: Callable[..., Change] = Change
    *about, state, final, first_at = row[:13]
    return make(*about, _state_name(state), bool(final), first_at, *row[13:])


def _state_name(state: Value) -> str:
    return state if isinstance(state, str) else State(int(str(state))).label


def _number(change: Change) -> int:
    return change.change
