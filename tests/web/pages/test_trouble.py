"""When something is called a trouble, and since when."""

from __future__ import annotations

import pytest

from pda.store.queries import Counts
from pda.web.pages.figures import Side
from pda.web.pages.trouble import begun, is_grave, is_trouble, told, worst


def counts(sent: int, failed: int) -> Counts:
    return Counts(attempts=sent + failed, sent=sent, deferred=failed)


def side(now: tuple[int, int], before: tuple[int, int], name: str = "x") -> Side:
    return Side(name=name, now=counts(*now), before=counts(*before))


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        ((900, 100), (900, 100), False),  # as it was
        ((700, 300), (950, 50), True),  # far more than before
        ((700, 300), (750, 250), False),  # it was bad before
        ((300, 700), (300, 700), True),  # so bad that it is always told
        ((970, 30), (1000, 0), False),  # risen, and still little
        ((5, 12), (17, 0), False),  # too few to say
        ((700, 300), (0, 0), True),  # nothing is known of before
    ],
)
def test_troubles(now: tuple[int, int], before: tuple[int, int], expected: bool) -> None:
    assert is_trouble(side(now, before), 1000) is expected


def test_what_concerns_few_of_all_is_no_trouble() -> None:
    bad = side((0, 50), (50, 0))
    assert is_trouble(bad, 1_000)
    assert not is_trouble(bad, 10_000)
    assert is_grave(bad, 1_000)
    assert not is_grave(bad, 2_000)


def test_the_most_failed_come_first() -> None:
    few, many = side((0, 100), (100, 0), "few"), side((0, 200), (100, 0), "many")
    assert [one.name for one in worst([few, many], 1000)] == ["many", "few"]


def test_since_when() -> None:
    bars = [counts(10, 0), counts(10, 1), counts(2, 10), Counts(), counts(1, 10)]
    one = side((23, 21), (100, 2))
    assert begun(bars, one) == 2
    assert begun([counts(0, 10)] * 3, side((0, 30), (0, 30))) == 0
    assert begun([*bars, counts(10, 0)], one) == 0
    assert begun([], one) == 0


def test_what_began_lately_is_not_hidden_by_a_long_time_before_it() -> None:
    bars = [*[counts(90, 10)] * 20, *[counts(3, 27)] * 4]
    one = side((1812, 308), (1800, 200))
    assert not is_trouble(one, 4000)
    found = told(one, bars, 4000)
    assert found is not None
    assert (found.now.deferred, found.now.sent) == (128, 192)
    assert begun(bars, found) == 20
    assert told(side((900, 100), (900, 100)), [counts(90, 10)] * 10, 1000) is None


def test_what_holds_all_the_time_is_told_of_all_the_time() -> None:
    one = side((700, 300), (950, 50))
    assert told(one, [counts(70, 30)] * 10, 1000) is one
