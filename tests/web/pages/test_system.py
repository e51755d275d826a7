"""The page about the service itself, and who sees what of it."""

from __future__ import annotations

from pathlib import Path

from tests.support import message
from tests.web.support import Web, user, web

USERS = [user("root", "admin"), user("ann"), user("shop", "client", "shop")]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def ask_again(app: Web, what: str, who: str) -> int:
    response = await app.get(
        "/system/read-again", method="POST", data=f"what={what}".encode(), headers=FORM, user=who
    )
    return response.status_code


async def test_what_it_shows(tmp_path: Path) -> None:
    with web(tmp_path, message(), users=USERS) as app:
        text = await app.text("/system", user="root")
    for shown in ("All is well", "dropped by the kernel", "lost by the syslog daemon of mx1",
                  "Bounce rules in force", "Imported files", "root", "Who changed what"):  # fmt: skip
        assert shown in text


async def test_a_problem_stands_first(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        app.service.trouble = "the disk <is> full"
        text = await app.text("/system", user="root")
    assert "the disk &lt;is&gt; full" in text
    assert "All is well" not in text


async def test_readers_see_no_users_and_clients_nothing(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        text = await app.text("/system", user="ann")
        refused = await app.get("/system", user="shop")
        overview = await app.text("/", user="shop")
    assert "Who changed what" not in text
    assert "Read the rules again" not in text
    assert refused.status_code == 403
    assert 'href="/system"' not in overview


async def test_admins_have_the_rules_read_again(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        assert await ask_again(app, "rules", "ann") == 403
        assert await ask_again(app, "else", "root") == 400
        assert app.service.asked == []
        assert await ask_again(app, "rules", "root") == 303
        assert await ask_again(app, "logs", "root") == 303
        assert len(app.service.asked) == 2
