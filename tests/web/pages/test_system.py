"""The page about the service itself, and who sees what of it."""

from __future__ import annotations

import re
from pathlib import Path

from pda.web.ports import Pace, RunningImport
from tests.support import message
from tests.web.support import STARTED_AT, Web, user, web

USERS = [user("root", "admin"), user("ann"), user("shop", "client", "shop")]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def plain(page: str) -> str:
    """The words of a page."""
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


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


async def test_how_quickly_it_goes(tmp_path: Path) -> None:
    running = RunningImport(
        name="mail.log.1", octets=5, size=10, lines=2000, pace=Pace(1234.4, 900.0)
    )
    with web(tmp_path, message(), users=USERS) as app:
        app.service.importing = [running]
        app.service.last_line_at = STARTED_AT
        texts = [plain(await app.text(path, user="ann")) for path in ("/system", "/")]
    for text in texts:
        assert "tcp 127.0.0.1:5514 17 4 12 345" in text  # now, in five minutes, in all
        assert "2 000 lines, 1 234 a second, 50.0 %" in text
    assert "Last 5 min Since start Number 2 4 Attempts in each 3 2.5" in texts[0]
    assert "Removed by age after 90 days" in texts[0]


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
