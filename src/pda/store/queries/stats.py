"""Counts, rates and delays over time, answered from what is counted as rows are written.

Owns what can be asked of the tables of `counting`, and the choice among them. Attempts count when
they were made, outcomes when they came into their state, as that is now; a message when it arrived.
What only hands a message on to another queue entry known here is no attempt and no outcome. Hours
and days are those of UTC, and whole: a time range is widened to them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Literal, TypeAlias

import msgspec

from pda.maillog.events import address_key
from pda.store.counting import unpack_classes
from pda.store.database import Connection, Row, Value
from pda.store.names import number_of
from pda.store.queries.filters import Condition, where
from pda.store.tally import (
    BY_DAY,
    BY_HOUR_AND_CLIENT,
    BY_HOUR_AND_PROVIDER,
    CLASSES,
    DAY,
    FAILED,
    HOUR,
    OF_DOMAIN,
    PARTS,
    seconds_of,
)

Step: TypeAlias = Literal["hour", "day", "whole"]
Group: TypeAlias = Literal["", "client", "domain", "provider", "host", "category", "type", "status"]
What: TypeAlias = Literal["client", "domain", "provider", "host", "category", "reason"]

_FINE_DAYS = 35
"""So long a time may be for the whole of it to be summed up by hours."""
_FINE_DELAY_DAYS = 3
_LOOKED_AT = 100
"""Failures looked at for an example."""


class StatsError(ValueError):
    """This is not counted; the message says what is."""


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What is counted; None stands for all."""

    client: str | None = None
    host: str | None = None
    domain: str | None = None
    """Of the recipient."""
    provider: str | None = None
    since: int | None = None
    until: int | None = None
    """Both inclusive."""


class Counts(msgspec.Struct, kw_only=True):
    """How many of each."""

    messages: int = 0
    """Taken in; not told by domain, provider, category or status."""
    attempts: int = 0
    """By category and reason: those that failed so."""
    sent: int = 0
    """Attempts that the next host accepted; `deferred` and `bounced` likewise."""
    deferred: int = 0
    bounced: int = 0
    pending: int = 0
    """Recipients (outcomes) from here on."""
    delivered: int = 0
    """At the first try."""
    finally_ok: int = 0
    soft_bounce: int = 0
    hard_bounce: int = 0
    undetermined_bounce: int = 0
    expired: int = 0
    held: int = 0
    discarded: int = 0


class Point(msgspec.Struct, frozen=True):
    """What was counted in one hour or day, or all the time, of one group."""

    at: int
    """Its beginning, µs since the epoch; 0 for all the time."""
    group: str
    counts: Counts


class Top(msgspec.Struct, frozen=True):
    """One of the most frequent."""

    name: str
    """For reasons the rule that knows them; empty where none does."""
    counts: Counts
    category: str = ""
    """Of a reason."""
    example: str = ""
    """The last reply of that reason, as logged."""


class Percentiles(msgspec.Struct, frozen=True):
    """Seconds, to a tenth: half, nine tenths, 99 of 100 took no longer."""

    p50: float
    p90: float
    p99: float


class Delays(msgspec.Struct, frozen=True):
    """How long accepted attempts took, each since its message arrived, and in which stage."""

    at: int
    """As of a `Point`."""
    attempts: int
    total: Percentiles
    before_queue: Percentiles
    in_queue: Percentiles
    setup: Percentiles
    """Connection: DNS, TCP, HELO, TLS."""
    transmission: Percentiles


_COUNTS = tuple(field.name for field in msgspec.structs.fields(Counts))
_GROUPS = {
    "": "''", "client": "c.name", "host": "h.name", "provider": "t.provider", "domain": "t.domain",
    "category": "v.category", "type": "v.bounce_type",
    "reason": "v.category || '/' || v.rule",
}  # fmt: skip


class _Source(msgspec.Struct, frozen=True):
    """A table, or a piece of one, that has what is asked for."""

    table: str
    by_hour: bool
    columns: Sequence[str]
    piece: int | None = None


def series(
    connection: Connection, scope: Scope, step: Step = "hour", group: Group = ""
) -> list[Point]:
    """What was counted in each step, by time and group; where there was nothing there is no point.

    Raises `StatsError`: hours are counted by client alone and by provider alone, days by client,
    host, provider and category, and by client and domain.
    """
    of_status = group == "status"
    source = _source(scope, step, "" if of_status else group)
    found = _sums(connection, source, scope, step, "" if of_status else group)
    points = [Point(at, name, counts) for at, name, counts in found]
    return list(_by_status(points)) if of_status else points


def top(
    connection: Connection, scope: Scope, what: What, limit: int = 20, *, examples: bool = True
) -> list[Top]:
    """Those with the most attempts, failed ones where it is categories or reasons.

    Raises `StatsError` as `series` does.
    """
    source = _source(scope, "whole", what)
    names = _ranked(connection, source, scope, what, limit)
    found = _sums(connection, source, scope, "whole", what, names)
    ranked = sorted(found, key=lambda one: (-one[2].attempts, one[1]))
    if what != "reason":
        return [Top(name, counts) for _, name, counts in ranked]
    reasons = [(*name.partition("/")[::2], counts) for _, name, counts in ranked]
    return [
        Top(rule, counts, category, _example(connection, scope, category, rule) if examples else "")
        for category, rule, counts in reasons
    ]


def delays(connection: Connection, scope: Scope, step: Step = "whole") -> list[Delays]:
    """Percentiles in each step, by time.

    Raises `StatsError`: they are kept of hours by client alone, of days by client, host, provider.
    """
    if scope.domain is not None:
        raise StatsError("delays are counted by client, host and provider, not by domain")
    fine = step == "hour" or (step == "whole" and _is_short(scope, _FINE_DELAY_DAYS))
    by_hour = fine and scope.host is None and scope.provider is None
    if step == "hour" and not by_hour:
        raise StatsError("delays of hours are counted by client alone; ask by day")
    piece = BY_HOUR_AND_CLIENT if by_hour else BY_DAY
    source = _Source("counted_delay", by_hour, (), piece)
    sql, values = _where(source, scope)
    rows = connection.execute(
        f"SELECT t.at, t.classes FROM counted_delay t WHERE {sql} ORDER BY t.at", values
    ).fetchall()
    found: dict[int, list[int]] = {}
    for at, classes in rows:
        assert isinstance(classes, bytes)
        begun = 0 if step == "whole" else number_of(at) * (HOUR if by_hour else DAY)
        sums = found.setdefault(begun, [0] * (PARTS * CLASSES))
        for number, count in unpack_classes(classes).items():
            sums[number] += count
    return [_delays(at, sums) for at, sums in found.items()]


def _source(scope: Scope, step: Step, group: Group | What) -> _Source:
    """What has this; raises `StatsError` where nothing has."""
    by_cell = scope.host is not None or scope.provider is not None or group in ("host", "provider")
    if group in ("category", "type", "reason"):
        if step == "hour" or scope.domain is not None:
            raise StatsError("categories are counted by day, client, host and provider")
        return _Source("counted_failure", by_hour=False, columns=FAILED)
    if scope.domain is not None or group == "domain":
        if step == "hour" or by_cell:
            raise StatsError("domains are counted by day and client")
        return _Source("counted_domain", by_hour=False, columns=OF_DOMAIN)
    columns = OF_DOMAIN if group == "provider" else ("messages", *OF_DOMAIN)
    if step == "day" or (step == "whole" and not _is_short(scope, _FINE_DAYS)):
        return _Source("counted", by_hour=False, columns=columns, piece=BY_DAY)
    if not by_cell:
        return _Source("counted", by_hour=True, columns=columns, piece=BY_HOUR_AND_CLIENT)
    if scope.client is None and scope.host is None and group in ("", "provider"):
        return _Source("counted", by_hour=True, columns=columns, piece=BY_HOUR_AND_PROVIDER)
    if step == "hour":
        raise StatsError("hours are counted by client alone, and by provider alone; ask by day")
    return _Source("counted", by_hour=False, columns=columns, piece=BY_DAY)


def _is_short(scope: Scope, days: int) -> bool:
    since, until = scope.since, scope.until
    return since is not None and until is not None and until - since <= days * DAY


def _ranked(
    connection: Connection, source: _Source, scope: Scope, what: What, limit: int
) -> list[str]:
    """The names of those with the most attempts."""
    sql, values = _where(source, scope)
    attempts = "attempts" if "attempts" in source.columns else "deferred + bounced"
    rows = connection.execute(
        f"SELECT {_GROUPS[what]}, sum({attempts}) FROM {_tables(source, what)} WHERE {sql}"
        " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?",
        [*values, limit],
    ).fetchall()
    return [str(name) for name, _ in rows]


def _sums(
    connection: Connection,
    source: _Source,
    scope: Scope,
    step: Step,
    group: Group | What,
    names: Sequence[str] | None = None,
) -> list[tuple[int, str, Counts]]:
    """Time, group and counts, in this order; of these names only, where they are given."""
    sql, values = _where(source, scope)
    columns = [column for column in source.columns if column in _COUNTS]
    sums = ", ".join(f"sum(t.{column})" for column in columns)
    if names is not None:
        sql += f" AND {_GROUPS[group]} IN ({','.join('?' * len(names))})"
    by = ", ".join(["t.at"] * (step != "whole") + [_GROUPS[group]] * bool(group)) or "NULL"
    rows = connection.execute(
        f"SELECT {'0' if step == 'whole' else 't.at'}, {_GROUPS[group]}, {sums}"
        f" FROM {_tables(source, group)} WHERE {sql} GROUP BY {by} ORDER BY {by}",
        [*values, *(names or ())],
    ).fetchall()
    length = HOUR if source.by_hour else DAY
    found = [(number_of(row[0]) * length, str(row[1]), _counts(columns, row[2:])) for row in rows]
    return [one for one in found if one[2] != _NOTHING]


def _tables(source: _Source, group: Group | What) -> str:
    """With the names of the groups."""
    tables = f"{source.table} t"
    for alias, table in (("c", "client"), ("h", "host"), ("v", "verdict")):
        if _GROUPS[group].startswith(f"{alias}."):
            tables += f" JOIN {table} {alias} ON {alias}.id = t.{table}_id"
    return tables


def _counts(columns: Iterable[str], sums: Row) -> Counts:
    counts = msgspec.convert(dict(zip(columns, sums, strict=True)), Counts)
    if not counts.attempts:
        counts.attempts = counts.deferred + counts.bounced
    return counts


_NOTHING = Counts()


def _by_status(points: Iterable[Point]) -> Iterable[Point]:
    """Each point as one for each status that any attempt had."""
    for point in points:
        left = point.counts.attempts
        for status in ("bounced", "deferred", "sent"):
            number = getattr(point.counts, status)
            left -= number
            if number:
                counts = Counts(**{"attempts": number, status: number})
                yield Point(point.at, status, counts)
        if left:
            yield Point(point.at, "other", Counts(attempts=left))


def _delays(at: int, sums: Sequence[int]) -> Delays:
    parts = [sums[part * CLASSES : (part + 1) * CLASSES] for part in range(PARTS)]
    return Delays(at, sum(parts[0]), *map(_percentiles, parts))


def _percentiles(classes: Sequence[int]) -> Percentiles:
    up_to = list(accumulate(classes))
    wanted = [up_to[-1] * percent / 100 for percent in (50, 90, 99)]
    return Percentiles(*(round(seconds_of(bisect_left(up_to, count)), 4) for count in wanted))


def _example(connection: Connection, scope: Scope, category: str, rule: str) -> str:
    """The last reply, among the last ones, that this rule knew."""
    manners = connection.execute(
        "SELECT m.id FROM manner m JOIN verdict v ON v.id = m.verdict_id"
        " WHERE v.category = ? AND v.rule = ?",
        (category, rule),
    ).fetchall()
    found = [
        row
        for (manner,) in manners
        if (row := connection.execute(*_of_example(manner, scope)).fetchone())
    ]
    return str(max(found)[1]) if found else ""


# The last one is looked at first, and no further than the first that fits: sorting them here would
# look at all.
_EXAMPLE = """
SELECT a.at, r.name FROM (
    SELECT at, entry_id, digest, copy, reason_id FROM attempt
    WHERE manner_id = ? AND reason_id IS NOT NULL AND at <= ? ORDER BY at DESC LIMIT ?
) a JOIN reason r ON r.id = a.reason_id
WHERE {} LIMIT 1
"""
_OF_ENTRY = "(SELECT {0}_id FROM entry WHERE id = a.entry_id) = (SELECT id FROM {0} WHERE name = ?)"
_OF_RELAY = """
(SELECT l.provider FROM attempt t JOIN relay l ON l.id = t.relay_id
    WHERE (t.entry_id, t.digest, t.copy) = (a.entry_id, a.digest, a.copy)) = ?
"""
_OF_PLACE = (
    ("client", _OF_ENTRY.format("client")),
    ("host", _OF_ENTRY.format("host")),
    ("provider", _OF_RELAY),
)


def _of_example(manner: Value, scope: Scope) -> Condition:
    given: list[Condition] = [
        (sql, [value]) for name, sql in _OF_PLACE if (value := getattr(scope, name)) is not None
    ]
    sql, values = where(given)
    until = 2**62 if scope.until is None else scope.until
    most = _LOOKED_AT if given else 1
    if scope.provider is not None:  # each is looked at where it lies
        most = _LOOKED_AT // 5
    return _EXAMPLE.format(sql), [manner, until, most, *values]


_OF_CLIENT = "t.client_id = (SELECT id FROM client WHERE name = ?)"


def _where(source: _Source, scope: Scope) -> Condition:
    length = HOUR if source.by_hour else DAY
    domain = None if scope.domain is None else address_key(f"@{scope.domain}")[1:]
    known: tuple[tuple[str, Value], ...] = (
        ("t.piece = ?", source.piece),
        ("t.at >= ?", None if scope.since is None else scope.since // length),
        ("t.at <= ?", None if scope.until is None else scope.until // length),
        ("t.domain = ?", domain),
        (_OF_CLIENT, scope.client),
        (
            "t.client_id = ?",
            0 if source.table == "counted_domain" and scope.client is None else None,
        ),
        ("t.host_id = (SELECT id FROM host WHERE name = ?)", scope.host),
        ("t.provider = ?", scope.provider),
    )
    return where([(sql, [value]) for sql, value in known if value is not None])
