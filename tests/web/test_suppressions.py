"""Suppressions and look-ups over HTTP: each client by its own mail, and what people say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from pda.store import audit
from tests.store.test_suppressions import ANN, UNKNOWN, full, mail, unknown
from tests.web.support import Web, user, web

LINES = [
    *unknown(1),
    *mail(2, "sent", to="bob@example.org", day=2),
    *full(3, to="bob@example.org", day=1),
    *mail(4, "sent", client="other", day=2, to="Eve@Example.ORG"),
    *unknown(5, client="other", day=3, to="eve@example.org"),
]
USERS = [
    user("root", "admin"), user("ann"), user("shop", "client", "shop"), user("none", "client", "x"),
]  # fmt: skip


async def asked(app: Web, path: str, status: int = 200, body: Any = None, **how: Any) -> Any:
    if body is not None:
        how |= {"data": msgspec.json.encode(body), "method": "POST"}
    response = await app.get(f"/api/v1/{path}", **how)
    octets = await response.get_data(as_text=False)
    assert response.status_code == status, octets
    return msgspec.json.decode(octets) if octets else None


async def listed(app: Web, query: str = "", **how: Any) -> list[str]:
    found = await asked(app, f"suppressions{query}", **how)
    return [one["recipient"] for one in found["suppressions"]]


async def test_each_client_sees_its_own(tmp_path: Path) -> None:
    with web(tmp_path, LINES, users=USERS) as app:
        assert await listed(app, user="ann") == [ANN, "eve@example.org"]
        assert await listed(app, "?client=other", user="ann") == ["eve@example.org"]
        assert await listed(app, user="shop") == [ANN]
        assert await listed(app, "?client=other", user="shop") == []
        assert await listed(app, user="none") == []
        foreign = await asked(app, "suppressions/eve@example.org", user="shop")
        unknown_one = await asked(app, "suppressions/nobody@example.org", user="shop")
        foreign.pop("recipient")
        unknown_one.pop("recipient")
        assert foreign == unknown_one


async def test_the_evidence_of_an_address(tmp_path: Path) -> None:
    with web(tmp_path, LINES) as app:
        found = await asked(app, "suppressions/Eve@Example.org".replace("Eve", "eve"))
        page = await asked(app, "suppressions?limit=1")
        rest = await asked(app, f"suppressions?limit=1&after={page['next']}")
    assert found["suppressed"]
    assert (found["why"]["reply"], found["why"]["at"], found["delivered_at"]) == (
        UNKNOWN, "2026-03-03T10:00:01.500000Z", None,
    )  # fmt: skip
    assert [one["recipient"] for one in page["suppressions"]] == [ANN]
    assert page["next"] == ANN
    assert [one["recipient"] for one in rest["suppressions"]] == ["eve@example.org"]


async def test_what_people_say_is_kept_with_who_said_it(tmp_path: Path) -> None:
    with web(tmp_path, LINES, users=USERS) as app:
        word = {"address": "new@Example.org", "mail": "never", "note": "asked us"}
        await asked(app, "suppressions", 204, word, user="shop")
        await asked(app, "suppressions", 204, {"address": ANN, "mail": "allowed"}, user="root")
        assert await listed(app, user="shop") == ["new@example.org"]
        assert await listed(app, user="ann") == ["eve@example.org"]
        said = (await asked(app, "suppressions/new@example.org", user="shop"))["said"]
        assert (said["who"], said["mail"], said["note"], said["client"]) == (
            "user shop", "never", "asked us", "shop",
        )  # fmt: skip
        gone = {"method": "DELETE", "user": "shop"}
        await asked(app, "suppressions/new@example.org", 204, **gone)
        await asked(app, "suppressions/new@example.org", 404, **gone)
        await asked(app, f"suppressions/{ANN}", 404, **gone)
        with app.store.reading() as connection:
            rows = [row for row in audit.rows(connection) if "mail" in row.action]
    assert [(row.who, row.action, row.target, row.detail) for row in rows] == [
        ("user shop", "unsay mail", "new@example.org", "client shop"),
        ("user root", "mail allowed", ANN, "all clients"),
        ("user shop", "mail never", "new@example.org", "client shop"),
    ]


@pytest.mark.parametrize(
    ("who", "body", "status"),
    [
        ("ann", {"address": ANN, "mail": "never"}, 403),
        ("shop", {"address": ANN, "mail": "never", "client": "other"}, 404),
        ("root", {"address": ANN, "mail": "perhaps"}, 400),
        ("root", {"address": "", "mail": "never"}, 400),
    ],
)
async def test_who_may_say_what(tmp_path: Path, who: str, body: Any, status: int) -> None:
    with web(tmp_path, LINES, users=USERS) as app:
        await asked(app, "suppressions", status, body, user=who)


async def test_looking_up(tmp_path: Path) -> None:
    wanted = {
        "addresses": ["eve@EXAMPLE.org", "nobody@example.org", "bob@example.org", ANN],
        "message_ids": ["98494.1.1", "98494.2.1@shop", "<98494.5.1@other>", "?"],
    }
    with web(tmp_path, LINES, users=USERS) as app:
        found = await asked(app, "lookup", body=wanted, user="ann")
        own = await asked(app, "lookup", body=wanted, user="shop")
    eve, nobody, bob, ann = found["addresses"]
    assert [one["asked"] for one in found["addresses"]] == wanted["addresses"]
    assert (eve["messages"], eve["delivered"], eve["hard_bounces"], eve["suppressed"]) == (
        2 if eve["delivered"] else 1, eve["delivered"], 1, True,
    )  # fmt: skip
    assert eve["hard_bounce"]["reply"] == UNKNOWN
    assert eve["latest"]["state"] == "hard-bounce"
    assert (nobody["messages"], nobody["latest"], nobody["suppressed"]) == (0, None, False)
    assert (bob["messages"], bob["delivered"], bob["soft_bounces"]) == (2, 1, 1)
    assert (bob["first_at"], bob["last_at"]) == (
        "2026-03-01T10:00:01.500000Z", "2026-03-02T10:00:01.500000Z",
    )  # fmt: skip
    assert bob["latest"]["state"] == "delivered"
    assert ann["suppressed"]
    assert [one["messages"] for one in found["message_ids"]] == [1, 1, 1, 0]
    assert [one["messages"] for one in own["addresses"]] == [0, 0, 2, 1]
    assert [one["messages"] for one in own["message_ids"]] == [1, 1, 0, 0]


async def test_too_many_to_look_up(tmp_path: Path) -> None:
    with web(tmp_path) as app:
        await asked(app, "lookup", 400, {"addresses": ["a"] * 6000, "message_ids": ["b"] * 6000})
        await asked(app, "lookup", 400, {"addresses": ["a"] * 10_001})
        found = await asked(app, "lookup", 200, {"addresses": ["a@b"] * 10_000})
        assert len(found["addresses"]) == 10_000
