"""Statistics of the API: members, rates, and what is not counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.web.support import Web, user, web
from tests.web.test_lists import LINES


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Web]:
    with web(tmp_path, LINES, users=[user("boss"), user("shop", "client", "shop")]) as app:
        yield app


async def asked(app: Web, path: str, who: str = "boss") -> Any:
    response = await app.get(f"/api/v1/stats{path}", user=who)
    body = await response.get_data(as_text=False)
    assert response.status_code == 200, body
    return msgspec.json.decode(body)


async def test_counts_and_rates_of_each_day(app: Web) -> None:
    days = {one["at"]: one for one in (await asked(app, ""))["series"]}
    assert list(days) == ["2026-03-10T00:00:00Z", "2026-03-11T00:00:00Z"]
    first = days["2026-03-10T00:00:00Z"]
    counts = first["counts"]
    assert (counts["attempts"], counts["sent"], counts["deferred"], counts["bounced"]) == (
        3,
        1,
        1,
        1,
    )
    assert (counts["finally_ok"], counts["hard_bounce"]) == (1, 1)
    assert (first["delivery_rate"], first["bounce_rate"]) == (0.5, 0.5)
    assert days["2026-03-11T00:00:00Z"]["delivery_rate"] == 1


async def test_groups_and_a_client_of_its_own(app: Web) -> None:
    found = (await asked(app, "?step=whole&by=client"))["series"]
    assert {one["group"] for one in found} == {"shop", "post"}
    found = (await asked(app, "?step=whole&by=client", "shop"))["series"]
    assert {one["group"] for one in found} == {"shop"}
    assert (await asked(app, "?client=post", "shop")) == {"series": []}
    assert (await asked(app, "/top?client=post", "shop")) == {"top": []}
    assert (await asked(app, "/delays?client=post", "shop")) == {"delays": []}


async def test_top(app: Web) -> None:
    found = (await asked(app, "/top?of=domain"))["top"]
    assert [(one["name"], one["counts"]["attempts"]) for one in found] == [
        ("x.example", 3), ("y.example", 1),
    ]  # fmt: skip
    (reason, *_) = (await asked(app, "/top?of=reason&limit=5"))["top"]
    assert reason["category"]
    assert reason["example"]


async def test_delays(app: Web) -> None:
    (whole,) = (await asked(app, "/delays"))["delays"]
    assert (whole["at"], whole["attempts"]) == (None, 2)
    assert whole["total"]["p99"] == pytest.approx(61, rel=0.2)
    assert set(whole) == {
        "at", "attempts", "total", "before_queue", "in_queue", "setup", "transmission",
    }  # fmt: skip


@pytest.mark.parametrize(
    "path", ["?step=hour&by=domain", "/top?of=domain&host=mx1", "/delays?domain=x.example"]
)
async def test_what_is_not_counted_is_refused(app: Web, path: str) -> None:
    response = await app.get(f"/api/v1/stats{path}", user="boss")
    found = msgspec.json.decode(await response.get_data(as_text=False))
    assert (response.status_code, found["errors"][0]["where"]) == (400, "query")
    assert "counted" in found["detail"]
