"""Counts, rates and delays over time.

Attempts are counted when they were made, outcomes when they came into their state, as that is now;
a message when it arrived. What only hands a message on to another queue entry known here is no
attempt and no outcome. Hours and days are those of UTC, and always whole: a time range is widened
to them.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from pda.maillog.events import State
from pda.store.database import Connection, Value
from pda.store.queries.filters import Condition, where

Step: TypeAlias = Literal["hour", "day", "whole"]
Group: TypeAlias = Literal["", "client", "domain", "provider", "host", "category", "status"]
What: TypeAlias = Literal["client", "domain", "provider", "host", "category", "reason"]

HOUR = 3_600_000_000
DAY = 24 * HOUR


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What is counted; None stands for all."""

    client: str | None = None
    host: str | None = None
    domain: str | None = None
    """Of the recipient. Domains are kept by day."""
    provider: str | None = None
    since: int | None = None
    until: int | None = None
    """Both inclusive."""


class Counts(msgspec.Struct, kw_only=True):
    """How many of each."""

    messages: int = 0
    """Taken in; not counted by domain, provider, category or status."""
    attempts: int = 0
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
    """Seconds, to about a tenth: half, nine tenths, 99 of 100 took no longer."""

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


_STATES = tuple(state for state in State if state is not State.HANDED_ON)
_STATUS = {"sent": "sent", "deferred": "deferred", "bounced": "bounced"}
_DOMAIN = "lower(substr({}, instr({}, '@') + 1))"
_ATTEMPT_GROUPS: dict[str, str] = {
    "": "''", "client": "c.name", "host": "h.name", "provider": "r.provider",
    "category": "coalesce(v.category, '')", "status": "m.status",
    "domain": _DOMAIN.format("a.recipient", "a.recipient"), "reason": "coalesce(v.rule, '')",
}  # fmt: skip
_OUTCOME_GROUPS = _ATTEMPT_GROUPS | {
    "provider": "''", "status": "''",
    "domain": _DOMAIN.format("o.recipient", "o.recipient"),
}  # fmt: skip
_ATTEMPTS = """
FROM attempt a JOIN entry e ON e.id = a.entry_id JOIN host h ON h.id = e.host_id
    JOIN client c ON c.id = e.client_id JOIN relay r ON r.id = a.relay_id
    JOIN manner m ON m.id = a.manner_id LEFT JOIN verdict v ON v.id = m.verdict_id
"""
_OUTCOMES = """
FROM outcome o JOIN entry e ON e.id = o.entry_id JOIN host h ON h.id = e.host_id
    JOIN client c ON c.id = e.client_id LEFT JOIN verdict v ON v.id = o.verdict_id
"""


def series(
    connection: Connection, scope: Scope, step: Step = "hour", group: Group = ""
) -> list[Point]:
    """What was counted in each step, by time and group; a step without anything is left out.

    By domain and hour there is nothing: raises `ValueError`.
    """
    if step == "hour" and (group == "domain" or scope.domain is not None):
        raise ValueError("domains are counted by day, not by hour")
    found = _counted(connection, scope, step, group)
    return [Point(at, name, counts) for (at, name), counts in sorted(found.items())]


def top(connection: Connection, scope: Scope, what: What, limit: int = 20) -> list[Top]:
    """Those with the most attempts; of categories and reasons those with the most failures."""
    found = _counted(connection, scope, "whole", what)
    ranked = sorted(found.items(), key=lambda item: (-item[1].attempts, item[0]))
    return [Top(name, counts) for (_, name), counts in ranked[:limit]]


def delays(connection: Connection, scope: Scope, step: Step = "whole") -> list[Delays]:
    """Percentiles in each step, by time. Raises `ValueError` as `series` does."""
    if step == "hour" and scope.domain is not None:
        raise ValueError("domains are counted by day, not by hour")
    sql, values = _where(scope, "a.at", "a.recipient")
    rows = connection.execute(
        f"SELECT {_step('a.at', step)}, a.delay, a.delays {_ATTEMPTS} WHERE {sql}"
        " AND m.status = 'sent'",
        values,
    ).fetchall()
    found: dict[int, list[list[float]]] = {}
    for at, delay, parts in rows:
        assert isinstance(at, int)
        each = [float(part) for part in str(parts or "0/0/0/0").split("/")]
        found.setdefault(at, []).append([float(str(delay)), *each])
    return [
        Delays(at, len(rows), *(_percentiles(sorted(part)) for part in zip(*rows, strict=True)))
        for at, rows in sorted(found.items())
    ]


def _percentiles(values: list[float]) -> Percentiles:
    return Percentiles(
        *(values[min(len(values) - 1, len(values) * n // 100)] for n in (50, 90, 99))
    )


def _counted(
    connection: Connection, scope: Scope, step: Step, group: str
) -> dict[tuple[int, str], Counts]:
    found: dict[tuple[int, str], Counts] = {}
    sql, values = _where(scope, "a.at", "a.recipient")
    failed = " AND v.id IS NOT NULL" if group in ("category", "reason") else ""
    for at, name, status, number in connection.execute(
        f"SELECT {_step('a.at', step)}, {_ATTEMPT_GROUPS[group]}, m.status, count(*) {_ATTEMPTS}"
        f" WHERE {sql}{failed} GROUP BY 1, 2, 3",
        values,
    ).fetchall():
        counts = _counts(found, at, name)
        assert isinstance(number, int)
        counts.attempts += number
        if member := _STATUS.get(str(status)):
            setattr(counts, member, getattr(counts, member) + number)
    if group == "status" or scope.provider is not None or group == "provider":
        return found
    sql, values = _where(scope, "o.last_at", "o.recipient")
    for at, name, state, number in connection.execute(
        f"SELECT {_step('o.last_at', step)}, {_OUTCOME_GROUPS[group]}, o.state, count(*)"
        f" {_OUTCOMES}"
        f" WHERE {sql}{failed} AND o.state <> {State.HANDED_ON:d} GROUP BY 1, 2, 3",
        values,
    ).fetchall():
        assert isinstance(state, int)
        setattr(_counts(found, at, name), State(state).name.lower(), number)
    return found


def _counts(found: dict[tuple[int, str], Counts], at: Value, name: Value) -> Counts:
    assert isinstance(at, int)
    return found.setdefault((at, str(name)), Counts())


def _step(column: str, step: Step) -> str:
    length = {"hour": HOUR, "day": DAY, "whole": 0}[step]
    return f"{column} / {length} * {length}" if length else "0"


def _where(scope: Scope, at: str, recipient: str) -> Condition:
    known = (
        ("c.name = ?", scope.client),
        ("h.name = ?", scope.host),
        ("r.provider = ?", scope.provider),
        (f"{_DOMAIN.format(recipient, recipient)} = lower(?)", scope.domain),
        (f"{at} >= ? / {HOUR} * {HOUR}", scope.since),
        (f"{at} <= ?", scope.until),
    )
    return where([(sql, [value]) for sql, value in known if value is not None])
