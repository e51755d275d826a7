"""What is wrong: figures of now and of before → readings.

Owns every condition and its two limits: from which on something is wrong, and below which it is
right again; in between nothing changes. Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Literal, TypeAlias

import msgspec

from pda.config import AlertSettings
from pda.store.alerts import CLIENT, Figures, Finding, Kind, Pair, span_of
from pda.store.queries.stats import Counts
from pda.store.tally import DAY, HOUR

MAIL: frozenset[Kind] = frozenset(
    ["bounces", "deferrals", "unclassified", "category", "no-mail", "no-lines"]
)
"""What is found in the figures."""
SERVICE: frozenset[Kind] = frozenset(["disk", "database", "unacknowledged", "rules", "fault"])
"""What is found in the service itself."""
UNDETERMINED = "undetermined"
OTHER = "other"
"""Whoever is no provider that is known by name: of these the domains tell more."""
_Share: TypeAlias = Literal["bounces", "deferrals"]
_CALM = 0.7
"""Of a limit: below it all is well again."""
_LEAST_SHARE = 0.25
"""Of a limit in percent: below it nothing is wrong, however much more than usual it is."""
_FEW = 5
"""Failures: fewer are chance."""
_DAYS_WITH_MAIL = 5
"""Of the last seven: then mail is usual at this time of the day."""


class Grade(Enum):
    """What a reading says of an alert."""

    WRONG = "wrong"
    UNSURE = "unsure"
    """Neither: an open alert stays open."""
    RIGHT = "right"


class Reading(msgspec.Struct, frozen=True):
    """What was found, and whether it is wrong."""

    finding: Finding
    grade: Grade


class Vitals(msgspec.Struct, frozen=True, kw_only=True):
    """How the service itself is. Times are µs since the epoch."""

    last_line_at: int = 0
    """0: none came since the start."""
    started_at: int = 0
    listens: bool = True
    problem: str = ""
    refused_rules: str = ""
    free_share: float = 1.0
    """Of the disk that holds the database."""
    unacknowledged_s: float = 0.0
    """How long the oldest line that is not stored has waited."""
    faults: dict[str, str] = {}
    """What was logged as an error since the last reading, by where."""


def read_mail(figures: Figures, limits: AlertSettings, now: int) -> list[Reading]:
    """All that figures say."""
    readings = [one for pair in figures.pairs for one in _of_pair(pair, limits, now)]
    readings += _unclassified(figures.pairs, limits)
    return readings


def read_service(vitals: Vitals, limits: AlertSettings) -> list[Reading]:
    """What the service says of itself, but for silence."""
    readings = [_read(Finding(kind="database", text=vitals.problem), wrong=bool(vitals.problem))]
    if limits.disk_free_percent:
        limit = limits.disk_free_percent / 100
        finding = Finding(kind="disk", value=vitals.free_share, limit=limit)
        readings.append(Reading(finding, _grade(-vitals.free_share, -limit, -limit * 1.2)))
    if limits.unacknowledged_s:
        age, limit = vitals.unacknowledged_s, limits.unacknowledged_s
        finding = Finding(kind="unacknowledged", value=age, limit=limit)
        readings.append(Reading(finding, _grade(age, limit, limit * _CALM)))
    if limits.faults:
        refused = vitals.refused_rules
        readings.append(_read(Finding(kind="rules", text=refused), wrong=bool(refused)))
        for where, text in vitals.faults.items():
            readings.append(_read(Finding(kind="fault", name=where, text=text), wrong=True))
    return readings


def read_silence(
    hours: dict[int, int], vitals: Vitals, limits: AlertSettings, now: int
) -> list[Reading]:
    """No mail, or not even log lines, at a time of the day at which both are usual."""
    length = int(limits.silence_h * HOUR)
    if not length or not vitals.listens:
        return []
    before = max(length, HOUR)  # what was usual is known by whole hours only
    usual = sum(
        _mails(hours, now - days * DAY, before, begun=False) > 0 for days in range(1, 8)
    ) >= _DAYS_WITH_MAIL  # fmt: skip
    mail = _mails(hours, now, length, begun=True) > 0
    heard_at = max(vitals.last_line_at, vitals.started_at)
    lines = vitals.last_line_at >= now - length or mail
    unknown = now - vitals.started_at < length and not lines
    found: list[tuple[Literal["no-lines", "no-mail"], bool, bool]] = [
        ("no-lines", not lines, lines),
        ("no-mail", lines and not mail, mail or not lines),
    ]
    return [
        Reading(
            Finding(kind=kind, value=(now - heard_at) / 1e6, limit=length / 1e6),
            Grade.RIGHT if right
            else Grade.WRONG if wrong and usual and not unknown else Grade.UNSURE,
        )
        for kind, wrong, right in found
    ]  # fmt: skip


def _mails(hours: dict[int, int], until: int, length: int, *, begun: bool) -> int:
    """In all hours of a time up to a moment; the one that has just `begun` counts or not."""
    since, last = (until - length) // HOUR * HOUR, until // HOUR * HOUR
    return sum(hours.get(at, 0) for at in range(since, last + begun, HOUR))


def _of_pair(pair: Pair, limits: AlertSettings, now: int) -> Iterator[Reading]:
    if pair.about == "category":
        if pair.name in limits.alarming:
            yield _appearing(pair, limits, now)
        return
    of_ours = pair.about == "client" and pair.name == CLIENT
    nobody = pair.about != "client" and pair.name in ("", OTHER)
    if of_ours or nobody:
        return
    if limits.bounce_percent:
        yield _share(pair, "bounces", limits)
    if limits.deferral_percent:
        yield _share(pair, "deferrals", limits)


def _share(pair: Pair, kind: _Share, limits: AlertSettings) -> Reading:
    """A share of mails against a threshold and against what is usual here."""
    (count, of), (before, of_before) = _of_kind(kind, pair.now), _of_kind(kind, pair.before)
    usual = before / of_before if of_before >= limits.least else None
    limit = _limit(kind, usual, limits)
    value = count / of if of else 0.0
    finding = Finding(
        kind=kind, about=pair.about, name=pair.name,
        value=value, limit=limit, usual=usual, count=count, of=of,
    )  # fmt: skip
    enough = of >= limits.least and count >= _FEW
    return Reading(finding, _grade(value, limit, limit * _CALM, enough=enough))


def _limit(kind: _Share, usual: float | None, limits: AlertSettings) -> float:
    """So many times what is usual, but no more than the threshold and no less than a part of it."""
    of_bounces = kind == "bounces"
    threshold = (limits.bounce_percent if of_bounces else limits.deferral_percent) / 100
    times = limits.bounce_times if of_bounces else limits.deferral_times
    if usual is None or not times:
        return threshold
    return min(threshold, max(times * usual, threshold * _LEAST_SHARE))


def _of_kind(kind: _Share, counts: Counts) -> tuple[int, int]:
    """How many of how many. Who is deferred is tried again, so that each attempt counts there."""
    if kind == "bounces":
        return counts.bounced, counts.sent + counts.bounced
    return counts.deferred, counts.attempts


def _appearing(pair: Pair, limits: AlertSettings, now: int) -> Reading:
    """Failures of a category that there should be none of."""
    count = pair.now.attempts
    usual = pair.before.attempts / span_of("category", now).baseline_is
    limit = max(_FEW, usual * limits.bounce_times)
    finding = Finding(
        kind="category", about="category", name=pair.name,
        value=count, limit=limit, usual=usual, count=count,
    )  # fmt: skip
    return Reading(finding, _grade(count, limit, limit * _CALM))


def _unclassified(pairs: Iterable[Pair], limits: AlertSettings) -> Iterator[Reading]:
    """Of all failures those that no rule knows."""
    failures = {pair.name: pair.now.attempts for pair in pairs if pair.about == "category"}
    of, count = sum(failures.values()), failures.get(UNDETERMINED, 0)
    if of and limits.unclassified_percent:
        limit, value = limits.unclassified_percent / 100, count / of
        finding = Finding(
            kind="unclassified", about="category", name=UNDETERMINED,
            value=value, limit=limit, count=count, of=of,
        )  # fmt: skip
        enough = of >= limits.least
        yield Reading(finding, _grade(value, limit, limit * _CALM, enough=enough))


def _grade(value: float, wrong: float, right: float, *, enough: bool = True) -> Grade:
    """Wrong from one limit on, where there is enough of it; right below the other one."""
    if value >= wrong and enough:
        return Grade.WRONG
    return Grade.RIGHT if value < right else Grade.UNSURE


def _read(finding: Finding, *, wrong: bool) -> Reading:
    return Reading(finding, Grade.WRONG if wrong else Grade.RIGHT)
