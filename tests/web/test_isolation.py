"""Two clients in one store: whatever one asks for, by whichever way in, it learns nothing of the other.

Every route of the application is asked; a new one is asked by itself, or has to be named here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest

from pda.store.accounts import AddToken, PutUser, secret_hash
from tests.support import attempt, line, message
from tests.web.support import PASSWORD, Web, basic, user, web

OTHER, KNOWN = "xyzzy", "known@two.example"
QUEUE_ID = "4jXPlN1VQlzJbSF"
SECRETS = (
    "hushsender", "hiddenrcpt", "secretreply", "98494.2.2", QUEUE_ID, "mx.secret.example",
)  # fmt: skip
"""What nobody can know who has not seen the other's mail."""


def failing(to: str, queue_id: str, reply: str) -> bytes:
    return attempt(
        "bounced", queue_id=queue_id, to=to, dsn="5.9.9",
        reason=f"host mx.secret.example[192.0.2.1] said: 554 5.9.9 {reply}",
    )  # fmt: skip


OWN = message(deliveries=[attempt("bounced", to="a@one.example", dsn="5.1.1", reason="550 no")])
LINES = [
    *OWN,
    *message(
        QUEUE_ID,
        message_id=f"<98494.2.2@{OTHER}>",
        sender="hushsender@two.example",
        deliveries=[
            failing(KNOWN, QUEUE_ID, "secretreply frobnicated"),
            failing("hiddenrcpt@two.example", QUEUE_ID, "secretreply"),
        ],
    ),
]
NOTIFIED = line(
    f"4jXPlN1VQlzJbSD: sender non-delivery notification: {QUEUE_ID}", program="bounce",
    at="2026-03-10T10:00:03+00:00",
)  # fmt: skip
"""Of the client's own log, and it names what there is as another's."""
PASSING = re.compile(r'"(uptime|timeStamp|cursor|lastRequestAt)": ?("[^"]*"|[\d.]+)')
USERS = [user("shop", "client", "shop"), user("root", "admin"), user("two", "client", OTHER)]
PATHS = {"filename": "pda.css", "address": KNOWN, "name": "two.example"}
QUERIES = (
    "", f"client={OTHER}", f"client={OTHER}&client=shop", f"recipient={KNOWN}", f"queue_id={QUEUE_ID}",
    "domain=two.example", f"q={KNOWN}", f"q={OTHER}", f"q={QUEUE_ID}", "q=two.example", "limit=100",
    "after=0", f"address={KNOWN}", "from=2020-01-01", "range=30d&from=2020-01-01", "groupBy=rcptEmail",
    f"client={OTHER}&from=2026-03-01&to=2026-04-01", "from=2026-03-01&to=2026-04-01",
)  # fmt: skip
ORIGINAL = (
    "agent-read", f"agent-read/{OTHER}", f"agent-read/{OTHER}/rcptEmail/{KNOWN}",
    f"agent-read/{OTHER}/queue/{QUEUE_ID}", f"agent-read/shop/queue/{QUEUE_ID}",
    f"agent-read/shop/rcptEmail/{KNOWN}", "agent-status", "agent-status/rcpt-address-counts",
    "agent-status/rcpt-addresses", "agent-status/unknown-bounces", "agent-status/index-age",
    "agent-status/memory-usage", "agent-status/index-memory-footprint",
    "agent-status/indexed-log-files", "agent-status/server-info",
)  # fmt: skip
ELSEWHERE = {"/api/v1/stream"}
"""It does not end; tests of the feed ask it."""


def paths(app: Web) -> Iterator[str]:
    for rule in app.app.url_map.iter_rules():
        if "GET" not in (rule.methods or ()) or rule.rule in ELSEWHERE:
            continue
        if rule.rule.startswith("/agent-"):
            yield from (f"/{path}" for path in ORIGINAL)
        elif "number" in rule.arguments:
            yield from (
                app.app.url_map.bind("x").build(rule.endpoint, {"number": n}) for n in range(4)
            )
        else:
            values = {name: PATHS[name] for name in rule.arguments}
            yield app.app.url_map.bind("x").build(rule.endpoint, values)


async def told(app: Web, path: str, headers: dict[str, str], **how: object) -> str:
    response = await app.get(path, headers=headers, **how)  # type: ignore[arg-type]
    assert response.status_code < 500, path
    return str(await response.get_data(as_text=True))


@pytest.mark.parametrize("way", ["password", "token", "session"])
async def test_a_client_learns_nothing_of_another(tmp_path: Path, way: str) -> None:
    with web(tmp_path, LINES, users=USERS) as app:
        headers = await entry(app, way)
        seen = 0
        for path in sorted(set(paths(app))):
            for query in QUERIES if way == "password" else QUERIES[:2]:
                text = await told(app, f"{path}?{query}", headers)
                leaked = [one for one in SECRETS if one in text and one not in f"{path}{query}"]
                assert not leaked, (path, query, text)
                if OTHER not in path + query:
                    assert OTHER not in text, (path, query)
                seen += "a@one.example" in text
        assert seen > 5  # its own it sees


async def test_what_a_client_is_told_does_not_hang_on_another(tmp_path: Path) -> None:
    """Neither counts nor links do; the feed's cursor only is that of all."""
    own = [*OWN, NOTIFIED]
    answers = []
    others = [one.replace(b"2026-03-10", b"2026-03-09") for one in LINES[len(OWN) :]]
    for name, lines in (("alone", own), ("both", [*own, *others])):
        folder = tmp_path / name
        folder.mkdir()
        with web(folder, lines, users=USERS) as app:
            headers = await entry(app, "password")
            asked = [one for one in paths(app) if one.startswith(("/api/v1/", "/agent-"))]
            answers.append(
                {path: PASSING.sub("", await told(app, path, headers)) for path in asked}
            )
    assert answers[0] == answers[1]
    assert QUEUE_ID in answers[0]["/api/v1/messages/1"]


async def entry(app: Web, way: str) -> dict[str, str]:
    """The headers by which the client `shop` comes in."""
    if way == "token":
        app.store.make(AddToken(secret_hash("x"), "client", "shop"))
        return {"Authorization": "Bearer x"}
    if way == "session":
        form = f"name=shop&password={quote(PASSWORD)}".encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        response = await app.get("/login", method="POST", headers=kind, data=form)
        return {"Cookie": response.headers["Set-Cookie"].partition(";")[0]}
    return {"Authorization": basic("shop", PASSWORD)}


async def test_the_same_questions_show_it_to_who_may_see_it(tmp_path: Path) -> None:
    """So that the test above can fail."""
    with web(tmp_path, LINES, users=USERS) as app:
        found = set()
        for name in ("root", "two"):
            headers = {"Authorization": basic(name, PASSWORD)}
            for path in sorted(set(paths(app))):
                text = await told(app, path, headers)
                found |= {(name, one) for one in SECRETS if one in text}
    assert found == {(name, one) for name in ("root", "two") for one in SECRETS}


async def test_changes_of_another_look_like_those_of_nobody(tmp_path: Path) -> None:
    with web(tmp_path, LINES, users=USERS) as app:
        answers = []
        for address in (KNOWN, "nobody@two.example"):
            body = msgspec.json.encode({"addresses": [address]})
            text = await told(app, "/api/v1/lookup", {}, user="shop", method="POST", data=body)
            answers.append(text.replace(address, "ADDRESS"))
            for path in (f"/api/v1/suppressions/{address}", f"/api/v1/addresses/{address}"):
                text = await told(app, path, {}, user="shop", method="DELETE")
                answers[-1] += text.replace(address, "ADDRESS")
    assert answers[0] == answers[1]


async def test_a_client_that_is_bound_to_another_id_sees_that_one_at_once(tmp_path: Path) -> None:
    with web(tmp_path, LINES, users=USERS) as app:
        assert "hiddenrcpt" not in await app.text("/api/v1/outcomes", user="shop")
        app.store.make(PutUser("shop", USERS[0].password_hash, "client", OTHER))
        text = ""
        while "hiddenrcpt" not in text:
            text = await app.text("/api/v1/outcomes", user="shop")
        assert "a@one.example" not in text
