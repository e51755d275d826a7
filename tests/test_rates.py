"""How many a second, out of samples."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pda.rates import EVERY_S, Rates


def sampled(*values: float, name: str = "tcp") -> Rates:
    rates = Rates()
    for number, value in enumerate(values):
        rates.note(100 + EVERY_S * number, {name: value})
    return rates


def test_what_grows_steadily() -> None:
    pace = sampled(*(50.0 * n for n in range(100))).pace("tcp")
    assert pace.now == pace.lately == 10.0
    assert set(pace.line) == {10.0}


def test_what_has_ended_is_told_of_the_last_minutes_only() -> None:
    pace = sampled(0, 600, 600, 600).pace("tcp")
    assert pace.now == 0.0
    assert pace.lately == 40.0


def test_one_sample_or_none_tells_nothing() -> None:
    assert sampled(7).pace("tcp").now == 0.0
    assert sampled(7).pace("udp") == sampled(7).pace("tcp")
    assert Rates().pace("tcp").line == ()


def test_a_counter_that_was_gone_begins_anew() -> None:
    rates = sampled(0, 1000)
    rates.note(200, {})
    assert rates.pace("tcp").lately == 0.0
    rates.note(205, {"tcp": 5000})
    rates.note(210, {"tcp": 5050})
    assert rates.pace("tcp").lately == 10.0


def test_how_much_was_done_lately() -> None:
    assert sampled(*range(1000)).lately("tcp") == 60
    assert sampled(0, 3).lately("tcp") == 3


@given(st.lists(st.floats(0, 1e12), max_size=400))
def test_no_rate_is_below_nothing_and_memory_is_bounded(values: list[float]) -> None:
    rates = sampled(*values)
    pace = rates.pace("tcp")
    assert min((pace.now, pace.lately, *pace.line)) >= 0
    assert len(pace.line) <= 60
