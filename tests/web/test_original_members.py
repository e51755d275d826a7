"""Every answer of the original's interface, read by a client that refuses members it does not know.

As the original's Java client: each answer is decoded into a type that forbids unknown members, lacks
no member and takes no null where none may be.
"""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pda.web.original_api import OriginalApi
from pda.web.ports import Settings
from tests.web.support import Web, user, web
from tests.web.test_original_api import LINES, MS

PLAIN: dict[str, str] = {}
JAVA = {"User-Agent": "smtp-agent-http-client", "client-version": "2.0"}


class Strict(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Refuses members that it does not know."""


class Status(Strict):
    succeeded: bool
    message: str
    time_stamp: int


class VersionStatus(Status):
    version: str
    response_time: int


class Entry(Strict):
    date: int
    queue_id: str
    msg_id: str
    rcpt_email: str
    sender_email: str
    status: str
    info: str
    state: int
    state_info: str


class Statistics(Strict):
    client_id: str
    client_version: str
    requests_count: int
    last_request_at: str


AgentStatus = msgspec.defstruct(
    "AgentStatus",
    [
        ("restarted", str, msgspec.field(name="Agent restarted at")),
        ("started", str, msgspec.field(name="Agent started at")),
        ("last", str, msgspec.field(name="Last line received at")),
        ("headers", int, msgspec.field(name="Count of indexed client-id log lines from backup")),
        ("ids", int, msgspec.field(name="Count of indexed message-id log lines from backup")),
        (
            "attempts",
            int,
            msgspec.field(
                name="Count of indexed log entries (delivery attempts regardless of the status)"
                " from backup"
            ),
        ),
        ("clients", dict[str, Statistics], msgspec.field(name="Client statistics")),
    ],
    forbid_unknown_fields=True,
)


class Memory(Strict):
    resident_memory: int


ONES: list[tuple[str, Any]] = [
    ("/agent-status", AgentStatus),
    ("/agent-status/rcpt-address-counts", dict[str, int]),
    ("/agent-status/rcpt-addresses", dict[str, list[str]]),
    ("/agent-status/unknown-bounces", dict[str, list[Entry]]),
    ("/agent-status/index-age", int),
    ("/agent-status/memory-usage", Memory),
    ("/agent-status/index-memory-footprint", dict[str, int]),
    ("/agent-status/indexed-log-files", list[str]),
]
PAGES = ["/agent-read", "/agent-status/server-info"]
ACTIONS = ["/agent-shutdown", "/agent-restart", "/agent-reindex", "/agent-refresh-bouncelist"]
PLACES = [
    "/agent-read/shop",
    "/agent-read/post",
    "/agent-read/nobody",
    "/agent-read/shop/rcptEmail/a@x.example",
    "/agent-read/shop/queue/4jXPlN1VQlzJb1",
    "/agent-read/shop/message/98494.1.1",
]
PROPERTIES = ("rcptEmail", "queueId", "msgId")
GROUPS = ["", *PROPERTIES, *("-and-".join(two) for two in permutations(PROPERTIES, 2))]
TIMES = ["", f"&from={MS}", f"&to={MS + 240_000}", f"&from={MS}&to={MS + 240_000}"]


def of(result: Any, status: type[Status]) -> Any:
    """The envelope around a result."""
    return msgspec.defstruct(
        "Envelope", [("result", result), ("status", status)], forbid_unknown_fields=True
    )


async def read(app: Web, path: str, result: Any, code: int = 200, **how: Any) -> Any:
    """The result of an answer that has these members and no others, whoever asks."""
    for headers, status in ((PLAIN, Status), (JAVA, VersionStatus)):
        response = await app.get(path, headers=headers, **how)
        assert response.status_code == code, path
        assert response.headers["Content-Type"] == "application/json;charset=utf-8"
        body = await response.get_data(as_text=False)
        answer = msgspec.json.decode(body, type=of(result, status))
        assert answer.status.succeeded is (code == 200)
        assert (b"\n" in body) is (headers is PLAIN)
    return answer.result


def test_every_path_is_here() -> None:
    known = {"/" + "/".join(segments) for segments in OriginalApi(None, None)._views}  # type: ignore[arg-type]
    assert known == {*(path for path, _ in ONES), *PAGES, *ACTIONS}


@pytest.mark.parametrize(("path", "result"), ONES)
async def test_status_answers(tmp_path: Path, path: str, result: Any) -> None:
    with web(tmp_path, LINES) as app:
        await app.get("/agent-read/shop")
        for slash in ("", "/"):
            assert await read(app, path + slash, result) is not None


async def test_every_combination_of_a_query(tmp_path: Path) -> None:
    found = 0
    with web(tmp_path, LINES) as app:
        for place, group, one, time in product(
            PLACES[:1], GROUPS, ("", "&lastOrFirst=true", "&lastOrFirst=false"), TIMES
        ):
            each: Any = Entry | None if one else list[Entry]
            levels = len(group.split("-and-")) if group else 0
            for _ in range(levels):
                each = dict[str, each]
            found += bool(await read(app, f"{place}?groupBy={group}{one}{time}", each))
        assert found == 10 * 3 * 4
        for place, group in product(PLACES[1:], GROUPS[:2]):
            each = dict[str, list[Entry]] if group else list[Entry]
            await read(app, f"{place}?groupBy={group}", each)


async def test_actions_answer_a_text(tmp_path: Path) -> None:
    with web(tmp_path, LINES, settings=Settings(allow_actions=True)) as app:
        for path in ACTIONS:
            assert await read(app, path, str)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/agent-x", 501),
        ("/agent-read/shop?groupBy=sender", 501),
        *((path, 403) for path in ACTIONS),
    ],
)
async def test_errors(tmp_path: Path, path: str, code: int) -> None:
    with web(tmp_path, LINES) as app:
        assert await read(app, path, None, code) is None


async def test_other_errors(tmp_path: Path) -> None:
    with web(tmp_path, LINES, users=[user("shop", "client", "shop")]) as app:
        await read(app, "/agent-read/shop", None, 401)
        await read(app, "/agent-status/memory-usage", None, 403, user="shop")
        app.store.connection.execute("ALTER TABLE outcome RENAME TO kept")
        await read(app, "/agent-read/shop", None, 500, user="shop")


async def test_the_home_page_leads_to_every_view_and_action(tmp_path: Path) -> None:
    with web(tmp_path, LINES, settings=Settings(allow_actions=True)) as app:
        assert 'href="/original"' in await app.text("/")
        links = await app.text("/original")
    missing = [
        path for path in [*(p for p, _ in ONES), *PAGES, *ACTIONS] if f'"{path}"' not in links
    ]
    assert not missing
