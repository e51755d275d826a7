"""The geometry of charts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pda.web.pages.charts import HEIGHT, Chart, Series, Spark, ticks
from pda.web.pages.view import DAY, HOUR

NUMBERS = st.lists(st.one_of(st.none(), st.integers(0, 10**9)), min_size=3, max_size=3)


def chart(*series: list[float | None], **how: object) -> Chart:
    named = [Series(f"k{n}", f"Kind {n}", values) for n, values in enumerate(series)]
    starts = range(0, HOUR * len(series[0]), HOUR)
    return Chart(id="x", title="X", description="x", starts=starts, step=HOUR, series=named,
                 **how)  # type: ignore[arg-type]  # fmt: skip


@pytest.mark.parametrize(
    ("most", "last"), [(0, 1), (1, 1), (3, 3), (7, 8), (100, 100), (101, 150), (0.5, 0.6)]
)
def test_ticks_are_round_and_reach_the_top(most: float, last: float) -> None:
    found = ticks(most)
    assert found[0] == 0
    assert found[-1] == pytest.approx(last)
    assert len(found) <= 6


@given(NUMBERS, NUMBERS, st.booleans(), st.booleans())
def test_shapes_stay_inside(
    one: list[float | None], two: list[float | None], stacked: bool, powers: bool
) -> None:
    drawn = chart(one, two, stacked=stacked, powers=powers and not stacked, marks=[1.0, 60.0])
    assert all(0 <= y <= HEIGHT for y, _ in drawn.levels())
    for _, path in drawn.shapes():
        numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", path)]
        assert all(abs(number) <= 1000 for number in numbers)
        for height in re.findall(r"V(-?[\d.]+)", path):
            assert -1 <= float(height) <= HEIGHT


def test_bars_stand_one_upon_another() -> None:
    (_, first), (_, second) = chart([4, 0], [4, 8]).shapes()
    assert first.count("M") == 1
    assert second.count("M") == 2
    top = re.search(r"V([\d.]+)", first)
    bottom = re.search(r"M[\d.]+ ([\d.]+)", second)
    assert top is not None
    assert bottom is not None
    assert top[1] == bottom[1]


def test_a_line_is_broken_where_nothing_is_known() -> None:
    ((_, path),) = chart([1, None, 3], stacked=False).shapes()
    assert path.count("M") == 2


def test_the_numbers_stand_in_a_table() -> None:
    assert chart([1, None], [2, 3]).rows() == [(0, ["1", "2"]), (HOUR, ["–", "3"])]


def test_nothing_is_said_of_nothing() -> None:
    assert chart([0, None]).is_empty
    assert not chart([0, 1]).is_empty


@pytest.mark.parametrize("hours", [1, 24, 7 * 24, 30 * 24, 365 * 24])
def test_moments_are_few_and_inside(hours: int) -> None:
    found = chart([1.0] * hours).moments()
    assert len(found) <= 7
    assert all(0 <= x < 100 for x, _, _ in found)
    assert all(at % DAY == 0 for _, at, day in found if day)


def test_a_small_line() -> None:
    assert Spark([0, 50, None, 100], 100).path() == "M0.0 19.0L33.3 10.0M100.0 1.0"
