"""Rejects over HTTP: a client sees what is surely its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.store.test_rejects import LINES, add
from tests.web.support import user, web
from tests.web.test_suppressions import asked

USERS = [user("ann"), user("shop", "client", "shop"), user("x", "client", "x")]


async def test_each_client_sees_its_own(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        add(app.store, LINES)
        every = await asked(app, "rejects", user="ann")
        page = await asked(app, "rejects?limit=2", user="ann")
        rest = await asked(app, f"rejects?after={page['next']}", user="ann")
        own = await asked(app, "rejects", user="shop")
        foreign = await asked(app, "rejects?client=", user="shop")
        none = await asked(app, "rejects", user="x")
    assert len(every["rejects"]) == 5
    assert page["rejects"] + rest["rejects"] == every["rejects"]
    (one,) = own["rejects"]
    assert (one["at"], one["sasl_username"]) == ("2026-03-10T10:00:05.123456Z", "shop")
    assert foreign["rejects"] == none["rejects"] == []
    assert (every["next"], every["complete"]) == (None, True)


@pytest.mark.parametrize("query", ["after=x", "after=1.x", "limit=0", "from=never"])
async def test_what_cannot_be_asked(tmp_path: Path, query: str) -> None:
    with web(tmp_path) as app:
        await asked(app, f"rejects?{query}", 400)
