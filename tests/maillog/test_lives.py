"""The lives of a queue id that is used again: which line belongs to which message."""

from __future__ import annotations

import re
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.maillog.test_correlate import SHORT_ID, Known, known
from tests.support import attempt, events, line


def life(hour: int, to: str) -> list[bytes]:
    at = f"2026-03-10T{hour:02}:00:00.000000+00:00"
    gone = f"2026-03-10T{hour:02}:00:05.000000+00:00"
    return [
        line(f"{SHORT_ID}: client=app[192.0.2.9]", program="smtpd", at=at),
        line(f"{SHORT_ID}: message-id=<98494.{hour}.1@c{hour}>", program="cleanup", at=at),
        line(f"{SHORT_ID}: from=<s@x>, size=1, nrcpt=1 (queue active)", program="qmgr", at=at),
        attempt(queue_id=SHORT_ID, to=to, at=f"2026-03-10T{hour:02}:00:01.000000+00:00", delay="1"),
        line(f"{SHORT_ID}: removed", program="qmgr", at=gone),
    ]


THREE_LIVES = [*life(8, "a@x.example"), *life(9, "a@x.example"), *life(11, "b@x.example")]


def summaries(found: Known) -> list[tuple[str, list[str]]]:
    return sorted(
        (one.summary.client_id if one.summary else "?", sorted(one.outcomes))
        for one in found.lives.values()
        if one.facts or one.attempts
    )


@settings(max_examples=200, deadline=None)
@given(st.permutations(THREE_LIVES), st.integers(1, 15))
def test_lives_of_a_short_id_in_any_order(lines: list[bytes], cut: int) -> None:
    found = Known()
    found.add(events(lines[:cut]))
    found.add(events(lines[cut:]))
    assert summaries(found) == [
        ("c11", ["b@x.example"]),
        ("c8", ["a@x.example"]),
        ("c9", ["a@x.example"]),
    ]


REQUEUED = [
    line(
        f"{SHORT_ID}: uid=0 from=<s@x> orig_id=4A4A4A4A4A",
        program="pickup",
        at="2026-03-10T11:00:00.000000+00:00",
    ),
    *(one.replace(b"delay=1,", b"delay=5000,") for one in life(11, "b@x.example")[1:]),
]
"""It arrived, under another id, an hour and more before this one was given to it."""


@settings(max_examples=200, deadline=None)
@given(st.permutations([*life(8, "a@x.example"), *REQUEUED]), st.integers(1, 10))
def test_a_requeued_message_is_one_life_though_it_arrived_long_before(
    lines: list[bytes], cut: int
) -> None:
    found = Known()
    found.add(events(lines[:cut]))
    found.add(events(lines[cut:]))
    assert summaries(found) == [("c11", ["b@x.example"]), ("c8", ["a@x.example"])]


@pytest.mark.parametrize("later_first", [False, True])
def test_a_life_that_was_never_seen_to_end_has_ended(later_first: bool) -> None:
    """Postfix writes no line about where a notification comes from."""
    begun, at = life(8, "a@x.example")[:-1], "2026-03-14T09:00:00.000000+00:00"
    later = [
        line(f"{SHORT_ID}: message-id=<20260314.{SHORT_ID}@mx1>", program="cleanup", at=at),
        line(f"{SHORT_ID}: from=<>, size=1, nrcpt=1 (queue active)", program="qmgr", at=at),
    ]
    found = known(*later, *begun) if later_first else known(*begun, *later)
    assert summaries(found) == [("", []), ("c8", ["a@x.example"])]


@pytest.mark.parametrize("wrong_zone_first", [False, True])
def test_a_short_id_read_with_a_wrong_zone_has_one_life(wrong_zone_first: bool) -> None:
    """A file without zones, read two hours off; the live stream knew them."""
    live = events(life(10, "a@x.example"))
    off = [
        one.replace(b".000000+00:00", b"").replace(b"T10:", b"T12:")
        for one in life(10, "a@x.example")
    ]
    file = events(off, live=False)
    found = Known()
    for new in (file, live) if wrong_zone_first else (live, file):
        found.add(new)
    assert [one[0::3] for one in found.outcomes()] == [(SHORT_ID, 1)]


def hours_off(lines: list[bytes]) -> list[bytes]:
    """As a file without zones says it, read two hours off."""
    return [
        re.sub(rb"T(\d\d)(:[\d:]+)[.\d+:]+", lambda m: b"T%02d%s" % (int(m[1]) + 2, m[2]), one)
        for one in lines
    ]


@settings(max_examples=150, deadline=None)
@given(st.permutations(range(15)), st.permutations(range(15)), st.booleans())
def test_lives_of_a_short_id_read_with_a_wrong_zone_in_any_order(
    one: list[int], other: list[int], live_first: bool
) -> None:
    live, file = events(THREE_LIVES), events(hours_off(THREE_LIVES), live=False)
    parts = [[live[n] for n in one], [file[n] for n in other]]
    found = Known()
    for part in parts if live_first else reversed(parts):
        found.add(part)
    assert summaries(found) == summaries(known(*THREE_LIVES))


def test_a_short_id_used_again_within_a_minute() -> None:
    def short_life(second: int) -> list[bytes]:
        lines = [one.replace(b"T08:00:0", b"T08:00:%d" % second) for one in life(8, "a@x.example")]
        return [one.replace(b"@c8", b"@c%d" % second) for one in lines]

    found = known(*short_life(0), *short_life(3))
    assert summaries(found) == [("c0", ["a@x.example"]), ("c3", ["a@x.example"])]


SLOW = "2026-03-10T08:00:00.000000+00:00"
"""When MAIL FROM came, or sendmail(1) began to read: what delays count from."""
OPENED = {
    "smtpd": "client=app[192.0.2.9]",
    "pickup": "uid=33 from=<s@x>",
}


@pytest.mark.parametrize("program", OPENED)
@pytest.mark.parametrize("delays", [", delays=39/0/0.4/0.6", ""])
def test_a_message_may_arrive_long_before_its_queue_file(program: str, delays: str) -> None:
    """The checks of its first recipient took 39 seconds; before Postfix 2.3 there is one delay."""
    before = life(7, "a@x.example")
    late = [
        one.replace(b"T08:00:00", b"T08:00:39").replace(b"T08:00:01", b"T08:00:40")
        for one in life(8, "b@x.example")
    ]
    late[0] = line(
        f"{SHORT_ID}: {OPENED[program]}", program=program, at=SLOW.replace(":00:00.", ":00:39.")
    )
    late[3] = re.sub(rb"delay=1, delays=[^,]*", b"delay=40" + delays.encode(), late[3])
    late[4] = late[4].replace(b"T08:00:05", b"T08:00:45")
    told = [("c7", ["a@x.example"]), ("c8", ["b@x.example"])]
    assert summaries(known(*before, *late)) == told
    for order in permutations(late):
        assert summaries(known(*order)) == told[1:]
        found = Known()
        for one in [*order, *before]:
            found.add(events([one]))
        assert summaries(found) == told
