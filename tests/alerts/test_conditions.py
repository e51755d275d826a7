"""What is wrong: tables of figures, and properties of the course of an alert."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pda.alerts.conditions import (
    MAIL,
    Grade,
    Reading,
    Vitals,
    read_mail,
    read_service,
    read_silence,
)
from pda.alerts.course import calm, steps
from pda.config import AlertSettings
from pda.store.alerts import CLIENT, Alert, Figures, Finding, Pair
from pda.store.queries.stats import Counts
from pda.store.tally import DAY, HOUR

LIMITS = AlertSettings()
NOW = 20_000 * DAY + 12 * HOUR + HOUR // 2
WRONG, UNSURE, RIGHT = Grade.WRONG, Grade.UNSURE, Grade.RIGHT


def counts(sent: int = 0, bounced: int = 0, deferred: int = 0) -> Counts:
    return Counts(attempts=sent + bounced + deferred, sent=sent, bounced=bounced, deferred=deferred)


def pair(
    now: Counts, before: Counts | None = None, about: Any = "client", name: str = "shop"
) -> Pair:
    return Pair(about, name, now, before or Counts())


def grade(kind: str, *pairs: Pair, **limits: Any) -> Grade | None:
    readings = read_mail(Figures(list(pairs), {}), msgspec.structs.replace(LIMITS, **limits), NOW)
    found = [one.grade for one in readings if one.finding.kind == kind]
    return found[0] if found else None


@pytest.mark.parametrize(
    ("now", "before", "wanted"),
    [
        # above the threshold
        (counts(sent=90, bounced=10), None, WRONG),
        (counts(sent=92, bounced=8), None, UNSURE),
        (counts(sent=94, bounced=6), None, RIGHT),
        # too few to say so
        (counts(sent=1, bounced=1), None, UNSURE),
        (counts(sent=30, bounced=19), None, UNSURE),
        (counts(sent=10), None, RIGHT),
        (counts(), None, RIGHT),
        # what is deferred is not sent yet
        (counts(sent=90, bounced=10, deferred=900), None, WRONG),
        # above what is usual: 1 %, three times of it from a quarter of the threshold on
        (counts(sent=960, bounced=40), counts(sent=9900, bounced=100), WRONG),
        (counts(sent=975, bounced=25), counts(sent=9900, bounced=100), UNSURE),
        (counts(sent=980, bounced=20), counts(sent=9900, bounced=100), RIGHT),
        (counts(sent=980, bounced=20), counts(sent=10_000), UNSURE),
        (counts(sent=970, bounced=30), counts(sent=10_000), WRONG),
        # what was known before is too little
        (counts(sent=960, bounced=40), counts(sent=10), RIGHT),
        # usual, and above the threshold all the same
        (counts(sent=80, bounced=20), counts(sent=8000, bounced=2000), WRONG),
    ],
)
def test_bounces(now: Counts, before: Counts | None, wanted: Grade) -> None:
    assert grade("bounces", pair(now, before)) is wanted


def test_what_can_be_switched_off() -> None:
    much = pair(counts(sent=50, bounced=500, deferred=5000))
    assert grade("bounces", much, bounce_percent=0) is None
    assert grade("deferrals", much, deferral_percent=0) is None
    some = pair(counts(sent=960, bounced=40), counts(sent=9900, bounced=100))
    assert grade("bounces", some, bounce_times=0) is RIGHT
    unknown = pair(counts(bounced=500), about="category", name="undetermined")
    assert grade("unclassified", unknown, unclassified_percent=0) is None


def test_of_whom_nothing_is_said() -> None:
    bad = counts(bounced=500)
    assert grade("bounces", pair(bad, name=CLIENT)) is None
    assert grade("bounces", pair(bad, about="provider", name="")) is None
    assert grade("bounces", pair(bad, name="")) is WRONG  # mail without client id


@pytest.mark.parametrize(
    ("now", "before", "wanted"),
    [(5, 0, WRONG), (4, 0, UNSURE), (3, 0, RIGHT), (20, 700, RIGHT), (2000, 700, WRONG)],
)
def test_a_category_that_appears(now: int, before: int, wanted: Grade) -> None:
    found = pair(counts(bounced=now), counts(bounced=before), "category", "blocklisted")
    assert grade("category", found) is wanted
    other = pair(counts(bounced=now), None, "category", "mailbox-full")
    assert grade("category", other) is None


@pytest.mark.parametrize(
    ("unknown", "known", "wanted"),
    [(30, 70, WRONG), (25, 75, UNSURE), (10, 90, RIGHT), (9, 1, UNSURE)],
)
def test_unclassified(unknown: int, known: int, wanted: Grade) -> None:
    pairs = [
        pair(counts(bounced=unknown), None, "category", "undetermined"),
        pair(counts(deferred=known), None, "category", "greylisted"),
    ]
    assert grade("unclassified", *pairs) is wanted


def silence(
    hours: dict[int, int], now: int = NOW, line_at: int = 0, started_at: int = NOW - 10 * DAY
) -> dict[str, Grade]:
    return silence_within(LIMITS, hours, now, line_at, started_at)


def silence_within(
    limits: AlertSettings, hours: dict[int, int], now: int, line_at: int, started_at: int
) -> dict[str, Grade]:
    vitals = Vitals(last_line_at=line_at, started_at=started_at)
    found = read_silence(hours, vitals, limits, now)
    return {one.finding.kind: one.grade for one in found}


EVERY_DAY = {(NOW - day * DAY) // HOUR * HOUR - HOUR: 40 for day in range(1, 8)}
NOW_TOO = EVERY_DAY | {NOW // HOUR * HOUR: 1}


def test_silence_is_told_apart() -> None:
    assert silence(EVERY_DAY) == {"no-lines": WRONG, "no-mail": RIGHT}
    assert silence(EVERY_DAY, line_at=NOW - HOUR) == {"no-lines": RIGHT, "no-mail": WRONG}
    assert silence(NOW_TOO, line_at=NOW) == {"no-lines": RIGHT, "no-mail": RIGHT}
    # an import beside it shows that mail is sent, if by another way
    assert silence(NOW_TOO) == {"no-lines": RIGHT, "no-mail": RIGHT}


def test_silence_that_is_usual_is_no_alert() -> None:
    assert silence({}) == {"no-lines": UNSURE, "no-mail": RIGHT}
    weekdays = dict(list(EVERY_DAY.items())[:4])
    assert silence(weekdays)["no-lines"] is UNSURE
    night = NOW + 10 * HOUR
    assert silence(EVERY_DAY, night)["no-lines"] is UNSURE


def test_less_than_an_hour_is_usual_where_the_whole_hour_before_is() -> None:
    limits, now = AlertSettings(silence_h=0.1), NOW + HOUR // 3
    silent = silence_within(limits, EVERY_DAY, now, NOW, NOW - DAY)
    assert silent == {"no-lines": WRONG, "no-mail": RIGHT}
    heard = silence_within(limits, EVERY_DAY, now, now - 1, NOW - DAY)
    assert heard == {"no-lines": RIGHT, "no-mail": WRONG}


def test_who_has_just_started_has_heard_nothing_yet() -> None:
    assert silence(EVERY_DAY, started_at=NOW - HOUR)["no-lines"] is UNSURE


@pytest.mark.parametrize(
    ("vitals", "kind", "wanted"),
    [
        (Vitals(), "database", RIGHT),
        (Vitals(problem="the disk is full"), "database", WRONG),
        (Vitals(free_share=0.05), "disk", WRONG),
        (Vitals(free_share=0.11), "disk", UNSURE),
        (Vitals(free_share=0.2), "disk", RIGHT),
        (Vitals(unacknowledged_s=301), "unacknowledged", WRONG),
        (Vitals(unacknowledged_s=250), "unacknowledged", UNSURE),
        (Vitals(), "unacknowledged", RIGHT),
        (Vitals(refused_rules="line 3"), "rules", WRONG),
        (Vitals(), "rules", RIGHT),
        (Vitals(faults={"pda.web": "it failed"}), "fault", WRONG),
    ],
)
def test_the_service_itself(vitals: Vitals, kind: str, wanted: Grade) -> None:
    found = {one.finding.kind: one.grade for one in read_service(vitals, LIMITS)}
    assert found[kind] is wanted  # type: ignore[index]


# --- the course of an alert -----------------------------------------------------------------------

MINUTE = 60_000_000
REPEAT = 24 * HOUR


def course(grades: list[Grade | None], every: int = 5 * MINUTE) -> list[tuple[int, str]]:
    """When what is told, in minutes, where a condition is looked at so often."""
    known: dict[Any, Alert] = {}
    told: list[tuple[int, str]] = []
    for number, one in enumerate(grades):
        now = NOW + number * every
        finding = Finding(kind="bounces", about="client", name="shop", value=number)
        readings = [] if one is None else [Reading(finding, one)]
        for step in steps(known, readings, MAIL, now, REPEAT):
            known[finding.key] = step.alert
            if step.news:
                told.append((number * every // MINUTE, step.news))
            if step.alert.cleared_at:
                del known[finding.key]
    return told


@pytest.mark.parametrize(
    ("grades", "told"),
    [
        ([RIGHT, UNSURE, None], []),
        ([WRONG] * 20, [(0, "raised")]),
        ([WRONG, UNSURE] * 20, [(0, "raised")]),
        ([WRONG] + [RIGHT] * 10, [(0, "raised"), (35, "cleared")]),
        ([WRONG] + [None] * 10, [(0, "raised"), (35, "cleared")]),
        ([WRONG] + [RIGHT] * 5 + [UNSURE] + [RIGHT] * 6, [(0, "raised")]),
        ([WRONG, RIGHT] * 50, [(0, "raised")]),
        ([WRONG] * 600, [(0, "raised"), (24 * 60, "still"), (48 * 60, "still")]),
    ],
)
def test_course(grades: list[Grade | None], told: list[tuple[int, str]]) -> None:
    assert course(grades) == told


@given(st.lists(st.sampled_from([WRONG, UNSURE, RIGHT, None]), max_size=400))
def test_whatever_happens(grades: list[Grade | None]) -> None:
    """Raised and cleared take turns; nothing is told more often than the intervals allow."""
    told = course(grades)
    turns = [news for _, news in told if news != "still"]
    assert turns == ["raised", "cleared"] * (len(turns) // 2) + ["raised"] * (len(turns) % 2)
    for (before, _), (after, news) in pairwise(told):
        least = {"cleared": calm("bounces") // MINUTE, "still": 24 * 60, "raised": 5}[news]
        assert after - before >= least


def test_what_was_not_looked_for_stays() -> None:
    alert = Alert(1, NOW, 0, NOW, 0, Finding(kind="bounces"), [])
    known = {alert.finding.key: alert}
    assert steps(known, [], ["disk"], NOW + DAY // 2, REPEAT) == []


def test_nobody_is_told_that_a_fault_has_not_happened_again() -> None:
    alert = Alert(1, NOW, NOW, NOW, 0, Finding(kind="fault"), [])
    (step,) = steps({alert.finding.key: alert}, [], ["fault"], NOW + 25 * HOUR, REPEAT)
    assert (step.news, bool(step.alert.cleared_at)) == ("", True)
