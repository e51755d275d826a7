"""A short time, counted from its rows: to the minute, and by whatever they tell.

Owns which rows are of a time, and how many are looked at. What `stats` answers from what is counted
by hour and day is answered here of the rows in the same values; that they are all is known from
what is counted. A client's id stands in the SQL. Times are µs since the epoch.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from pda.maillog.events import State, address_key
from pda.store.database import Connection, Row, Value
from pda.store.names import number_of
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
from pda.store.tally import HOUR, PARTS, STATUSES

MOST: Final = 60_000
"""Attempts that are read for an answer."""
_SLOW: Final = (HOUR, 12 * HOUR)
"""How long before its first attempt an entry may have arrived."""
_HANDED_ON: Final = int(State.HANDED_ON)

# Those that arrived in the time or not long before, had a failure in it, or were delivered in it
# after a failure.
_NEAR: Final = f"""
WITH near (id) AS MATERIALIZED (
    SELECT e.id FROM client c CROSS JOIN entry e INDEXED BY idx_entry_client_id_born
        ON e.client_id = c.id AND e.born BETWEEN ?1 AND ?3
    WHERE ?4 IS NULL OR c.name = ?4
    UNION SELECT a.entry_id FROM manner m CROSS JOIN attempt a INDEXED BY attempt_failure
        ON a.manner_id = m.id AND a.reason_id IS NOT NULL AND a.at BETWEEN ?2 AND ?3
    UNION SELECT o.entry_id FROM outcome o INDEXED BY outcome_late
    WHERE o.state = {State.FINALLY_OK:d} AND o.last_at BETWEEN ?2 AND ?3
)
"""
_OF_ENTRY: Final = """
FROM near n CROSS JOIN entry e ON e.id = n.id CROSS JOIN client c ON c.id = e.client_id
    CROSS JOIN host h ON h.id = e.host_id
"""
_OF_CLIENT: Final = "(?4 IS NULL OR c.name = ?4)"
_TRIES: Final = f"""
{_NEAR} SELECT a.entry_id, a.recipient, a.at, a.digest, a.copy, c.name, h.name, r.provider,
    m.status, coalesce(v.bounce_type, ''), coalesce(v.category, ''), coalesce(v.rule, ''),
    a.delay, a.delays, coalesce(t.name, '')
{_OF_ENTRY} CROSS JOIN attempt a ON a.entry_id = e.id
    CROSS JOIN manner m ON m.id = a.manner_id CROSS JOIN relay r ON r.id = a.relay_id
    LEFT JOIN verdict v ON v.id = m.verdict_id LEFT JOIN reason t ON t.id = a.reason_id
WHERE {_OF_CLIENT}
"""
_RESULTS: Final = f"""
{_NEAR} SELECT o.entry_id, o.recipient, o.last_at, c.name, h.name, o.state,
    coalesce(v.bounce_type, ''), coalesce(v.category, ''), coalesce(v.rule, '')
{_OF_ENTRY} CROSS JOIN outcome o ON o.entry_id = e.id
    LEFT JOIN verdict v ON v.id = o.verdict_id
WHERE {_OF_CLIENT}
"""
_ARRIVALS: Final = """
SELECT e.born, c.name, h.name
FROM client c CROSS JOIN entry e INDEXED BY idx_entry_client_id_born
    ON e.client_id = c.id AND e.born BETWEEN ?1 AND ?2
    CROSS JOIN host h ON h.id = e.host_id
WHERE (?3 IS NULL OR c.name = ?3) AND coalesce(e.origin, '') = ''
"""


class Arrival(NamedTuple):
    """A message that was taken in."""

    at: int
    client: str
    host: str


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
    delays: str | None
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


_Any: TypeAlias = Arrival | Try | Result
_GROUPS: Final[dict[str, Callable[[Any], str]]] = {
    "": lambda _: "",
    "client": attrgetter("client"),
    "host": attrgetter("host"),
    "provider": attrgetter("provider"),
    "domain": attrgetter("domain"),
    "category": attrgetter("category"),
    "type": attrgetter("bounce_type"),
    "reason": lambda one: f"{one.category}/{one.rule}",
}


class Rows(msgspec.Struct, frozen=True):
    """All of a time, each kind by time."""

    arrivals: list[Arrival]
    tries: list[Try]
    results: list[Result]

    def points(self, scope: Scope, step: int = 0, group: Group | What = "") -> list[Point]:
        """As `stats.series` answers, in steps of this length, or of all the time: 0."""
        found: defaultdict[tuple[int, str], Counts] = defaultdict(Counts)
        for key, count in Counter(self._keyed(scope, step, group)).items():
            at, name, member = key
            counts = found[at, name]
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

    def _keyed(
        self, scope: Scope, step: int, group: Group | What
    ) -> Iterator[tuple[int, str, str]]:
        """For each row that counts its step, its group and what it counts as."""
        name, of_failures = _GROUPS[group], group in ("category", "type", "reason")

        def begun(at: int) -> int:
            return at // step * step if step else 0

        for one in _of(self.tries, scope):
            if not of_failures or (one.category and one.status in STATUSES[1:]):
                known = one.status if one.status in STATUSES else "attempts"
                yield begun(one.at), name(one), known
        for result in _of(self.results, scope):
            if not of_failures or result.category:
                yield begun(result.at), name(result), result.state
        if group in ("", "client", "host") and scope.provider is None and scope.domain is None:
            for arrival in _of(self.arrivals, scope):
                yield begun(arrival.at), name(arrival), "messages"


def read(
    connection: Connection, client: str | None, since: int, until: int, most: int = MOST
) -> Rows | None:
    """All rows of a time; None where they are too many, or are not all there any more."""
    first, end = since // HOUR * HOUR, -(-until // HOUR) * HOUR
    hours = series(connection, Scope(client=client, since=first, until=end - 1), "hour")
    counted = sum(one.counts.attempts for one in hours)
    if counted > most:
        return None
    for slow in _SLOW:
        rows = _read(connection, client, (first - slow, first, end - 1))
        if rows is None or len(rows.tries) >= counted:
            return rows
    return None


def _read(connection: Connection, client: str | None, times: tuple[int, int, int]) -> Rows | None:
    _, since, until = times
    asked: tuple[Value, ...] = (*times, client)
    attempts = connection.execute(f"{_TRIES} LIMIT {2 * MOST}", asked).fetchall()
    if len(attempts) == 2 * MOST:
        return None
    outcomes = connection.execute(_RESULTS, asked).fetchall()
    arrivals = connection.execute(_ARRIVALS, (since, until, client)).fetchall()
    handed_on = {(row[0], row[1]) for row in outcomes if row[5] == _HANDED_ON}
    tries, providers = _tries(attempts, handed_on)
    results = _results(outcomes, providers)
    return Rows(
        sorted(Arrival(*row) for row in arrivals),  # type: ignore[arg-type]
        sorted((one for one in tries if since <= one.at <= until), key=attrgetter("at")),
        sorted(one for one in results if since <= one.at <= until),
    )


def _tries(
    rows: Iterable[Row], handed_on: set[tuple[Value, Value]]
) -> tuple[list[Try], dict[tuple[Value, str], str]]:
    """With the provider of the last one at each recipient."""
    found: list[Try] = []
    last: dict[tuple[Value, str], tuple[Any, ...]] = {}
    make: Callable[..., Try] = Try
    for entry, recipient, at, digest, copy, client, host, provider, status, *more in rows:
        key = address_key(str(recipient))
        this = at, digest, copy, provider
        last[entry, key] = max(last.get((entry, key), this), this)
        if status != "sent" or (entry, key) not in handed_on:
            domain = key.rpartition("@")[2]
            found.append(make(at, client, host, provider, domain, status, *more))
    return found, {key: str(this[3]) for key, this in last.items()}


def _results(rows: Iterable[Row], providers: dict[tuple[Value, str], str]) -> Iterator[Result]:
    make: Callable[..., Result] = Result
    for entry, recipient, at, client, host, state, *verdict in rows:
        if state != _HANDED_ON:
            key = str(recipient)
            name = State(number_of(state)).name.lower()
            provider, domain = providers.get((entry, key), "none"), key.rpartition("@")[2]
            yield make(at, client, host, provider, domain, name, *verdict)


def _of(rows: Sequence[Any], scope: Scope) -> Iterator[Any]:
    """Those within a scope."""
    at = attrgetter("at")
    first = 0 if scope.since is None else bisect_left(rows, scope.since, key=at)
    end = len(rows) if scope.until is None else bisect_left(rows, scope.until + 1, key=at)
    domain = None if scope.domain is None else address_key(f"@{scope.domain}")[1:]
    asked = (("client", scope.client), ("host", scope.host), ("provider", scope.provider))
    wanted = [(name, value) for name, value in (*asked, ("domain", domain)) if value is not None]
    for one in rows[first:end]:
        if all(getattr(one, name) == value for name, value in wanted):
            yield one


def _delays(at: int, tries: Sequence[Try]) -> Delays:
    parts: list[list[float]] = [[] for _ in range(PARTS)]
    for one in tries:
        parts[0].append(one.delay)
        for part, text in zip(parts[1:], (one.delays or "").split("/"), strict=False):
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
