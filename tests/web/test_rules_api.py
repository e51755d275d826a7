"""The rules over HTTP: who may ask for what, and the answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support import attempt, message
from tests.web.support import Web, user, web

FAILED = [
    attempt("bounced", to="a@example.org", reason="550 5.1.1 No such user", dsn="5.1.1"),
    attempt("bounced", to="b@example.org", reason="554 5.0.0 frobnicated", dsn="5.0.0"),
]
LINES = message(deliveries=FAILED)
OWN = b"""<bounces><regex id="own" category="policy" on="reply"><or>no such user</or></regex>
</bounces>"""
USERS = [user("admin", "admin"), user("reader"), user("post", "client", "post")]


async def asked(app: Web, path: str, **how: Any) -> Any:
    response = await app.get(path, **how)
    body = await response.get_data(as_text=False)
    assert response.status_code == 200, body
    return msgspec.json.decode(body)


async def test_the_rules_in_force(tmp_path: Path) -> None:
    with web(tmp_path) as app:
        found = await asked(app, "/api/v1/rules")
    assert found["list"]["source"] == "the list that comes with pda"
    assert found["list"]["rules"] == len(found["rules"]) > 50
    assert found["list"]["loaded_at"].endswith("Z")
    assert found["list"]["refused_at"] is None
    first = found["rules"][0]
    assert set(first) == {
        "id", "line", "type", "category", "on", "patterns", "conditions", "comment",
    }  # fmt: skip


async def test_hits_of_each_rule(tmp_path: Path) -> None:
    with web(tmp_path, LINES) as app:
        found = await asked(app, "/api/v1/rules/stats")
    (used,) = [one for one in found["rules"] if one["hits"] and one["rule"]]
    assert used["hits"] == 1
    assert used["sample"] == "550 5.1.1 No such user"
    assert used["last_at"] == "2026-03-10T10:00:01.500000Z"
    assert found["rules"][0]["last_at"] is None


async def test_what_no_rule_knows(tmp_path: Path) -> None:
    with web(tmp_path, LINES) as app:
        (one,) = (await asked(app, "/api/v1/bounces/unclassified?limit=5"))["unclassified"]
        assert (one["text"], one["count"]) == ("frobnicated", 1)
        assert one["stub"].startswith('<regex id="new-frobnicated"')
        assert (await app.get("/api/v1/bounces/unclassified?limit=0")).status_code == 400


async def test_a_verdict(tmp_path: Path) -> None:
    failure = b'{"reason": "550 5.1.1 No such user <a@b.example>", "status": "bounced"}'
    with web(tmp_path) as app:
        found = await asked(app, "/api/v1/classify", method="POST", data=failure)
        assert (found["type"], found["category"]) == ("hard", "invalid-recipient")
        assert found["masked"] == "no such user ADDR"
        for body in (b"", b"[]", b'{"reason": 1}', b'{"reason": "x", "colour": "red"}', b"{}"):
            response = await app.get("/api/v1/classify", method="POST", data=body)
            assert response.status_code == 400, body
        assert (await app.get("/api/v1/classify")).status_code == 405


async def test_a_list_is_tried(tmp_path: Path) -> None:
    with web(tmp_path, LINES) as app:
        found = await asked(app, "/api/v1/rules/try", method="POST", data=OWN)
        assert (found["failures"], found["unchanged"]) == (2, 1)
        (change,) = found["changes"]
        assert (change["old_category"], change["new_category"]) == ("invalid-recipient", "policy")
        assert change["samples"] == ["550 5.1.1 No such user"]
        bad = await app.get("/api/v1/rules/try", method="POST", data=OWN.replace(b"<or>", b"<or>("))
        assert bad.status_code == 422
        assert "line 1: RE2 refuses" in await bad.get_data(as_text=True)


async def test_reload(tmp_path: Path) -> None:
    with web(tmp_path) as app:
        found = await asked(app, "/api/v1/rules/reload", method="POST")
        assert found["message"] == "42 rules are in force"
        app.service.refusal = "line 3: RE2 refuses"
        refused = await app.get("/api/v1/rules/reload", method="POST")
        assert refused.status_code == 422
        status = await asked(app, "/api/v1/status")
    assert status["rules"]["refused"] == "line 3: RE2 refuses"
    assert app.service.asked == ["reload", "reload"]


@pytest.mark.parametrize("path", ["/api/v1/rules/reload", "/api/v1/rules/try"])
@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}]
)
async def test_not_from_another_site(tmp_path: Path, path: str, headers: dict[str, str]) -> None:
    with web(tmp_path) as app:
        response = await app.get(path, method="POST", headers=headers, data=OWN)
        assert response.status_code == 403
        assert app.service.asked == []


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        ("/api/v1/rules", "GET", {"admin", "reader"}),
        ("/api/v1/rules/stats", "GET", {"admin", "reader"}),
        ("/api/v1/bounces/unclassified", "GET", {"admin", "reader"}),
        ("/api/v1/rules/try", "POST", {"admin", "reader"}),
        ("/api/v1/rules/reload", "POST", {"admin"}),
        ("/api/v1/classify", "POST", {"admin", "reader", "post"}),
    ],
)
async def test_who_may_ask(tmp_path: Path, path: str, method: str, allowed: set[str]) -> None:
    body = b'{"reason": "x"}' if path.endswith("classify") else OWN
    with web(tmp_path, LINES, users=USERS) as app:
        statuses = {
            name: (await app.get(path, method=method, user=name, data=body)).status_code
            for name in ("admin", "reader", "post")
        }
        assert (await app.get(path, method=method)).status_code == 401
    assert statuses == {name: 200 if name in allowed else 403 for name in statuses}


async def test_a_client_sees_no_rules_in_the_status(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        assert (await asked(app, "/api/v1/status", user="post"))["rules"] is None
