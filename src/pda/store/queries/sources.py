"""What leads to the queue entries that may have what is asked for.

Owns the choice of indexes for a filter. A source may name too many entries, never too few: the
conditions of the filter decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import msgspec

from pda.maillog.events import State, address_key
from pda.store.address_blocks import WIDE_BITS, Search
from pda.store.database import Connection, Value
from pda.store.pieces import PIECE_BITS, find_between
from pda.store.queries.filters import Condition, Filter, Kind, message_ids
from pda.store.stretches import STRETCH_BITS
from pda.store.terms import term

_RARE = 4 << PIECE_BITS
"""Entries to look at first for what few have."""
_FEW = 1000
_FAILURES = frozenset(["deferred", "bounced", "SOFTBOUNCE"])
_DENSE = frozenset([State.DELIVERED, State.FINALLY_OK, State.HANDED_ON])
"""States that no index leads to: see the migration `seeking`."""


class Source(Protocol):
    """Numbers of queue entries that may have what is asked for."""

    @property
    def width(self) -> int:
        """How many are looked at first."""

    def between(self, low: int, high: int) -> Condition:
        """Those from one number to another, as SQL."""


class Index(msgspec.Struct, frozen=True):
    """SQL with the two numbers as first values."""

    sql: str
    values: list[Value]
    width: int = _FEW

    def between(self, low: int, high: int) -> Condition:
        """See `Source`."""
        return self.sql, [low, high, *self.values]


class Text(msgspec.Struct, frozen=True):
    """A text in an address: what many have is found among a few entries, looked at one by one."""

    search: Search
    width: int = _FEW

    def between(self, low: int, high: int) -> Condition:
        """See `Source`."""
        if high - low < self.width:
            return "SELECT id FROM entry WHERE id BETWEEN ? AND ?", [low, high]
        numbers = self.search.between(low, high)
        return "SELECT value FROM json_each(?)", [msgspec.json.encode(numbers).decode()]


def within(sources: list[Source], low: int, high: int) -> Condition:
    """The condition for an entry `e` of all these sources between two numbers."""
    if not sources:
        return "e.id BETWEEN ? AND ?", [low, high]
    # The numbers are compared before any entry is looked at.
    found = [one.between(low, high) for one in sources]
    sql = " INTERSECT ".join(f"SELECT * FROM ({one})" for one, _ in found)
    return f"e.id IN ({sql})", [value for _, values in found for value in values]


_QUEUE_ID = """
SELECT id FROM entry INDEXED BY idx_entry_queue_id_host_id
WHERE +id BETWEEN ? AND ? AND queue_id = ?
"""
_STATE = """
SELECT entry_id FROM outcome INDEXED BY outcome_open
WHERE entry_id BETWEEN ? AND ? AND state = ? AND state NOT IN (1, 2, 9)
"""
_FAILED = """
SELECT entry_id FROM attempt INDEXED BY attempt_failed
WHERE entry_id BETWEEN ? AND ? AND reason_id IS NOT NULL AND manner_id IN (
    SELECT m.id FROM manner m JOIN verdict v ON v.id = m.verdict_id WHERE {})
"""
_CLIENT = """
SELECT id FROM entry INDEXED BY entry_client
WHERE id BETWEEN ? AND ? AND client_id = (SELECT id FROM client WHERE name = ?)
"""


def sources_of(connection: Connection, kind: Kind, wanted: Filter) -> list[Source]:
    """All that there are for a filter, the narrowest first; for this connection to ask."""
    return list(_sources(connection, kind, wanted))


def _sources(connection: Connection, kind: Kind, wanted: Filter) -> Iterator[Source]:
    if wanted.queue_id is not None:
        yield Index(_QUEUE_ID, [wanted.queue_id], 1 << 40)
        return
    if wanted.message_id is not None:
        forms = message_ids(wanted.message_id)
        yield _of_terms(term("message-id", forms[0]), term("message-id", forms[-1]), _RARE)
        return
    if wanted.recipient is not None:
        found = term("recipient", address_key(wanted.recipient))
        yield _of_terms(found, found, _RARE)
        return
    yield from _failed(kind, wanted)
    if wanted.state is not None and wanted.state not in _DENSE:
        yield Index(_STATE, [int(wanted.state)], 8 * _FEW)
    if wanted.text is not None:
        yield Text(Search(connection, wanted.text))
    if wanted.domain is not None:
        found = term("domain", address_key(f"@{wanted.domain}")[1:])
        yield _of_terms(found, found, 8 * _FEW)
    if wanted.client is not None:
        yield Index(_CLIENT, [wanted.client], 4 * _FEW)


def _of_terms(one: int, other: int, width: int) -> Source:
    return Index(find_between(2), [one, other], width)


def _failed(kind: Kind, wanted: Filter) -> Iterator[Source]:
    """Failed attempts with this verdict and status.

    The verdict of an outcome is that of one of its attempts, a status may be that of another one.
    """
    verdict = {
        "v.bounce_type = ?": wanted.bounce_type,
        "v.category = ?": wanted.category,
        "v.rule = ?": wanted.rule,
    }
    status = {"m.status = ?": wanted.status if wanted.status in _FAILURES else None}
    for known in (verdict | status,) if kind == "attempt" else (verdict, status):
        given = [(sql, value) for sql, value in known.items() if value is not None]
        values: list[Value] = [value for _, value in given]
        if given:
            yield Index(_FAILED.format(" AND ".join(sql for sql, _ in given)), values, 8 * _FEW)


def spans(connection: Connection, kind: Kind, wanted: Filter) -> list[tuple[int, int]]:
    """The numbers of the entries that may be of the time asked for, the first ones first.

    Where a text is looked for, each is of one stretch, whose addresses are looked through at once.
    """
    found = _of_time(connection, kind, wanted)
    return list(_cut(found)) if wanted.text is not None else found


def _cut(found: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for first, last in found:
        for wide in range(first >> WIDE_BITS, (last >> WIDE_BITS) + 1):
            begin = wide << WIDE_BITS
            yield max(first, begin), min(last, begin + (1 << WIDE_BITS) - 1)


def _of_time(connection: Connection, kind: Kind, wanted: Filter) -> list[tuple[int, int]]:
    (first, last) = connection.execute(
        "SELECT (SELECT min(id) FROM entry), (SELECT max(id) FROM entry)"
    ).fetchone() or (None, None)
    if not (isinstance(first, int) and isinstance(last, int)):
        return []
    if wanted.since is None and wanted.until is None:
        return [(first, last)]
    heard = "last_born" if kind == "message" else "last_at"
    rows = connection.execute(
        f"SELECT number FROM stretch WHERE first_born <= ? AND {heard} >= ? ORDER BY number",
        (2**62 if wanted.until is None else wanted.until, wanted.since or -(2**62)),
    ).fetchall()
    found: list[tuple[int, int]] = []
    for (number,) in rows:
        assert isinstance(number, int)
        low, high = number << STRETCH_BITS, (number + 1 << STRETCH_BITS) - 1
        if found and found[-1][1] + 1 == low:
            found[-1] = found[-1][0], high
        else:
            found.append((low, high))
    return [(max(low, first), min(high, last)) for low, high in found]
