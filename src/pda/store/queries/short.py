"""A short time, counted from its rows: to the minute, and by whatever they tell.

Owns which rows are of a time, and how many are looked at. What `stats` answers from what is counted
by hour and day is answered here of the rows in the same values; that they are all is known from
what is counted. A client's id stands in the SQL. Times are µs since the epoch.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import msgspec

from pda.maillog.events import State, address_key
from pda.maillog.providers import NONE
from pda.store.database import Connection, Value
from pda.store.delays import seconds, text_of
from pda.store.queries.stats import (
    Counts,
    Delays,
    Group,
    Percentiles,
    Point,
    Scope,
    Top,
    What,
    series,
)
from pda.store.tally import HOUR, PARTS, STATES, STATUSES

MOST: Final = 40_000
"""Attempts that are read for an answer."""
_ENOUGH: Final = 0.99
"""Of those that are counted; others may have waited for days before the first attempt."""
_WAITED: Final = (HOUR, 6 * HOUR, 24 * HOUR, 168 * HOUR)
"""How long before its first attempt an entry is looked for, as long as nothing is missing."""

# Entries that arrived in the time or not long before, that had a failure in it, or were delivered
# in it after one.
_NEAR: Final = f"""
SELECT e.id FROM client c CROSS JOIN entry e INDEXED BY idx_entry_client_id_born
    ON e.client_id = c.id AND e.born BETWEEN ?1 AND ?3
WHERE ?4 IS NULL OR c.name = ?4
UNION SELECT a.entry_id FROM manner m CROSS JOIN attempt a INDEXED BY attempt_failure
    ON a.manner_id = m.id AND a.reason_id IS NOT NULL AND a.at BETWEEN ?2 AND ?3
UNION SELECT o.entry_id FROM outcome o INDEXED BY outcome_late
WHERE o.state = {State.FINALLY_OK:d} AND o.last_at BETWEEN ?2 AND ?3
"""
_ENTRIES: Final = """
SELECT e.id, c.name, h.name, e.born, coalesce(e.origin, '')
FROM json_each(?) n CROSS JOIN entry e ON e.id = n.value
    CROSS JOIN client c ON c.id = e.client_id CROSS JOIN host h ON h.id = e.host_id
WHERE ? IS NULL OR c.name = ?
"""
# What follows is put together here: for each row SQLite would take as long as for the row itself.
_TRIES: Final = """
SELECT a.entry_id, a.recipient, a.at, a.digest, a.copy, a.manner_id, a.relay_id, a.delay, a.delays,
    a.reason_id
FROM json_each(?) n CROSS JOIN attempt a ON a.entry_id = n.value AND a.at >= ?
"""
_RESULTS: Final = """
SELECT o.entry_id, o.recipient, o.last_at, o.state, o.verdict_id
FROM json_each(?) n CROSS JOIN outcome o ON o.entry_id = n.value AND o.last_at BETWEEN ? AND ?
"""
_RELAYS: Final = "SELECT id, provider FROM relay WHERE id IN (SELECT value FROM json_each(?))"
_REASONS: Final = "SELECT id, name FROM reason WHERE id IN (SELECT value FROM json_each(?))"
_VERDICTS: Final = "SELECT id, bounce_type, category, rule FROM verdict"
_MANNERS: Final = "SELECT id, status, verdict_id FROM manner"
_NO_VERDICT: Final = ("", "", "")
_HANDED_ON: Final = int(State.HANDED_ON)


class Arrival(NamedTuple):
    """A message that was taken in."""

    at: int
    client: str
    host: str
    provider: str = ""
    domain: str = ""
    what: str = "messages"


class Try(NamedTuple):
    """An attempt that is one: it did not only hand on."""

    at: int
    client: str
    host: str
    provider: str
    domain: str
    status: str
    bounce_type: str
    """Empty, as category and rule, where it did not fail."""
    category: str
    rule: str
    delay: float
    delays: Value
    """Both as a row has them."""
    reply: str
    """Of a failure."""


class Result(NamedTuple):
    """What became of a recipient."""

    at: int
    client: str
    host: str
    provider: str
    domain: str
    state: str
    bounce_type: str
    category: str
    rule: str


# Where these stand, in all three kinds of rows: there are many, and so they are counted fastest.
_AT, _COUNTS_AS, _CATEGORY, _REASON = 0, 5, 7, slice(7, 9)
_PLACES: Final = {"client": 1, "host": 2, "provider": 3, "domain": 4, "type": 6, "category": 7}
_FOREVER: Final = 2**63
_Row: TypeAlias = tuple[Any, ...]


class Rows(msgspec.Struct, frozen=True):
    """All of a time, each kind by time."""

    arrivals: list[Arrival]
    tries: list[Try]
    results: list[Result]

    def points(self, scope: Scope, step: int = 0, group: Group | What = "") -> list[Point]:
        """As `stats.series` answers, in steps of this length, or of all the time: 0."""
        found: defaultdict[tuple[int, str], Counts] = defaultdict(Counts)
        for (at, name, what), count in self._counted(scope, step, group).items():
            counts = found[at * step, name if isinstance(name, str) else "/".join(name)]
            member = what if what in _COUNTS else "attempts"
            setattr(counts, member, getattr(counts, member) + count)
        for counts in found.values():
            counts.attempts += counts.deferred + counts.bounced + counts.sent
        return [Point(*key, counts) for key, counts in sorted(found.items())]

    def top(self, scope: Scope, what: What, limit: int) -> list[Top]:
        """As `stats.top` answers."""
        points = sorted(self.points(scope, 0, what), key=lambda it: (-it.counts.attempts, it.group))
        if what != "reason":
            return [Top(one.group, one.counts) for one in points[:limit]]
        named = [(*one.group.partition("/")[::2], one.counts) for one in points[:limit]]
        replies = {(one.category, one.rule): one.reply for one in _of(self.tries, scope)}
        return [
            Top(rule, counts, category, replies.get((category, rule), ""))
            for category, rule, counts in named
        ]

    def delays(self, scope: Scope, step: int = 0) -> list[Delays]:
        """As `stats.delays` answers, in such steps."""
        found: defaultdict[int, list[Try]] = defaultdict(list)
        for one in _of(self.tries, scope):
            if one.status == "sent":
                found[one.at // step * step if step else 0].append(one)
        return [_delays(at, tries) for at, tries in sorted(found.items())]

    def _counted(self, scope: Scope, step: int, group: Group | What) -> Counter[_Key]:
        """Rows by step, by group and by what they count as."""
        tries: Sequence[Try] = _of(self.tries, scope)
        results: Sequence[Result] = _of(self.results, scope)
        if group in _OF_FAILURES:
            tries = [one for one in tries if one[_CATEGORY] and one[_COUNTS_AS] in STATUSES[1:]]
            results = [one for one in results if one[_CATEGORY]]
        found = Counter(_keys(tries, step, group))
        found.update(_keys(results, step, group))
        if group in _OF_MESSAGES and scope.provider is None and scope.domain is None:
            found.update(_keys(_of(self.arrivals, scope), step, group))
        return found


_Key: TypeAlias = tuple[int, str | tuple[str, str], str]
"""Number of the step, group, and what it counts as."""
_OF_FAILURES: Final = frozenset(("category", "type", "reason"))
_OF_MESSAGES: Final = frozenset(("", "client", "host"))
_COUNTS: Final = frozenset(Counts.__struct_fields__)


def _keys(rows: Iterable[_Row], step: int, group: Group | What) -> Iterator[_Key]:
    length = step or _FOREVER
    if group == "reason":
        return ((one[_AT] // length, one[_REASON], one[_COUNTS_AS]) for one in rows)
    if not group:
        return ((one[_AT] // length, "", one[_COUNTS_AS]) for one in rows)
    place = _PLACES[group]
    return ((one[_AT] // length, one[place], one[_COUNTS_AS]) for one in rows)


def read(
    connection: Connection, client: str | None, since: int, until: int, most: int = MOST
) -> Rows | None:
    """All rows of a time; None where they are too many, or are not all there any more."""
    first, end = since // HOUR * HOUR, -(-until // HOUR) * HOUR
    counted = _counted(connection, client, first, end)
    for waited in _WAITED:
        if _counted(connection, client, first - waited, end) > most:
            return None
        rows = _Reading(connection, client).rows(first - waited, first, end - 1)
        if len(rows.tries) >= counted * _ENOUGH:
            return rows
    return None


def _counted(connection: Connection, client: str | None, since: int, until: int) -> int:
    """Attempts in whole hours."""
    points = series(connection, Scope(client=client, since=since, until=until - 1), "hour")
    return sum(one.counts.attempts for one in points)


class _Reading:
    """One answer's way through the tables."""

    def __init__(self, connection: Connection, client: str | None) -> None:
        self._connection = connection
        self._client = client
        verdicts = {number: tuple(rest) for number, *rest in self._all(_VERDICTS)}
        self._verdicts: dict[int | None, _Row] = {None: _NO_VERDICT, **verdicts}

    def rows(self, born: int, since: int, until: int) -> Rows:
        """Those between two moments, of entries that did not arrive before a third one."""
        near = [row[0] for row in self._all(_NEAR, born, since, until, self._client)]
        entries = {
            row[0]: row[1:] for row in self._all(_ENTRIES, _json(near), self._client, self._client)
        }
        ids = _json(sorted(entries))
        outcomes = self._all(_RESULTS, ids, since, until)
        attempts = self._all(_TRIES, ids, since)
        handed_on = {(row[0], row[1]) for row in outcomes if row[3] == _HANDED_ON}
        tries, providers = self._tries(attempts, entries, handed_on)
        results = self._results(outcomes, entries, providers)
        arrivals = [
            Arrival(born, client, host)
            for client, host, born, origin in entries.values()
            if not origin and since <= born <= until
        ]
        in_time = [one for one in tries if one.at <= until]
        return Rows(_by_time(arrivals), _by_time(in_time), _by_time(results))

    def _tries(
        self, rows: Sequence[_Row], entries: _Entries, handed_on: set[_Whom]
    ) -> tuple[list[Try], dict[_Whom, str]]:
        """With the provider of the last one at each recipient."""
        found: list[Try] = []
        last: dict[_Whom, _Row] = {}
        manners = {number: rest for number, *rest in self._all(_MANNERS)}
        relays = self._named(_RELAYS, {row[6] for row in rows})
        reasons = self._named(_REASONS, {row[9] for row in rows if row[9] is not None})
        make: Callable[..., Try] = Try
        for entry, recipient, at, digest, copy, manner, relay, delay, delays, reason in rows:
            key, provider = address_key(recipient), relays[relay]
            whom, this = (entry, key), (at, digest, copy, provider)
            if whom not in last or this > last[whom]:
                last[whom] = this
            status, verdict = manners[manner]
            if status != "sent" or whom not in handed_on:
                client, host, *_ = entries[entry]
                domain, reply = key.rpartition("@")[2], reasons.get(reason, "")
                judged = self._verdicts[verdict]
                place = at, client, host, provider, domain
                found.append(make(*place, status, *judged, delay, delays, reply))
        return found, {whom: this[3] for whom, this in last.items()}

    def _results(
        self, rows: Sequence[_Row], entries: _Entries, providers: dict[_Whom, str]
    ) -> list[Result]:
        make: Callable[..., Result] = Result
        found = []
        for entry, recipient, at, state, verdict in rows:
            if state != _HANDED_ON:
                client, host, *_ = entries[entry]
                provider = providers.get((entry, recipient), NONE)
                place = at, client, host, provider, recipient.rpartition("@")[2]
                found.append(make(*place, STATES[state], *self._verdicts[verdict]))
        return found

    def _all(self, sql: str, *values: Value) -> list[_Row]:
        return self._connection.execute(sql, values).fetchall()

    def _named(self, sql: str, numbers: set[int]) -> dict[int, str]:
        return dict(self._all(sql, _json(numbers)))


_Entries: TypeAlias = Mapping[int, _Row]
"""Client, host, born and origin of each."""
_Whom: TypeAlias = tuple[int, str]
"""Entry, and recipient as it is compared."""
_R = TypeVar("_R", Arrival, Try, Result)


def _json(numbers: Iterable[int]) -> str:
    return msgspec.json.encode([*numbers]).decode()


def _by_time(rows: list[_R]) -> list[_R]:
    return sorted(rows, key=attrgetter("at"))


def _of(rows: Sequence[_R], scope: Scope) -> Sequence[_R]:
    """Those within a scope."""
    at = itemgetter(_AT)
    first = 0 if scope.since is None else bisect_left(rows, scope.since, key=at)
    end = len(rows) if scope.until is None else bisect_left(rows, scope.until + 1, key=at)
    found = rows[first:end]
    domain = None if scope.domain is None else address_key(f"@{scope.domain}")[1:]
    asked = {"client": scope.client, "host": scope.host, "provider": scope.provider}
    for name, value in {**asked, "domain": domain}.items():
        if value is not None:
            place = _PLACES[name]
            found = [one for one in found if one[place] == value]
    return found


def _delays(at: int, tries: Sequence[Try]) -> Delays:
    parts: list[list[float]] = [[] for _ in range(PARTS)]
    for one in tries:
        parts[0].append(seconds(one.delay))
        for part, text in zip(parts[1:], text_of(one.delays).split("/"), strict=False):
            part.append(_seconds(text))
    return Delays(at, len(tries), *map(_percentiles, parts))


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _percentiles(values: list[float]) -> Percentiles:
    values.sort()
    last = len(values) - 1
    return Percentiles(*(
        values[min(last, len(values) * percent // 100)] if values else 0.0
        for percent in (50, 90, 99)
    ))  # fmt: skip
