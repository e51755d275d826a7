"""Alerts: what was found wrong, since when, whom it was told, and what it rests on.

Owns the table, and what is asked of the store for an alert: figures of now beside those of before,
and sample replies. What is wrong is decided elsewhere (`pda.alerts`). An alert and the messages
about it are written in one transaction, so that a restart neither repeats nor forgets one. Times
are µs since the epoch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

from pda.store import outbox
from pda.store.database import Connection, Row
from pda.store.names import number_of
from pda.store.queries.filters import Filter
from pda.store.queries.pages import Bounds, attempts_page
from pda.store.queries.stats import Counts, Group, Scope, series
from pda.store.tally import DAY, HOUR

Kind: TypeAlias = Literal[
    "bounces", "deferrals", "unclassified", "category", "no-mail", "no-lines", "disk", "database",
    "unacknowledged", "rules", "fault", "stopped", "test",
]  # fmt: skip
About: TypeAlias = Literal["client", "provider", "domain", "category", "service"]
Key: TypeAlias = tuple[Kind, About, str]
CLIENT = "pda-alerts"
"""Client id of our own mails: nothing is said about them."""

TABLES = (
    """
CREATE TABLE alert (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, about TEXT NOT NULL,
    name TEXT NOT NULL, raised_at INTEGER NOT NULL, calm_since INTEGER NOT NULL,
    sent_at INTEGER NOT NULL, cleared_at INTEGER NOT NULL, finding BLOB NOT NULL,
    samples BLOB NOT NULL
)
""",
    "CREATE INDEX alert_open ON alert (cleared_at, raised_at)",
)
_COLUMNS = "id, raised_at, calm_since, sent_at, cleared_at, finding, samples"
_MOST_KEPT = 1000
_BASELINE_DAYS = 7
_LOOKED_AT = 200
_MOST_SAMPLES = 3
_BOUNDS = Bounds(entries=100_000, seconds=2.0)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with whom, and how much."""

    kind: Kind
    about: About = "service"
    name: str = ""
    """Of the client, provider, domain or category; of a fault where it was logged."""
    value: float = 0.0
    """A share (0–1) of mails, a number of failures, seconds, or the free share of a disk."""
    limit: float = 0.0
    """From which on it is wrong."""
    usual: float | None = None
    """What it was in the days before; None where too little is known."""
    count: int = 0
    of: int = 0
    """The share as numbers."""
    text: str = ""
    """What else is to be said."""

    @property
    def key(self) -> Key:
        """What makes it the same alert."""
        return self.kind, self.about, self.name


class Sample(msgspec.Struct, frozen=True):
    """Failures for the same reason."""

    count: int
    category: str
    rule: str
    domain: str
    reply: str
    """The last one."""


class Alert(msgspec.Struct, frozen=True):
    """Something wrong, open until `cleared_at`."""

    id: int
    """0: it is not stored yet."""
    raised_at: int
    calm_since: int
    """Since when it is not so any more; 0 while it is."""
    sent_at: int
    """When it was told last."""
    cleared_at: int
    """0 while it is open."""
    finding: Finding
    samples: list[Sample]


class Message(msgspec.Struct, frozen=True):
    """What is to be sent about alerts."""

    channel: str
    body: bytes


class NoteAlerts(msgspec.Struct, frozen=True):
    """Stores alerts as they are now, and what is to be sent about them."""

    alerts: list[Alert]
    messages: list[Message]

    def write(self, connection: Connection, at: int) -> list[int]:
        """Their numbers, in order."""
        numbers = [_write(connection, alert) for alert in self.alerts]
        for message in self.messages:
            outbox.put(connection, message.channel, message.body, at)
        connection.execute(
            "DELETE FROM alert WHERE cleared_at > 0 AND id <= (SELECT max(id) FROM alert) - ?",
            (_MOST_KEPT,),
        )
        return numbers

    def deed(self, result: list[int]) -> None:
        """Nobody's."""


def _write(connection: Connection, alert: Alert) -> int:
    finding, encode = alert.finding, msgspec.json.encode
    connection.execute(
        f"INSERT OR REPLACE INTO alert (kind, about, name, {_COLUMNS})"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (finding.kind, finding.about, finding.name, alert.id or None, alert.raised_at,
         alert.calm_since, alert.sent_at, alert.cleared_at, bytearray(encode(finding)),
         bytearray(encode(alert.samples))),
    )  # fmt: skip
    return number_of(connection.execute("SELECT last_insert_rowid()").fetchall()[0][0])


def open_alerts(connection: Connection) -> list[Alert]:
    """Those that are not cleared."""
    sql = f"SELECT {_COLUMNS} FROM alert WHERE cleared_at = 0 ORDER BY id"
    return [_alert(row) for row in connection.execute(sql).fetchall()]


def in_force(connection: Connection, client: str | None = None, limit: int = 20) -> list[Alert]:
    """The latest of those that are not cleared, or of those about one client."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM alert WHERE cleared_at = 0"
        " AND (?1 IS NULL OR (about = 'client' AND name = ?1)) ORDER BY raised_at DESC LIMIT ?2",
        (client, limit),
    ).fetchall()
    return [_alert(row) for row in rows]


def alerts(connection: Connection, client: str | None = None, limit: int = 100) -> list[Alert]:
    """The open ones and then the others, latest first; or those about one client."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM alert"
        " WHERE ?1 IS NULL OR (about = 'client' AND name = ?1)"
        " ORDER BY cleared_at > 0, raised_at DESC, id DESC LIMIT ?2",
        (client, limit),
    ).fetchall()
    return [_alert(row) for row in rows]


def _alert(row: Row) -> Alert:
    *numbers, finding, samples = row
    number, raised_at, calm_since, sent_at, cleared_at = map(number_of, numbers)
    assert isinstance(finding, bytes)
    assert isinstance(samples, bytes)
    return Alert(
        number,
        raised_at,
        calm_since,
        sent_at,
        cleared_at,
        finding=msgspec.json.decode(finding, type=Finding),
        samples=msgspec.json.decode(samples, type=list[Sample]),
    )


# --- what alerts are made of ----------------------------------------------------------------------


class Pair(msgspec.Struct, frozen=True):
    """What was counted of one client, provider, domain or category, lately and before."""

    about: About
    name: str
    now: Counts
    before: Counts


class Figures(msgspec.Struct, frozen=True):
    """What alerts about mail rest on."""

    pairs: list[Pair]
    hours: dict[int, int]
    """Messages and attempts by hour (its beginning); hours without any are left out."""


class Span(msgspec.Struct, frozen=True):
    """The time that is looked at, and the one before with which it is compared."""

    since: int
    until: int
    step: int

    @classmethod
    def ending(cls, now: int, step: int) -> Span:
        """The last whole hour or day, and the one that goes on."""
        return cls(now // step * step - step, now, step)

    @property
    def before(self) -> tuple[int, int]:
        """The first and the last moment of the time before."""
        return self.since - _BASELINE_DAYS * DAY, self.since - 1

    @property
    def baseline_is(self) -> float:
        """How many times as long the time before is."""
        return _BASELINE_DAYS * DAY / (self.until - self.since)


def span_of(about: About, now: int) -> Span:
    """Domains and categories are counted by day, the others by hour."""
    return Span.ending(now, DAY if about in ("domain", "category") else HOUR)


def figures(connection: Connection, now: int) -> Figures:
    """All that is compared, as of now."""
    groups: tuple[Group, ...] = ("client", "provider", "domain", "category")
    pairs = [pair for group in groups for pair in _pairs(connection, group, now)]
    scope = Scope(since=now - (_BASELINE_DAYS + 1) * DAY, until=now)
    hours = {
        point.at: point.counts.messages + point.counts.attempts
        for point in series(connection, scope, "hour")
    }
    return Figures(pairs, hours)


def _pairs(connection: Connection, about: Group, now: int) -> list[Pair]:
    assert about in ("client", "provider", "domain", "category")
    span = span_of(about, now)
    since, until = span.before
    lately = Scope(since=span.since, until=span.until)
    earlier = Scope(since=since, until=until)
    found = {one.group: one.counts for one in series(connection, lately, "whole", about)}
    known = {one.group: one.counts for one in series(connection, earlier, "whole", about)}
    return [Pair(about, name, counts, known.get(name, Counts())) for name, counts in found.items()]


def samples(connection: Connection, finding: Finding, now: int) -> list[Sample]:
    """The most frequent reasons behind it, each with its last reply, as logged."""
    wanted = _failures_of(finding, span_of(finding.about, now).since)
    if wanted is None:
        return []
    page = attempts_page(connection, wanted, limit=_LOOKED_AT, bounds=_BOUNDS)
    counts = Counter((row.category or "", row.rule or "") for row in page.rows)
    newest = {(row.category or "", row.rule or ""): row for row in reversed(page.rows)}
    return [
        Sample(count, *reason, newest[reason].recipient.rpartition("@")[2], newest[reason].reason)
        for reason, count in counts.most_common(_MOST_SAMPLES)
    ]


def _failures_of(finding: Finding, since: int) -> Filter | None:
    whose = {finding.about: finding.name} if finding.about != "service" else {}
    statuses = {"bounces": "bounced", "deferrals": "deferred"}
    if finding.kind in statuses:
        return Filter(**whose, status=statuses[finding.kind], since=since)  # type: ignore[arg-type]
    if finding.kind in ("category", "unclassified"):
        return Filter(**whose, since=since)  # type: ignore[arg-type]
    return None


def latest(found: Sequence[Alert]) -> dict[Key, Alert]:
    """By what makes them the same."""
    return {alert.finding.key: alert for alert in found}
