"""Facets: what can be chosen, and numbers that are what choosing it shows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pda.store import queries
from pda.store.queries import Filter
from pda.web.pages.messages import facets_of, filter_of
from pda.web.pages.view import ALWAYS, DAY, HOUR, View
from tests.support import Store, attempt, message
from tests.web.support import web
from tools.simulator import Plan, batches

START = datetime(2026, 3, 10, tzinfo=UTC)
SINCE = int(START.timestamp()) * 1_000_000
ALL = View(since=SINCE - 30 * DAY, until=SINCE + 30 * DAY, preset=ALWAYS)
HOURS = View(since=SINCE + 9 * HOUR + 7_000_000, until=SINCE + 13 * HOUR, preset="")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(tmp_path_factory.mktemp("facets"))
    plan = Plan(messages=300, hosts=("mx1", "mx2"), format="rfc3339", start=START, days=1)
    store.add([one.encode() for _, lines in batches(plan) for one in lines])
    yield store
    store.close()


@pytest.mark.parametrize(
    ("view", "chosen"),
    [
        (ALL, {}), (ALL, {"state": "hard-bounce"}), (ALL, {"category": "invalid-recipient"}),
        (ALL, {"state": "finally-ok", "provider": "other"}), (ALL, {"domain": "goomail.example"}),
        (HOURS, {}), (HOURS, {"bounce_type": "soft"}), (HOURS, {"q": "x"}),
        (ALL, {"category": "never heard of"}),
    ],
)  # fmt: skip
def test_numbers_are_what_choosing_shows(store: Store, view: View, chosen: dict[str, str]) -> None:
    wanted = filter_of(chosen, view)
    with store.reading() as connection:
        total, facets = facets_of(connection, view, wanted, chosen)
        numbers = {
            (facet.name, choice.value): choice.number
            for facet in facets
            for choice in facet.choices
        }

        def shown(**more: str) -> int:
            return len(queries.outcomes(connection, filter_of({**chosen, **more}, view)))

        assert (total.count, total.sign) == (shown(), "")
        known = {key: number for key, number in numbers.items() if number is not None}
        for (name, value), number in known.items():
            there = shown(**{name: value})
            if number.sign == "≥":
                assert number.count <= there, (name, value)
            else:
                assert (number.count, number.sign) == (there, ""), (name, value)
    others = {name for name, _ in known if name not in chosen}
    of_attempts = {"status", "provider"} if total.count else set()
    assert others == {"state", "bounce_type", "category", *of_attempts} - set(chosen) - (
        set() if total.count else {"category"}
    )
    for facet in facets:
        assert facet.chosen == chosen.get(facet.name, "")
        assert not facet.chosen or facet.chosen in [one.value for one in facet.choices]


def test_where_there_is_too_much_it_is_at_least(store: Store, monkeypatch: Any) -> None:
    monkeypatch.setattr("pda.web.pages.facets._LOOKED_AT", 20)
    with store.reading() as connection:
        total, facets = facets_of(connection, ALL, Filter(domain="goomail.example"), {"q": "x"})
    assert str(total) == "≥\N{NARROW NO-BREAK SPACE}20"
    states = {one.value: one.number for one in facets[0].choices}
    assert any(number is None for number in states.values())
    assert {number.sign for number in states.values() if number is not None} == {"≥"}


def test_longer_ranges_are_of_whole_hours(store: Store) -> None:
    day = View(since=SINCE + 60_000_000, until=SINCE + DAY, preset="24h")
    with store.reading() as connection:
        total, _ = facets_of(connection, day, filter_of({}, day), {})
    assert total.sign == "≈"
    assert total.count > 300


async def test_the_page_shows_them(tmp_path: Path) -> None:
    lines = message(deliveries=[
        attempt("bounced", reason="550 5.1.1 User unknown", dsn="5.1.1", to="gone@example.org"),
        attempt("sent", to="here@example.org"),
    ])  # fmt: skip
    with web(tmp_path, lines) as app:
        text = await app.text("/messages")
        found = await app.text("/messages?q=gone@example.org")
    assert "<span>2 recipients</span>" in text
    assert ">Hard bounce (1)</option>" in text
    assert ">Expired (0)</option>" in text
    assert ">invalid-recipient (1)</option>" in text
    assert "<span>1 recipient</span>" in found
    assert ">Delivered (0)</option>" in found
