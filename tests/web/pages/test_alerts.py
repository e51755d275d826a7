"""The page of alerts, the notice on the overview, and who sees which."""

from __future__ import annotations

import html
from pathlib import Path

from pda.store.alerts import Alert, Finding, NoteAlerts, Sample
from tests.support import NOW, message
from tests.web.support import Web, user, web

USERS = [user("ann"), user("shop", "client", "shop"), user("x", "client", "x")]
MARKUP = "<b>no</b>"
SAMPLE = Sample(3, "blocklisted", "blocklist", "example.org", f"said: 554 {MARKUP}")


def alert(number: int, finding: Finding, cleared_at: int = 0) -> Alert:
    return Alert(0, NOW + number, 0, NOW + number, cleared_at, finding, [SAMPLE])


ALERTS = [
    alert(1, Finding(kind="bounces", about="client", name="shop", value=0.2, count=2, of=10)),
    alert(2, Finding(kind="disk", value=0.05, limit=0.1)),
    alert(3, Finding(kind="bounces", about="client", name="x", value=0.3), NOW + 600_000_000),
    alert(4, Finding(kind="deferrals", about="provider", name="a/b", value=0.6, of=9)),
]


async def shown(app: Web, path: str, who: str) -> str:
    response = await app.get(path, user=who)
    assert response.status_code == 200
    return html.unescape(await response.get_data(as_text=True))


async def test_each_with_its_evidence_and_what_to_do(tmp_path: Path) -> None:
    with web(tmp_path, message(), users=USERS) as app:
        app.store.make(NoteAlerts(ALERTS, []))
        raw = await app.text("/alerts", user="ann")
    text = html.unescape(raw)
    assert "3 alerts in force" in text
    for said in ("60 % deferrals, provider a/b", "disk: 5.0 % free", "Make room",
                 "20 % (2 of 10); usual: not known yet", "554", "10\N{NARROW NO-BREAK SPACE}min"):  # fmt: skip
        assert said in text
    assert 'href="/providers/a%2Fb"' in text
    assert MARKUP not in raw


async def test_the_overview_begins_with_what_is_wrong(tmp_path: Path) -> None:
    with web(tmp_path, message(), users=USERS) as app:
        calm = await shown(app, "/", "ann")
        app.store.make(NoteAlerts(ALERTS, []))
        text = await shown(app, "/", "ann")
    assert "in force" not in calm
    assert text.index("3 alerts in force") < text.index('id="delivery"')
    assert 'aria-label="3 in force"' in text


async def test_a_client_sees_its_own(tmp_path: Path) -> None:
    with web(tmp_path, message(), users=USERS) as app:
        app.store.make(NoteAlerts(ALERTS, []))
        own = await shown(app, "/alerts", "shop") + await shown(app, "/", "shop")
        past = await shown(app, "/alerts", "x")
    for said in ("disk", "deferrals, provider", "client x"):
        assert said not in own
    assert "1 alert in force" in own
    assert "No alert is in force" in past
    assert "30 % bounces, client x" in past


async def test_it_says_when_nothing_is_looked_for(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        app.service.tells_alerts = False
        text = await shown(app, "/alerts", "ann")
        of_client = await shown(app, "/alerts", "shop")
    assert "Alerts are off" in text
    assert "pda alerts test" in text
    assert "pda.toml" not in of_client
