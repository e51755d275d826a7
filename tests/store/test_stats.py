"""Statistics: what was counted, by time, by group, and within a scope."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pda.store import queries
from pda.store.queries import Counts, Filter, Group, Scope, StatsError, Step, What
from tests.support import Store, attempt, message

GOOGLE = "gmail-smtp-in.l.google.com[142.250.102.27]:25"
UNKNOWN = "host mx.example.org[192.0.2.1] said: 550 5.1.1 user unknown"


def queue_id(number: int) -> str:
    return f"4jXPlN1V{number:04d}zJbS"


def lines(number: int) -> list[bytes]:
    """A message of one of two clients: sent to one recipient, and refused by another."""
    name, at = queue_id(number), f"2026-03-1{number % 3}T1{number % 4}:00"
    sent = attempt("sent", queue_id=name, to=f"a{number}@G.example", at=f"{at}:01.5+00:00")
    return message(
        name,
        message_id=f"<98494.{number}.1@shop{number % 2}>",
        deliveries=[
            sent.replace(b"mx.example.org[192.0.2.1]:25", GOOGLE.encode()),
            attempt("bounced", queue_id=name, to="b@x.example", dsn="5.1.1", reason=UNKNOWN,
                    at=f"{at}:02.5+00:00", delay="2.5"),
            attempt("deferred", queue_id=name, to="c@x.example", dsn="4.4.1", delay="3.5",
                    reason="connection timed out", at=f"{at}:03.5+00:00"),
        ],
    )  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(tmp_path_factory.mktemp("stats"))
    for number in range(24):
        store.add(lines(number))
    yield store
    store.close()


def moment(day: int, hour: int = 0) -> int:
    return int(datetime(2026, 3, day, hour, tzinfo=UTC).timestamp()) * 1_000_000


def series(store: Store, scope: Scope, step: Step, group: Group = "") -> dict[Any, Counts]:
    with store.reading() as connection:
        points = queries.series(connection, scope, step, group)
    return {(point.at, point.group): point.counts for point in points}


def top(store: Store, scope: Scope, what: What) -> dict[str, int]:
    with store.reading() as connection:
        return {one.name: one.counts.attempts for one in queries.top(connection, scope, what)}


def test_the_whole(store: Store) -> None:
    assert series(store, Scope(), "whole") == {
        (0, ""): Counts(
            messages=24, attempts=72, sent=24, bounced=24, deferred=24, delivered=24,
            hard_bounce=24, pending=24,
        )
    }  # fmt: skip


@pytest.mark.parametrize("step", ["hour", "day"])
def test_steps_hold_together_what_the_whole_has(store: Store, step: Step) -> None:
    points = series(store, Scope(), step)
    assert len(points) == {"hour": 12, "day": 3}[step]
    assert sum(counts.attempts for counts in points.values()) == 72
    length = {"hour": 3_600_000_000, "day": 86_400_000_000}[step]
    assert all(at % length == 0 for at, _ in points)


def test_a_time_range_is_whole_hours_or_days(store: Store) -> None:
    scope = Scope(since=moment(11, 13) + 1, until=moment(11, 13) + 2)
    assert {at for at, _ in series(store, scope, "hour")} == {moment(11, 13)}
    assert {at for at, _ in series(store, scope, "day")} == {moment(11)}
    assert series(store, scope, "whole")[0, ""].attempts == 6
    assert series(store, Scope(since=moment(12), until=moment(30)), "whole")[0, ""].attempts == 24


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("client", {"shop0", "shop1"}),
        ("host", {"mx1"}),
        ("provider", {"google", "other"}),
        ("domain", {"g.example", "x.example"}),
        ("category", {"invalid-recipient", "no-answer"}),
        ("status", {"sent", "deferred", "bounced"}),
    ],
)
def test_groups(store: Store, group: Group, names: set[str]) -> None:
    found = series(store, Scope(), "day", group)
    assert {name for _, name in found} == names
    expected = 48 if group == "category" else 72
    assert sum(counts.attempts for counts in found.values()) == expected


@pytest.mark.parametrize(
    ("scope", "attempts"),
    [
        (Scope(client="shop0"), 36),
        (Scope(client="nobody"), 0),
        (Scope(host="mx1"), 72),
        (Scope(host="mx2"), 0),
        (Scope(provider="google"), 24),
        (Scope(domain="X.example"), 48),
        (Scope(domain="x.example", client="shop1"), 24),
        (Scope(provider="google", client="shop1", host="mx1"), 12),
    ],
)
def test_scopes(store: Store, scope: Scope, attempts: int) -> None:
    for step in ("day", "whole"):
        points = series(store, scope, step)
        assert sum(counts.attempts for counts in points.values()) == attempts


def test_providers_are_counted_by_hour_too(store: Store) -> None:
    assert len(series(store, Scope(), "hour", "provider")) == 24
    assert len(series(store, Scope(provider="google"), "hour")) == 12


@pytest.mark.parametrize(
    ("scope", "step", "group"),
    [
        (Scope(), "hour", "domain"),
        (Scope(domain="x.example"), "hour", ""),
        (Scope(domain="x.example", provider="google"), "day", ""),
        (Scope(host="mx1"), "hour", ""),
        (Scope(client="shop0"), "hour", "provider"),
        (Scope(), "hour", "category"),
        (Scope(domain="x.example"), "day", "category"),
    ],
)
def test_what_is_not_counted_is_said(store: Store, scope: Scope, step: Step, group: Group) -> None:
    with store.reading() as connection, pytest.raises(StatsError, match="are counted"):
        queries.series(connection, scope, step, group)


@pytest.mark.parametrize(
    ("what", "found"),
    [
        ("client", {"shop0": 36, "shop1": 36}),
        ("host", {"mx1": 72}),
        ("provider", {"other": 48, "google": 24}),
        ("domain", {"x.example": 48, "g.example": 24}),
        ("category", {"invalid-recipient": 24, "no-answer": 24}),
    ],
)
def test_the_most_frequent(store: Store, what: What, found: dict[str, int]) -> None:
    assert top(store, Scope(), what) == found


def test_reasons_come_with_an_example(store: Store) -> None:
    with store.reading() as connection:
        reasons = queries.top(connection, Scope(client="shop0"), "reason")
        assert {(one.category, one.example) for one in reasons} == {
            ("invalid-recipient", UNKNOWN), ("no-answer", "connection timed out"),
        }  # fmt: skip
        assert all(one.name and one.counts.attempts == 12 for one in reasons)
        assert queries.top(connection, Scope(client="nobody"), "reason") == []


def test_delays(store: Store) -> None:
    with store.reading() as connection:
        (whole,) = queries.delays(connection, Scope())
        assert whole.attempts == 24
        assert whole.total.p50 == pytest.approx(1.5, rel=0.1)
        assert whole.before_queue.p99 == pytest.approx(0.1, rel=0.1)
        assert whole.in_queue.p90 == 0
        assert whole.setup.p50 == pytest.approx(0.4, rel=0.1)
        assert whole.transmission.p50 == pytest.approx(1.0, rel=0.1)
        assert len(queries.delays(connection, Scope(), "day")) == 3
        assert len(queries.delays(connection, Scope(), "hour")) == 12
        (some,) = queries.delays(connection, Scope(provider="google", client="shop1"))
        assert some.attempts == 12
        assert queries.delays(connection, Scope(provider="other")) == []
        with pytest.raises(StatsError, match="are counted"):
            queries.delays(connection, Scope(domain="x.example"))


def test_the_overview_says_what_the_rows_say(store: Store) -> None:
    with store.reading() as connection:
        totals = queries.totals(connection)
        assert (totals.entries, totals.attempts, totals.outcomes) == (24, 72, 72)
        assert (totals.with_message_id, totals.with_header) == (24, 0)
        assert queries.totals(connection, "shop0").attempts == 36
        assert queries.totals(connection, "nobody").entries == 0
        assert {(one.client_id, one.state): one.recipients
                for one in queries.states(connection)} == {
            (client, state): 12
            for client in ("shop0", "shop1") for state in ("pending", "delivered", "hard-bounce")
        }  # fmt: skip
        assert len(queries.states(connection, "shop1")) == 3
        assert queries.clients(connection) == ["shop0", "shop1"]
        assert queries.hosts(connection) == ["mx1"]
        first = queries.attempts(connection, Filter(limit=1))[0].at
        oldest = queries.oldest(connection)
        assert oldest is not None
        assert 0 <= first - oldest < 3_600_000_000


def test_examples_are_of_the_place_that_is_asked_for(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number, relay in enumerate((GOOGLE, "mx.example.org[192.0.2.1]:25")):
        name = f"4jXPlN1V{number:04d}zJbX"
        line = attempt("bounced", queue_id=name, to="b@x.example", dsn="5.1.1",
                       reason=f"host {relay} said: 550 5.1.1 user unknown")  # fmt: skip
        line = line.replace(b"relay=mx.example.org[192.0.2.1]:25", f"relay={relay}".encode())
        store.add(message(name, message_id=f"<98494.1.1@shop{number}>", deliveries=[line]))
    asked = (Scope(provider="google"), Scope(client="shop0"), Scope(provider="other"))
    with store.reading() as connection:
        found = [queries.top(connection, scope, "reason")[0].example for scope in asked]
    assert ["google" in one for one in found] == [True, True, False]
    store.close()
