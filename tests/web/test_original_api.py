"""The original's interface over HTTP: each path, each combination, to the exact member."""

from __future__ import annotations

import gzip
import logging
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import msgspec
import pytest
import trio

from pda.web.original_api import date_text
from pda.web.ports import Settings
from tests.support import SHARED, attempt, line, message, needs_shared
from tests.web.support import STARTED_AT, Web, user, web

MEMBERS = {
    "date", "queueId", "msgId", "rcptEmail", "senderEmail", "status", "info", "state", "stateInfo",
}  # fmt: skip
FULL = "452 4.2.2 The email account that you tried to reach is over quota"
GONE = "550 5.1.1 <b@x.example>: Recipient address rejected: User unknown"
STRANGE = "574 5.7.0 zxcvb qwerty"


def deferred(queue_id: str, to: str, at: str) -> bytes:
    return attempt("deferred", queue_id=queue_id, to=to, at=at, reason=FULL, dsn="4.2.2")


T = "2026-03-10T10:0{}:00.250000+00:00".format
MS = int(datetime.fromisoformat(T(0)).timestamp() * 1000)
MINUTE = 60_000
LINES = [
    # shop, Q1: a is late, b bounces, c is sent at once
    *message("4jXPlN1VQlzJb1", message_id="<98494.1.1@shop>", deliveries=[
        deferred("4jXPlN1VQlzJb1", "a@x.example", T(1)),
        attempt("bounced", queue_id="4jXPlN1VQlzJb1", to="b@x.example", at=T(2), reason=GONE,
                dsn="5.1.1"),
        attempt("sent", queue_id="4jXPlN1VQlzJb1", to="c@x.example", at=T(2)),
        attempt("sent", queue_id="4jXPlN1VQlzJb1", to="a@x.example", at=T(3), delay="180"),
    ]),
    # shop, Q2: a bounces for a reason that nobody knows; the Message-ID is of another form
    line("4jXPlN1VQlzJb2: message-id=<o/dd@id>", program="cleanup", at=T(4)),
    line("4jXPlN1VQlzJb2: info: header client-id: shop from localhost[127.0.0.1];"
         " from=<n@example.com> to=<a@x.example> proto=ESMTP helo=<h>", program="cleanup", at=T(4)),
    attempt("bounced", queue_id="4jXPlN1VQlzJb2", to="a@x.example", at=T(5), reason=STRANGE,
            dsn="5.0.0"),
    # post, Q3: expires for two recipients
    line("4jXPlN1VQlzJb3: message-id=<98494.2.2@post>", program="cleanup", at=T(1)),
    deferred("4jXPlN1VQlzJb3", "a@x.example", T(2)),
    deferred("4jXPlN1VQlzJb3", "d@x.example", T(2)),
    line("4jXPlN1VQlzJb3: from=<news@example.com>, status=expired, returned to sender",
         program="qmgr", at=T(6)),
]  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Web]:
    with web(tmp_path, LINES) as app:
        yield app


def brief(entries: list[dict[str, Any]]) -> list[tuple[str, int, str, int]]:
    assert all(set(entry) == MEMBERS for entry in entries)
    assert all(value is not None for entry in entries for value in entry.values())
    return [
        (entry["rcptEmail"][0], (entry["date"] - MS) // MINUTE, entry["status"], entry["state"])
        for entry in entries
    ]


LATE, HARD, OK_LATE, STRANGER = (
    ("a", 1, "deferred", 0),
    ("b", 2, "bounced", 1),
    ("a", 3, "sent", 4),
    ("a", 5, "bounced", 2),
)


# --- /agent-read -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "entries"),
    [
        ("shop", [LATE, HARD, OK_LATE, STRANGER]),
        ("shop/", [LATE, HARD, OK_LATE, STRANGER]),
        ("post", [("a", 2, "deferred", 0), ("d", 2, "deferred", 0),
                  ("a", 6, "expired", 0), ("d", 6, "expired", 0)]),
        ("nobody", []),
        ("SHOP", []),
        ("shop/rcptEmail/a@x.example", [LATE, OK_LATE, STRANGER]),
        ("shop/rcptEmail/a@x.example/", [LATE, OK_LATE, STRANGER]),
        ("shop/rcptEmail/c@x.example", []),
        ("shop/rcptEmail/a%40x.example", [LATE, OK_LATE, STRANGER]),
        ("shop/rcptEmail/a@X.example", []),
        ("post/rcptEmail/a@X.example", []),
        ("shop/queue/4jXPlN1VQlzJb1", [LATE, HARD, OK_LATE]),
        ("shop/queue/4jXPlN1VQlzJb3", []),
        ("shop/message/98494.1.1", [LATE, HARD, OK_LATE]),
        ("shop/message/<o%2Fdd@id>", [STRANGER]),
        ("shop/message/<98494.1.1@shop>", []),
        ("shop?from=0", [LATE, HARD, OK_LATE, STRANGER]),
        (f"shop?from={MS + MINUTE}", [LATE, HARD, OK_LATE, STRANGER]),
        (f"shop?from={MS + MINUTE + 1}", [HARD, OK_LATE, STRANGER]),
        (f"shop?to={MS + 3 * MINUTE}", [LATE, HARD, OK_LATE]),
        (f"shop?to={MS + 3 * MINUTE - 1}", [LATE, HARD]),
        (f"shop?from={MS + 2 * MINUTE}&to={MS + 3 * MINUTE}", [HARD, OK_LATE]),
        (f"shop/rcptEmail/a@x.example?from={MS + 2 * MINUTE}", [OK_LATE, STRANGER]),
        ("shop?from=never&to=&lastOrFirst=maybe", [LATE, HARD, OK_LATE, STRANGER]),
        ("shop?from=9&to=1", []),
    ],
)  # fmt: skip
async def test_entries(shop: Web, path: str, entries: list[object]) -> None:
    assert brief(await shop.result(f"/agent-read/{path}")) == entries


@pytest.mark.parametrize(
    ("query", "entry"),
    [
        ("lastOrFirst=true", STRANGER),
        ("lastOrFirst=false", LATE),
        (f"to={MS + 3 * MINUTE}&lastOrFirst=true", OK_LATE),
        (f"from={MS + 2 * MINUTE}&lastOrFirst=false", HARD),
        (f"from={MS + 2 * MINUTE}&to={MS + 3 * MINUTE}&lastOrFirst=true", OK_LATE),
    ],
)
async def test_last_or_first(shop: Web, query: str, entry: tuple[object, ...]) -> None:
    assert brief([await shop.result(f"/agent-read/shop?{query}")]) == [entry]


async def test_last_of_nothing_is_null(shop: Web) -> None:
    assert await shop.result("/agent-read/nobody?lastOrFirst=true") is None


async def test_grouped(shop: Web) -> None:
    groups = await shop.result("/agent-read/shop?groupBy=msgId")
    assert {key: brief(group) for key, group in groups.items()} == {
        "98494.1.1": [LATE, HARD, OK_LATE],
        "<o/dd@id>": [STRANGER],
    }


async def test_grouped_in_two_steps_is_keyed_by_the_inner_property_first(shop: Web) -> None:
    path = f"/agent-read/shop?groupBy=queueId-and-rcptEmail&from={MS}&to={MS + 4 * MINUTE}"
    groups = await shop.result(path)
    assert {outer: {k: brief(v) for k, v in inner.items()} for outer, inner in groups.items()} == {
        "a@x.example": {"4jXPlN1VQlzJb1": [LATE, OK_LATE]},
        "b@x.example": {"4jXPlN1VQlzJb1": [HARD]},
    }


async def test_grouped_with_one_entry_each_within_bounds(shop: Web) -> None:
    path = f"/agent-read/shop?groupBy=rcptEmail&lastOrFirst=true&to={MS + 4 * MINUTE}"
    groups = await shop.result(path)
    assert {key: brief([entry]) for key, entry in groups.items()} == {
        "a@x.example": [OK_LATE],
        "b@x.example": [HARD],
    }


async def test_a_client_id_that_needs_to_be_quoted(tmp_path: Path) -> None:
    name = 'a/b c?%é&"'
    quoted = quote(name, safe="")
    lines = message(message_id=f"<98494.1.1@{name}>", deliveries=[
        deferred("4jXPlN1VQlzJbSD", "a@x.example", T(1)),
    ])  # fmt: skip
    with web(tmp_path, lines) as app:
        assert brief(await app.result(f"/agent-read/{quoted}")) == [LATE]
        page = await app.text("/agent-read")
        assert f'action="/agent-read/{quoted}"' in page
        assert "a/b c?%é&amp;&#34;" in page


# --- Envelope ----------------------------------------------------------------------------------


async def envelope(app: Web, path: str, **headers: str) -> tuple[int, dict[str, Any], bytes]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    response = await app.get(path, headers=sent)
    assert response.headers["Content-Type"] == "application/json;charset=utf-8"
    body = await response.get_data(as_text=False)
    return response.status_code, msgspec.json.decode(body), body


async def test_envelope_for_everybody(shop: Web) -> None:
    status, answer, body = await envelope(shop, "/agent-read/nobody")
    assert (status, set(answer)) == (200, {"result", "status"})
    assert set(answer["status"]) == {"succeeded", "message", "timeStamp"}
    assert answer["status"]["succeeded"] is True
    assert answer["status"]["message"] == "OK"
    assert abs(answer["status"]["timeStamp"] - time.time() * 1000) < 60_000
    assert body.startswith(b'{\n  "result": [],\n')


async def test_envelope_for_the_originals_client(shop: Web) -> None:
    _, answer, body = await envelope(
        shop, "/agent-read/nobody", client_version="2.0", User_Agent="smtp-agent-http-client"
    )
    assert set(answer["status"]) == {
        "succeeded", "message", "timeStamp", "version", "responseTime",
    }  # fmt: skip
    assert answer["status"]["version"] == "1.2.3"
    assert 0 <= answer["status"]["responseTime"] < 60_000
    assert b"\n" not in body


async def test_a_client_of_unknown_version_gets_no_more_members(shop: Web) -> None:
    _, answer, _ = await envelope(shop, "/agent-read/nobody", client_version="unknown")
    assert set(answer["status"]) == {"succeeded", "message", "timeStamp"}


@pytest.mark.parametrize(
    "path",
    [
        "/agent-nonsense",
        "/agent-status/nonsense",
        "/agent-status/unknown-bounces/more",
        "/agent-shutdown/now",
        "/agent-read//queue/1",
        "/agent-read/shop//",
        "/agent-read/shop/more",
        "/agent-read/shop/rcptEmail",
        "/agent-read/shop/rcptEmail/nobody",
        "/agent-read/shop/queue",
        "/agent-read/shop/queue/1/2",
        "/agent-read/shop/message/<a/b@c>",
        "/agent-read/shop/sender/a@b",
        "/agent-read/shop?groupBy=sender",
        "/agent-read/nobody?groupBy=sender",
        "/agent-read/shop?groupBy=msgId-and-msgId",
    ],
)
async def test_what_does_not_exist_is_501(shop: Web, path: str) -> None:
    status, answer, _ = await envelope(shop, path)
    assert status == 501
    assert answer["result"] is None
    assert answer["status"]["succeeded"] is False
    assert answer["status"]["message"].startswith("Invalid request uri /agent-")
    assert " or query string: " in answer["status"]["message"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_there_is_only_get(shop: Web, method: str) -> None:
    response = await shop.get("/agent-read/shop", method=method)
    assert response.status_code == 501


async def test_a_failure_is_500_without_a_word_about_the_code(
    shop: Web, caplog: pytest.LogCaptureFixture
) -> None:
    shop.store.connection.execute("DROP TABLE outcome")
    with caplog.at_level(logging.ERROR, "pda.web"):
        status, answer, body = await envelope(shop, "/agent-read/shop")
    assert (status, answer["result"], answer["status"]["succeeded"]) == (500, None, False)
    assert b"Traceback" not in body
    assert b"outcome" not in body
    assert "'/agent-read/…' failed: OperationalError('no such table: outcome')" in caplog.text


async def test_what_takes_too_long_is_408(tmp_path: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    with web(tmp_path, LINES, settings=Settings(request_timeout=0.3)) as app:
        # A view in place of the table: every question about outcomes is endless.
        app.store.connection.execute("ALTER TABLE outcome RENAME TO kept")
        app.store.connection.execute(
            f"CREATE VIEW outcome AS SELECT entry_id, ({endless}) AS first_at FROM kept"
        )
        with trio.fail_after(20):
            status, answer, _ = await envelope(app, "/agent-status/index-age")
        assert (status, answer["result"], answer["status"]["succeeded"]) == (408, None, False)
        # The question was interrupted: its connection answers again.
        with trio.fail_after(20):
            for _ in range(2 * app.readers.size):
                assert await app.result("/agent-status/indexed-log-files") == []


# --- /agent-status -----------------------------------------------------------------------------


async def test_status(shop: Web) -> None:
    await shop.result("/agent-read/shop", headers={"client-version": "2.0"})
    await shop.result("/agent-read/shop?lastOrFirst=true")
    shop.service.last_line_at = STARTED_AT
    answer = await shop.result("/agent-status")
    statistics = answer.pop("Client statistics")
    assert answer == {
        "Agent restarted at": date_text(STARTED_AT),
        "Agent started at": date_text(STARTED_AT),
        "Last line received at": date_text(STARTED_AT),
        "Count of indexed client-id log lines from backup": 1,
        "Count of indexed message-id log lines from backup": 3,
        "Count of indexed log entries (delivery attempts regardless of the status) from backup": 7,
    }
    assert set(statistics) == {"shop"}
    assert set(statistics["shop"]) == {
        "clientId", "clientVersion", "requestsCount", "lastRequestAt",
    }  # fmt: skip
    assert statistics["shop"]["requestsCount"] == 2
    assert statistics["shop"]["clientVersion"] == "unknown"


async def test_statistics_are_bounded(shop: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pda.web.original_api._MOST_STATISTICS", 3)
    for name in ("a", "b", "c", "a", "d"):
        await shop.result(f"/agent-read/{name}", headers={"client-version": "9" * 300})
    statistics = (await shop.result("/agent-status"))["Client statistics"]
    assert {name: one["requestsCount"] for name, one in statistics.items()} == {
        "c": 1, "a": 2, "d": 1,
    }  # fmt: skip
    assert statistics["d"]["clientVersion"] == "9" * 100


async def test_no_line_yet(shop: Web) -> None:
    assert (await shop.result("/agent-status"))["Last line received at"] == "not yet"


def test_dates_are_local_with_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Prague")
    time.tzset()
    try:
        assert date_text(STARTED_AT) == "2026 Mar 10 11:00:00.123"
    finally:
        monkeypatch.undo()
        time.tzset()


async def test_addresses(shop: Web) -> None:
    assert await shop.result("/agent-status/rcpt-address-counts/") == {"post": 2, "shop": 3}
    assert await shop.result("/agent-status/rcpt-addresses") == {
        "post": ["a@x.example", "d@x.example"],
        "shop": ["a@x.example", "b@x.example", "c@x.example"],
    }


async def test_unknown_bounces(shop: Web) -> None:
    answer = await shop.result("/agent-status/unknown-bounces")
    assert answer.pop("post") == []
    (bounce,) = answer.pop("shop")
    assert answer == {}
    assert brief([bounce]) == [STRANGER]
    assert bounce["stateInfo"] == "unable to decide on type of bounce"


async def test_a_bounce_of_no_client_is_nobodys(tmp_path: Path) -> None:
    strange = attempt("bounced", to="a@x.example", reason=STRANGE, dsn="5.0.0")
    with web(tmp_path, [strange]) as app:
        assert await app.result("/agent-status/unknown-bounces") == {}


async def test_the_rest_of_the_status(shop: Web) -> None:
    assert await shop.result("/agent-status/index-age") == MS + MINUTE
    assert await shop.result("/agent-status/memory-usage") == {"residentMemory": 50_000_000}
    assert await shop.result("/agent-status/index-memory-footprint") == {
        "database octets": 81920,
        "open entries": 7,
    }
    assert await shop.result("/agent-status/indexed-log-files") == []


async def test_age_of_nothing_is_now(tmp_path: Path) -> None:
    with web(tmp_path) as app:
        age = await app.result("/agent-status/index-age")
    assert abs(age - time.time() * 1000) < 60_000


@pytest.mark.parametrize("path", ["/agent-read", "/agent-read/", "/agent-status/server-info"])
async def test_views_are_pages(shop: Web, path: str) -> None:
    response = await shop.get(path)
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/html")


async def test_the_form_asks_what_is_answered(shop: Web) -> None:
    page = await shop.text("/agent-read")
    assert page.count('<form class="query"') == 2
    assert 'action="/agent-read/shop"' in page
    everything_empty = "/agent-read/shop?from=&to=&lastOrFirst=&groupBy="
    assert len(await shop.result(everything_empty)) == 4


# --- Actions -----------------------------------------------------------------------------------

ACTIONS = [
    ("agent-shutdown", "stop"),
    ("agent-restart", "restart"),
    ("agent-reindex", "reindex"),
    ("agent-refresh-bouncelist", "reload"),
]


@pytest.mark.parametrize(("path", "asked"), ACTIONS)
async def test_actions_are_off_by_default(shop: Web, path: str, asked: str) -> None:
    status, answer, _ = await envelope(shop, f"/{path}")
    assert (status, answer["result"], answer["status"]["succeeded"]) == (403, None, False)
    assert asked not in shop.service.asked


@pytest.mark.parametrize(("path", "asked"), ACTIONS)
async def test_actions_of_an_admin(tmp_path: Path, path: str, asked: str) -> None:
    users = [user("root", "admin"), user("eve"), user("shop", "client", "shop")]
    with web(tmp_path, settings=Settings(allow_actions=True), users=users) as app:
        for other in ("eve", "shop"):
            assert (await app.get(f"/{path}", user=other)).status_code == 403
        foreign = {"Sec-Fetch-Site": "cross-site"}
        assert (await app.get(f"/{path}", user="root", headers=foreign)).status_code == 403
        foreign = {"Origin": "https://evil.example"}
        assert (await app.get(f"/{path}", user="root", headers=foreign)).status_code == 403
        assert (await app.get(f"/{path}", user="root", method="HEAD")).status_code == 501
        assert app.service.asked == []
        assert isinstance(await app.result(f"/{path}/", user="root"), str)
        assert app.service.asked == [asked]


# --- A client sees its own mail only -----------------------------------------------------------


async def test_a_client_sees_its_own_mail_only(tmp_path: Path) -> None:
    with web(tmp_path, LINES, users=[user("shop", "client", "shop"), user("boss")]) as app:
        own = partial(app.result, user="shop")
        assert len(await own("/agent-read/shop")) == 4
        assert await own("/agent-read/post") == []
        assert await own("/agent-read/post?groupBy=msgId") == {}
        assert await own("/agent-read/post?lastOrFirst=true") is None
        assert await own("/agent-status/rcpt-address-counts") == {"shop": 3}
        assert set(await own("/agent-status/rcpt-addresses")) == {"shop"}
        assert set(await own("/agent-status/unknown-bounces")) == {"shop"}
        await app.result("/agent-read/post", user="boss")
        status = await own("/agent-status")
        assert set(status["Client statistics"]) == {"shop"}
        assert status["Count of indexed message-id log lines from backup"] == 2
        assert (await app.text("/agent-read", user="shop")).count('<form class="query"') == 1
        for path in ("memory-usage", "index-memory-footprint", "indexed-log-files", "server-info"):
            assert (await app.get(f"/agent-status/{path}", user="shop")).status_code == 403


async def test_a_foreign_client_is_answered_as_an_unknown_one(tmp_path: Path) -> None:
    with web(tmp_path, LINES, users=[user("shop", "client", "shop")]) as app:
        answers = [
            msgspec.json.decode(await app.text(f"/agent-read/{name}{query}", user="shop"))["result"]
            for query in ("", "?groupBy=queueId", "?lastOrFirst=false", "/queue/4jXPlN1VQlzJb3")
            for name in ("post", "nobody")
        ]
    assert answers[::2] == answers[1::2]


# --- The original's own samples ----------------------------------------------------------------

PRAGUE = ZoneInfo("Europe/Prague")


@pytest.fixture
def samples(tmp_path: Path) -> Iterator[Web]:
    folder = SHARED / "original"
    with web(tmp_path) as app:
        packed = (folder / "backup-multiple-clients.log.2.gz").read_bytes()
        app.store.add(gzip.decompress(packed).splitlines(), PRAGUE, live=False)
        plain = (folder / "backup-single-client.log.1").read_bytes()
        app.store.add(plain.splitlines(), PRAGUE, live=False)
        yield app


@needs_shared
async def test_samples_count_as_in_the_original(samples: Web) -> None:
    counts = {}
    for client in ("test-mail-module", "first-client-id", "second-client-id", "third-client-id"):
        entries = await samples.result(f"/agent-read/{client}")
        assert all(set(entry) == MEMBERS for entry in entries)
        counts[client] = Counter(entry["status"] for entry in entries)
        assert {entry["state"] for entry in entries} <= {0, 1, 4}
    # Each has one more attempt, sent at once, which this path leaves out.
    others = Counter(deferred=6, bounced=1, expired=1)
    assert counts == {
        "test-mail-module": Counter(sent=1, deferred=12, bounced=1, expired=1),
        "first-client-id": others,
        "second-client-id": others,
        "third-client-id": others,
    }
    status = await samples.result("/agent-status")
    assert [value for key, value in status.items() if "delivery attempts" in key] == [39]


@needs_shared
async def test_samples_have_no_unknown_bounce(samples: Web) -> None:
    assert await samples.result("/agent-status/unknown-bounces") == {
        "first-client-id": [],
        "second-client-id": [],
        "test-mail-module": [],
        "third-client-id": [],
    }


@needs_shared
async def test_samples_in_day_steps(samples: Web) -> None:
    groups = []
    for day in range(7):
        start = datetime(2013, 6, 10, 10, tzinfo=PRAGUE) + timedelta(days=day)
        since, until = (int(t.timestamp() * 1000) for t in (start, start + timedelta(days=1)))
        path = f"/agent-read/test-mail-module?from={since}&to={until}&groupBy=msgId"
        groups.append(len(await samples.result(path)))
    assert groups == [1, 0, 0, 0, 0, 1, 1]
