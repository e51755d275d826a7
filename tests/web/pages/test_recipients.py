"""What is said of a recipient, and by whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import attempt, message
from tests.web.support import Web, user, web

LINES = message(deliveries=[
    attempt("bounced", reason="550 5.1.1 User unknown", dsn="5.1.1", to="gone@example.org"),
])  # fmt: skip
USERS = [
    user("root", "admin"),
    user("ann"),
    user("shop", "client", "shop"),
    user("other", "client", "other"),
]
PATH = "/recipients/gone@example.org"


async def say(app: Web, body: str, **how: str) -> int:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    response = await app.get(PATH, method="POST", data=body.encode(), headers=form, **how)
    return response.status_code


async def test_advice_and_another_word(tmp_path: Path) -> None:
    with web(tmp_path, LINES, users=USERS) as app:
        assert "Better not mailed" in await app.text(PATH, user="root")
        assert await say(app, "mail=allowed&note=asked+%3Cb%3E", user="root") == 303
        text = await app.text(PATH, user="root")
        assert "May be mailed" in text
        assert "asked &lt;b&gt;" in text
        assert await say(app, "mail=unsay", user="root") == 303
        assert "Better not mailed" in await app.text(PATH, user="root")


@pytest.mark.parametrize(
    ("name", "status"), [("root", 303), ("ann", 403), ("shop", 303), ("other", 303)]
)
async def test_who_may_say_something(tmp_path: Path, name: str, status: int) -> None:
    with web(tmp_path, LINES, users=USERS) as app:
        assert await say(app, "mail=never", user=name) == status
        assert ("<form method" in await app.text(PATH, user=name)) is (status == 303)


async def test_another_client_learns_nothing(tmp_path: Path) -> None:
    with web(tmp_path, LINES, users=USERS) as app:
        text = await app.text(PATH, user="other")
    assert "No message to this address is known" in text
    assert "May be mailed" in text
    assert "User unknown" not in text


async def test_what_cannot_be_said(tmp_path: Path) -> None:
    with web(tmp_path, LINES, users=USERS) as app:
        assert await say(app, "mail=maybe", user="root") == 400


async def test_any_address_has_a_page(tmp_path: Path) -> None:
    lines = message(deliveries=[attempt(to="a/b?c#d%e@example.org")])
    with web(tmp_path, lines) as app:
        text = await app.text("/recipients/a%2Fb%3Fc%23d%25e%40example.org")
    assert '<h1 id="recipient">a/b?c#d%e@example.org</h1>' in text
    assert 'action="/recipients/a/b%3Fc%23d%25e@example.org"' in text


async def test_a_test_message_is_for_admins(tmp_path: Path) -> None:
    with web(tmp_path, LINES, users=USERS) as app:
        assert (await app.get("/test-message", method="POST", user="ann")).status_code == 403
        app.service.trouble = "there is no listener"
        refused = await app.get("/test-message", method="POST", user="root")
        assert refused.status_code == 503
        assert "there is no listener" in await refused.get_data(as_text=True)
