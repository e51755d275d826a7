"""What pages ask for of a short time and of a long one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from pda.web.pages.counting import Counting
from pda.web.pages.overview import overview_of
from pda.web.pages.places import domain_of
from pda.web.pages.view import HOUR, MINUTE, View
from tests.support import Store, attempt, message

NOON = int(datetime(2026, 3, 10, 12, tzinfo=UTC).timestamp()) * 1_000_000
HOURLY = View(since=NOON, until=NOON + HOUR, preset="1h", host="mx1")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A delivery every ten minutes for four hours; in the last one the others are deferred."""
    store = Store(tmp_path_factory.mktemp("counting"))
    for number in range(24):
        name = f"4jXPlN1V{number:04d}zJbS"
        at = f"2026-03-10T{9 + number // 6:02}:{10 * (number % 6):02}:30+00:00"
        late = number >= 18 and number % 2
        result = attempt("deferred" if late else "sent", queue_id=name, at=at, dsn="4.0.0")
        store.add(message(name, deliveries=[result]))
    yield store
    store.close()


def test_an_hour_is_told_in_minutes_of_any_host(store: Store) -> None:
    with store.reading() as connection:
        overview = overview_of(connection, HOURLY)
    assert overview.is_fine
    assert overview.outcomes.step == 2 * MINUTE
    values = {series.key: sum(filter(None, series.values)) for series in overview.outcomes.series}
    assert values == {"delivered": 3, "pending": 3}
    assert (overview.now.attempts, overview.before.attempts) == (6, 6)
    assert overview.before.deferred == 0
    assert [(side.name, side.failing, side.failing_before) for side in overview.domains] == [
        ("example.org", 50.0, 0.0)
    ]


def test_a_day_is_told_in_hours(store: Store) -> None:
    with store.reading() as connection:
        counting = Counting(connection, View(since=NOON - 12 * HOUR, until=NOON + HOUR))
    assert not counting.is_fine
    assert counting.time.step == HOUR


def test_a_domain_of_a_short_time_is_counted_and_not_sampled(store: Store) -> None:
    with store.reading() as connection:
        place = domain_of(connection, HOURLY, "Example.org")
    assert place.sample is None
    assert place.side.now.attempts == 6
    assert place.delay is not None
    assert place.delay.attempts == 3
