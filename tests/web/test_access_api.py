"""Users, tokens and the audit over HTTP: for admins, without secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from pda.store.accounts import AddToken, RemoveUser, UseToken, new_secret, secret_hash
from pda.store.audit import Author, Deed, Note
from tests.support import NOW
from tests.web.support import Web, user, web

USERS = [user("admin", "admin"), user("reader"), user("post", "client", "post")]


async def asked(app: Web, path: str) -> Any:
    response = await app.get(path, user="admin")
    body = await response.get_data(as_text=False)
    assert response.status_code == 200, body
    return msgspec.json.decode(body)


async def test_users(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        assert (await asked(app, "/api/v1/users"))["users"] == [
            {"name": "admin", "role": "admin", "client_id": ""},
            {"name": "post", "role": "client", "client_id": "post"},
            {"name": "reader", "role": "reader", "client_id": ""},
        ]


async def test_tokens(tmp_path: Path) -> None:
    secret = new_secret()
    with web(tmp_path, users=USERS) as app:
        app.store.make(AddToken(secret_hash(secret), "client", "post", "for bounces", NOW + 1))
        app.store.make(AddToken(secret_hash("x"), "reader"))
        app.store.make(UseToken(1))
        first, second = (await asked(app, "/api/v1/tokens"))["tokens"]
    assert first == {
        "id": 1, "role": "client", "client_id": "post", "note": "for bounces",
        "created_at": "2026-03-10T12:00:00Z", "expires_at": "2026-03-10T12:00:00.000001Z",
        "used_at": "2026-03-10T12:00:00Z",
    }  # fmt: skip
    assert (second["expires_at"], second["used_at"]) == (None, None)


async def test_the_audit_in_pages(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        app.store.make(RemoveUser("reader"), Author("user admin", "192.0.2.1"))
        app.store.make(Note(Deed("reload rules")), Author("user <b>", "2001:db8::1"))
        page = await asked(app, "/api/v1/audit?limit=2")
        assert page["entries"][1] == {
            "id": 4, "at": "2026-03-10T12:00:00Z", "who": "user admin",
            "address": "192.0.2.1", "action": "remove user", "target": "reader", "detail": "",
        }  # fmt: skip
        rest = await asked(app, f"/api/v1/audit?before={page['next']}")
        assert [one["action"] for one in rest["entries"]] == ["add user"] * 3
        assert rest["next"] is None
        for query in ("before=0", "limit=1001", "before=x", "after=1"):
            assert (await app.get(f"/api/v1/audit?{query}", user="admin")).status_code == 400


@pytest.mark.parametrize("path", ["/api/v1/users", "/api/v1/tokens", "/api/v1/audit"])
async def test_for_admins_only(tmp_path: Path, path: str) -> None:
    with web(tmp_path, users=USERS) as app:
        for name in ("reader", "post"):
            assert (await app.get(path, user=name)).status_code == 403
        assert (await app.get(path)).status_code == 401
