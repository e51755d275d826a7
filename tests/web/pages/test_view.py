"""Ranges and filters as they stand in a URL."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pda.web.errors import Refused
from pda.web.pages import figures
from pda.web.pages.view import DAY, HOUR, MINUTE, View, link, read, usual_of

NOW = 1_773_136_800_123_456


def view(query: str = "", own: str | None = None, path: str = "/") -> View:
    return read(dict(parse_qsl(query, keep_blank_values=True)), NOW, own, usual_of(path))


def test_what_is_usual() -> None:
    assert (view().since, view().until) == (NOW - DAY, NOW)
    assert (view().client, view().host) == (None, None)
    assert view(path="/messages").preset == "all"


@pytest.mark.parametrize(
    ("query", "length"),
    [
        ("range=1h", HOUR),
        ("range=30d", 30 * DAY),
        ("from=2026-03-01T00:00Z&to=2026-03-02T01:00Z", 25 * HOUR),
        ("from=2026-03-01T00:00&to=2026-03-01T02:00", 2 * HOUR),
        ("from=2026-03-01T00:00%2B01:00&to=2026-03-01T02:00Z", 3 * HOUR),
    ],
)
def test_ranges(query: str, length: int) -> None:
    assert view(query).length == length


@pytest.mark.parametrize(
    "query", ["range=1y", "from=yesterday", "from=2026-03-02T00:00Z&to=2026-03-01T00:00Z"]
)
def test_what_is_no_range(query: str) -> None:
    with pytest.raises(Refused) as refused:
        view(query)
    assert refused.value.status == 400


def test_clients() -> None:
    assert view("client=shop").client == "shop"
    assert view("client=*").client is None
    assert view("client=").client == ""
    assert view("client=other", own="shop").client == "shop"


def test_links_keep_the_view() -> None:
    one = view("range=7d&client=a%26b&host=mx1")
    assert one.link("/") == "/?range=7d&client=a%26b&host=mx1"
    assert one.link("/", client=None, range="24h") == "/?host=mx1"
    assert one.link("/messages", host=None, q="x y") == "/messages?range=7d&client=a%26b&q=x+y"
    assert view().link("/messages") == "/messages?range=24h"
    assert view(path="/messages").link("/messages") == "/messages"
    own = one.link("/", from_=0, to=MINUTE)
    assert "range" not in own
    assert "from=1970-01-01T00:00:00Z&to=1970-01-01T00:01:00Z" in own


@given(st.text(), st.text(min_size=1))
def test_a_link_is_read_as_the_view_it_came_of(client: str, host: str) -> None:
    if client == "*":
        return
    one = View(since=NOW - HOUR, until=NOW, preset="1h", client=client, host=host)
    again = view(urlsplit(one.link("/")).query)
    assert again == one


@pytest.mark.parametrize(
    ("minutes", "step"), [(1, 1), (48, 1), (60, 2), (61, 2), (180, 5), (240, 5), (360, 10)]
)
def test_short_ranges_are_told_to_the_minute(minutes: int, step: int) -> None:
    one = View(since=NOW - minutes * MINUTE, until=NOW)
    assert one.step(MINUTE) == step * MINUTE
    assert one.step(HOUR) == HOUR


def test_longer_ones_are_not() -> None:
    assert View(since=NOW - 6 * HOUR - 1, until=NOW).step(MINUTE) == HOUR


def test_nothing_is_asked_for_without_parameters() -> None:
    assert link("/a", {"b": None}) == "/a"


@pytest.mark.parametrize("preset", ["1h", "24h", "7d", "30d"])
def test_a_period_is_whole_bars_and_not_too_many(preset: str) -> None:
    time = figures.period(view(f"range={preset}"))
    assert time.since % time.step == 0
    assert time.since <= NOW - view(f"range={preset}").length
    assert len(time.starts) <= 92
    before = time.before()
    assert before.until == time.since
    assert 0 < time.weight() <= 1
