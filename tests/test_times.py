"""Moments as they are written."""

from __future__ import annotations

import pytest

from pda.times import all_rfc3339, moment, rfc3339


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-23T10:00:00+01:00", "2026-11-23T09:00:00Z"),
        ("2026-11-23T09:00:00.25Z", "2026-11-23T09:00:00.250000Z"),
        ("1795424400000", "2026-11-23T09:00:00Z"),
    ],
)
def test_moments(text: str, at: str) -> None:
    assert rfc3339(moment(text)) == at


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-01", "9" * 30, "0001-01-01T00:00+14:00"]
)
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match="is no time such as"):
        moment(text)


def test_moments_before_the_epoch_and_of_whole_seconds() -> None:
    assert rfc3339(-1) == "1969-12-31T23:59:59.999999Z"
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
    assert rfc3339(1_773_136_861_000_100) == "2026-03-10T10:01:01.000100Z"


def test_many_moments_are_as_each() -> None:
    moments = [-1, 0, 1_773_136_861_000_100, 1_773_136_861_000_000, 1_773_136_919_999_999]
    assert all_rfc3339(moments) == [rfc3339(at) for at in moments]
    assert all_rfc3339([]) == []
