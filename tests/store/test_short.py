"""A short time from its rows: the same as what is counted by hour and day, and finer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pda.store import queries
from pda.store.queries import Counts, Group, Point, Rows, Scope, Step, What
from pda.store.tally import DAY, HOUR
from tests.support import Store, attempt, message
from tools.simulator import Plan, batches

START = datetime(2026, 3, 10, tzinfo=UTC)
SINCE = int(START.timestamp()) * 1_000_000
UNTIL = SINCE + DAY


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A day of mail, with what went on for days after."""
    store = Store(tmp_path_factory.mktemp("short"))
    plan = Plan(messages=400, hosts=("mx1", "mx2"), format="rfc3339", start=START, days=1)
    store.add([one.encode() for _, lines in batches(plan) for one in lines])
    yield store
    store.close()


def rows(store: Store, client: str | None = None, since: int = SINCE, until: int = UNTIL) -> Rows:
    with store.reading() as connection:
        found = queries.short(connection, client, since, until)
    assert found is not None
    return found


def plain(points: list[Point]) -> dict[tuple[int, str], Counts]:
    return {(one.at, one.group): one.counts for one in points}


@pytest.mark.parametrize(
    ("step", "group", "narrower"),
    [
        ("hour", "", {}), ("hour", "client", {}), ("hour", "provider", {}),
        ("hour", "", {"client": "shop"}), ("day", "", {}), ("day", "domain", {}),
        ("day", "domain", {"client": "shop"}), ("day", "category", {}), ("day", "host", {}),
        ("day", "type", {}), ("day", "type", {"client": "shop"}),
        ("day", "category", {"client": "shop", "host": "mx1"}), ("day", "", {"host": "mx1"}),
        ("day", "provider", {"client": "newsletter"}), ("day", "", {"domain": "Goomail.example"}),
        ("day", "", {"provider": "other"}), ("day", "category", {"provider": "other"}),
    ],
)  # fmt: skip
def test_as_what_is_counted(
    store: Store, step: Step, group: Group, narrower: dict[str, str]
) -> None:
    scope = Scope(**narrower, since=SINCE, until=UNTIL - 1)
    length = {"hour": HOUR, "day": DAY}[step]
    with store.reading() as connection:
        counted = plain(queries.series(connection, scope, step, group))
    assert counted
    assert plain(rows(store, scope.client).points(scope, length, group)) == counted


@pytest.mark.parametrize("what", ["client", "domain", "provider", "host", "category", "reason"])
def test_the_most_frequent_ones(store: Store, what: What) -> None:
    scope = Scope(since=SINCE, until=UNTIL - 1)
    with store.reading() as connection:
        counted = queries.top(connection, scope, what, 7)
    found = rows(store).top(scope, what, 7)
    assert [(one.name, one.category, one.counts) for one in found] == [
        (one.name, one.category, one.counts) for one in counted
    ]
    assert all(one.example for one in found if what == "reason")


def test_hours_hold_together_what_minutes_have(store: Store) -> None:
    scope = Scope(since=SINCE, until=UNTIL - 1)
    found = rows(store)
    fine, whole = found.points(scope, HOUR // 12), found.points(scope)
    assert len(fine) > 100
    assert all(one.at % (HOUR // 12) == 0 for one in fine)
    assert sum(one.counts.attempts for one in fine) == whole[0].counts.attempts > 400


def test_delays_are_those_of_accepted_attempts(store: Store) -> None:
    scope = Scope(since=SINCE, until=UNTIL - 1)
    with store.reading() as connection:
        (counted,) = queries.delays(connection, scope)
    (found,) = rows(store).delays(scope)
    assert found.attempts == counted.attempts
    assert found.total.p50 == pytest.approx(counted.total.p50, rel=0.2)
    assert found.transmission.p90 == pytest.approx(counted.transmission.p90, rel=0.2)


def test_only_what_was_in_the_time(store: Store) -> None:
    noon = SINCE + 12 * HOUR
    found = rows(store, since=noon, until=noon + HOUR // 2)
    scope = Scope(since=noon, until=noon + HOUR // 2 - 1)
    everything = rows(store)
    assert found.points(scope) == everything.points(scope)


def test_a_client_is_read_alone(store: Store) -> None:
    found = rows(store, "shop")
    assert {one.client for one in found.tries} == {"shop"}
    assert {one.client for one in found.results} == {one.client for one in found.arrivals}
    assert rows(store, "nobody").tries == []


def test_what_waited_for_hours_is_found(tmp_path: Path) -> None:
    store = Store(tmp_path)
    lines = message(deliveries=[attempt("sent", at="2026-03-10T21:30:00+00:00", delay="41400")])
    store.add(lines)
    late = SINCE + 21 * HOUR
    with store.reading() as connection:
        counted = queries.series(connection, Scope(since=late, until=late + HOUR - 1), "hour")
        found = queries.short(connection, None, late, late + HOUR)
    assert counted[0].counts.sent == 1
    assert found is not None
    assert len(found.tries) == 1
    store.close()


def test_too_much_is_not_read(store: Store) -> None:
    with store.reading() as connection:
        assert queries.short(connection, None, SINCE, UNTIL, 10) is None


def test_what_is_not_all_there_is_not_told_from_rows(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(message(deliveries=[attempt("sent")]))
    store.writer.do(lambda connection: connection.execute("DELETE FROM attempt"))
    with store.reading() as connection:
        assert queries.short(connection, None, SINCE, UNTIL) is None
    store.close()


@pytest.mark.parametrize("narrower", [{}, {"client": "shop"}])
def test_failures_are_those_that_are_counted(store: Store, narrower: dict[str, str]) -> None:
    scope = Scope(**narrower, since=SINCE, until=UNTIL - 1)
    with store.reading() as connection:
        counted = queries.series(connection, scope, "day", "category")
        whole = queries.failures(connection, scope, DAY)
        hours = queries.failures(connection, scope, HOUR)
    attempts = {one.group: one.counts.attempts for one in counted if one.counts.attempts}
    assert {one.group: one.counts.attempts for one in whole} == attempts
    assert sum(one.counts.attempts for one in hours) == sum(attempts.values())
    assert len({one.at for one in hours}) > 10
