"""Webhooks over HTTP: each client its own, and a secret that is shown once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pda.store import audit
from tests.support import attempt, message
from tests.web.support import user, web
from tests.web.test_suppressions import asked

USERS = [
    user("root", "admin"),
    user("ann"),
    user("shop", "client", "shop"),
    user("x", "client", "x"),
]
URL = "https://hooks.example.org/pda"


async def test_each_client_has_its_own(tmp_path: Path) -> None:
    lines = message(deliveries=[attempt()])
    with web(tmp_path, lines, users=USERS) as app:
        own = await asked(app, "webhooks", 201, {"url": URL}, user="shop")
        every = await asked(app, "webhooks", 201, {"url": URL, "final": False}, user="root")
        assert own["secret"] != every["secret"]
        listed = {
            who: (await asked(app, "webhooks", user=who))["webhooks"]
            for who in ("root", "ann", "shop", "x")
        }
        assert {who: [one["id"] for one in found] for who, found in listed.items()} == {
            "root": [1, 2], "ann": [1, 2], "shop": [1], "x": [],
        }  # fmt: skip
        (one,) = listed["shop"]
        assert "secret" not in one
        assert (one["url"], one["client"], one["final"], one["cursor"], one["who"]) == (
            URL, "shop", True, "1", "user shop",
        )  # fmt: skip
        for path, method in (("webhooks/2", "DELETE"), ("webhooks/2/enable", "POST")):
            await asked(app, path, 404, user="shop", method=method)
        await asked(app, "webhooks/1/enable", 204, user="shop", method="POST")
        await asked(app, "webhooks/1", 204, user="shop", method="DELETE")
        await asked(app, "webhooks/1", 404, user="shop", method="DELETE")
        with app.store.reading() as connection:
            rows = [row for row in audit.rows(connection) if "webhook" in row.action]
    assert [(row.who, row.action, row.target, row.detail) for row in rows[::-1]] == [
        ("user shop", "add webhook", "1", "client shop"),
        ("user root", "add webhook", "2", "all clients"),
        ("user shop", "enable webhook", "1", ""),
        ("user shop", "remove webhook", "1", ""),
    ]


@pytest.mark.parametrize(
    ("who", "body", "status"),
    [
        ("ann", {"url": URL}, 403),
        ("shop", {"url": URL, "client": "x"}, 404),
        ("shop", {"url": "https://127.0.0.1/"}, 400),
        ("shop", {"url": ""}, 400),
        ("shop", {}, 400),
    ],
)
async def test_what_cannot_be_told(tmp_path: Path, who: str, body: Any, status: int) -> None:
    with web(tmp_path, users=USERS) as app:
        await asked(app, "webhooks", status, body, user=who)
