"""Pages: what a person sees, with nothing stored, with mail, and with hostile text."""

from __future__ import annotations

import html
import re
import subprocess
import time
from pathlib import Path

import pytest

from pda.store.queries import Counts
from pda.web.pages import figures
from pda.web.pages.outcomes import HOPS, KINDS, Tally
from pda.web.pages.wording import ago, number, octets, percent, utc
from pda.web.ports import RunningImport, Settings
from tests.e2e.rsyslogd import RSYSLOGD, needs_rsyslogd
from tests.store.test_rejects import LINES, add
from tests.support import attempt, message
from tests.web.support import Web, user, web

BOUNCED = message(deliveries=[
    attempt("bounced", reason="550 5.1.1 User unknown", dsn="5.1.1", to="gone@example.org"),
    attempt("sent", to="here@example.org"),
])  # fmt: skip


MARCH = "from=2026-03-01T00:00Z&to=2026-04-01T00:00Z"


async def page(app: Web, path: str = f"/?{MARCH}", **how: str) -> str:
    response = await app.get(path, **how)  # type: ignore[arg-type]
    assert response.status_code == 200
    return await response.get_data(as_text=True)


async def test_an_empty_database_says_what_to_do(tmp_path: Path) -> None:
    with web(tmp_path) as app:
        text = await page(app)
    assert "No mail has been seen yet" in text
    assert "pda backfill /var/log/mail.log*" in text
    assert 'target="127.0.0.1" port="5514" protocol="tcp"' in html.unescape(text)


@needs_rsyslogd
async def test_the_rule_to_paste_is_one(tmp_path: Path) -> None:
    assert RSYSLOGD is not None
    with web(tmp_path) as app:
        found = re.search(r'<pre[^>]*id="rule">(.*?)</pre>', await page(app), re.DOTALL)
    assert found is not None
    rule = tmp_path / "pda.conf"
    rule.write_text(html.unescape(found[1]), "utf-8")
    checked = subprocess.run(  # noqa: ASYNC221 short
        [RSYSLOGD, "-N1", "-f", rule], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


async def test_mail_is_shown(tmp_path: Path) -> None:
    with web(tmp_path, BOUNCED) as app:
        text = await page(app)
        found = await page(app, "/messages")
    assert "50.0\N{NARROW NO-BREAK SPACE}% of recipients reached" in text
    assert "invalid-recipient" in text
    assert "550 5.1.1 User unknown" in text
    assert "12\N{NARROW NO-BREAK SPACE}345" in text
    assert "3 oversize" in text
    assert "gone@example.org" in found
    assert "here@example.org" in found


async def test_what_no_rule_knows_is_not_shown_to_a_client(tmp_path: Path) -> None:
    lines = message(deliveries=[attempt("bounced", reason="host x said: 599 grumble mumble")])
    users = [user("ann"), user("shop", "client", "shop")]
    with web(tmp_path, lines, users=users) as app:
        text = await page(app, f"/bounces?{MARCH}", user="ann")
        assert "grumble mumble" in text
        assert "&lt;regex id=" in text
        text = await page(app, "/bounces", user="shop")
        assert "no rule knows</h2>" not in text


async def test_who_was_refused_at_the_door(tmp_path: Path) -> None:
    with web(tmp_path) as app:
        add(app.store, LINES)
        text = await page(app, f"/rejects?{MARCH}")
    assert "5 refused at the door" in text
    assert "Latest</h2>" in text


async def test_an_empty_range_is_no_empty_database(tmp_path: Path) -> None:
    with web(tmp_path, BOUNCED) as app:
        text = await page(app, "/?from=2025-03-01T00:00Z&to=2025-04-01T00:00Z")
    assert "No mail in this range" in text
    assert "pda backfill" not in text


@pytest.mark.parametrize(
    "path", ["/", "/domains/example.org", "/providers/other", "/messages", "/bounces", "/rejects"]
)
@pytest.mark.parametrize("range_", [MARCH, "range=1h", "range=24h", "range=30d"])
async def test_every_filter_can_be_asked_for(tmp_path: Path, path: str, range_: str) -> None:
    with web(tmp_path, BOUNCED) as app:
        for more in ("", "&client=shop", "&client=", "&host=mx1", "&client=shop&host=mx1"):
            await page(app, f"{path}?{range_}{more}")


async def test_every_link_of_the_home_page_leads_somewhere(tmp_path: Path) -> None:
    with web(tmp_path, BOUNCED) as app:
        texts = await page(app) + await app.text("/original") + await app.text("/messages")
        links = set(re.findall(r'(?:href|src)="(/[^"]*)"', texts))
        answers = {link: (await app.get(html.unescape(link))).status_code for link in links}
    assert len(links) > 12
    assert set(answers.values()) == {200}


async def test_actions_are_linked_for_those_who_may(tmp_path: Path) -> None:
    users = [user("root", "admin"), user("ann")]
    with web(tmp_path, users=users, settings=Settings(allow_actions=True)) as app:
        assert 'href="/agent-shutdown"' in await app.text("/original", user="root")
        assert 'href="/agent-shutdown"' not in await app.text("/original", user="ann")


async def test_a_client_sees_its_own_mail_only(tmp_path: Path) -> None:
    other = message("4jXPlN1VQlzJb9", message_id="<98494.1.1@post>", deliveries=[
        attempt("bounced", queue_id="4jXPlN1VQlzJb9", to="secret@example.org", reason="550 no"),
    ])  # fmt: skip
    users = [user("shop", "client", "shop"), user("new", "client", "new")]
    with web(tmp_path, BOUNCED + other, users=users) as app:
        own, none = [
            "".join([await page(app, path, user=name) for path in (f"/?{MARCH}", "/messages", "/")])
            for name in ("shop", "new")
        ]
    for text in (own, none):
        assert "secret@example.org" not in text
        assert "post" not in text.lower().replace("postfix", "")
        assert "127.0.0.1:5514" not in text
    assert "gone@example.org" in own
    assert "client <b>new</b>" in none


MARKUP = "<script>alert(1)</script>\"'&amp;"


async def test_everything_from_the_log_is_escaped(tmp_path: Path) -> None:
    lines = message(message_id="<98494.1.1@a\"'&amp;x>", deliveries=[
        attempt("bounced", to="a\"'&lt;b&amp;@x.example", reason=f"550 {MARKUP}"),
    ])  # fmt: skip
    with web(tmp_path, lines) as app:
        app.service.trouble = MARKUP
        app.service.importing = [RunningImport(name=MARKUP, octets=1, size=2, lines=3)]
        paths = (f"/?{MARCH}", "/agent-read", "/messages", "/messages/1")
        texts = [await page(app, path) for path in paths]
    for text in texts:
        assert "<script>" not in text
        assert "alert(1)" not in text or html.escape("<script>alert(1)") in text
        assert "a&#34;&#39;&amp;amp;x" in text
    for text in texts[2:]:
        assert "a&#34;&#39;&amp;lt;b&amp;amp;@x.example" in text


async def test_no_page_has_scripts_or_styles_of_its_own(tmp_path: Path) -> None:
    with web(tmp_path, BOUNCED) as app:
        for path in (
            "/",
            f"/?{MARCH}",
            "/messages",
            "/messages/1",
            "/agent-read",
            "/agent-status/server-info",
            "/nonsense",
        ):
            text = await app.text(path)
            assert not re.search(r"<script>|<style|\sstyle=|\son\w+=|https?://", text), path


async def test_trouble_is_said_first(tmp_path: Path) -> None:
    with web(tmp_path, BOUNCED) as app:
        app.service.trouble = "the disk of /srv is full"
        assert '<p class="pill bad">' in await page(app)
        assert "the disk of /srv is full" in await page(app)


async def test_a_refused_rule_list_is_shown_to_those_whom_it_concerns(tmp_path: Path) -> None:
    users = [user("ann"), user("shop", "client", "shop")]
    with web(tmp_path, BOUNCED, users=users) as app:
        assert "was refused" not in await page(app, user="ann")
        app.service.refusal = f"line 7: {MARKUP}"
        text = await page(app, user="ann")
        assert "The rule list was refused" in text
        assert f"line 7: {html.escape('<script>')}" in text
        assert "the list that comes with pda" in text
        text = await page(app, user="shop")
        assert "was refused" not in text
        assert "line 7" not in text


# --- Pure parts --------------------------------------------------------------------------------


def test_outcomes_are_tallied() -> None:
    counts = Counts(delivered=5, finally_ok=1, hard_bounce=2, pending=7, held=1, discarded=4)
    tally = figures.tally(counts)
    assert (tally.total, tally.delivered, tally.known, tally.failed) == (20, 6, 12, 2)
    assert tally.rate == 50.0


def test_every_state_has_a_column() -> None:
    from pda.maillog.events import State

    names = {state.name.lower().replace("_", "-") for state in State}
    assert names - HOPS == {state for kind in KINDS for state in kind.states}


def test_a_bar_is_full() -> None:
    tally = Tally(dict.fromkeys((kind.key for kind in KINDS), 1))
    parts = tally.bar()
    assert [part.key for part in parts] == [kind.key for kind in KINDS]
    assert parts[0].start == 0
    assert abs(parts[-1].start + parts[-1].width - 100) < 0.05
    assert Tally(dict.fromkeys((kind.key for kind in KINDS), 0)).bar() == []


@pytest.mark.parametrize(
    ("value", "text"), [(100.0, "100.0"), (99.99, "99.9"), (0.0, "0.0"), (12.34, "12.3")]
)
def test_percent_never_rounds_up_to_all(value: float, text: str) -> None:
    assert percent(value) == f"{text}\N{NARROW NO-BREAK SPACE}%"


def test_texts_of_values() -> None:
    assert number(1234567) == "1 234 567".replace(" ", "\N{NARROW NO-BREAK SPACE}")
    assert octets(500) == "500 B".replace(" ", "\N{NARROW NO-BREAK SPACE}")
    assert octets(3 * 1024**3) == "3.0\N{NARROW NO-BREAK SPACE}GiB"
    assert utc(1_773_136_800_999_999) == "2026-03-10 10:00:00"
    now = int(time.time() * 1e6)
    assert ago(now + 5_000_000) == "0 s ago"
    assert ago(now - 61_000_000) == "1 minute ago"
    assert ago(now - 2 * 86_400_000_000) == "2 days ago"
