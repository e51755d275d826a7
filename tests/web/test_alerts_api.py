"""Alerts over HTTP: the open ones first, and each client its own."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pda.store.alerts import Alert, Finding, NoteAlerts, Sample
from tests.support import NOW
from tests.web.support import user, web

USERS = [user("ann"), user("shop", "client", "shop"), user("x", "client", "x")]
SAMPLE = Sample(3, "blocklisted", "blocklist", "example.org", "said: 554 no")


def alert(number: int, finding: Finding, cleared_at: int = 0) -> Alert:
    return Alert(0, NOW + number, 0, NOW + number, cleared_at, finding, [SAMPLE])


ALERTS = [
    alert(1, Finding(kind="bounces", about="client", name="shop", value=0.2, count=2, of=10)),
    alert(2, Finding(kind="disk", value=0.05, limit=0.1)),
    alert(3, Finding(kind="bounces", about="client", name="x"), NOW + 9),
    alert(4, Finding(kind="deferrals", about="domain", name="shop")),
]


async def test_who_sees_which(tmp_path: Path) -> None:
    with web(tmp_path, users=USERS) as app:
        app.store.make(NoteAlerts(ALERTS, []))
        seen = {}
        for who in ("ann", "shop", "x"):
            answer = msgspec.json.decode(await app.text("/api/v1/alerts", user=who))
            seen[who] = [one["id"] for one in answer["alerts"]]
        assert seen == {"ann": [4, 2, 1, 3], "shop": [1], "x": [3]}
        answer = msgspec.json.decode(await app.text("/api/v1/alerts?limit=1", user="shop"))
        assert answer["alerts"] == [
            {
                "id": 1, "kind": "bounces", "about": "client", "name": "shop",
                "raised_at": "2026-03-10T12:00:00.000001Z", "cleared_at": None,
                "sent_at": "2026-03-10T12:00:00.000001Z", "value": 0.2, "limit": 0.0,
                "usual": None, "count": 2, "of": 10, "text": "",
                "samples": [
                    {"count": 3, "category": "blocklisted", "rule": "blocklist",
                     "domain": "example.org", "reply": "said: 554 no"}
                ],
            }
        ]  # fmt: skip
