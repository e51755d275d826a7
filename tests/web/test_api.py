"""Status, health, metrics, and the shape of errors."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from pda.web.ports import RunningImport
from tests.support import attempt, message
from tests.web.support import STARTED_AT, user, web

LINES = message(deliveries=[attempt()])
MEMBERS = {
    "version", "healthy", "problem", "started_at", "uptime", "last_line_at", "listeners",
    "stored", "imports_running", "imports", "rules",
}  # fmt: skip


async def test_status(tmp_path: Path) -> None:
    with web(tmp_path, LINES) as app:
        app.service.last_line_at = STARTED_AT
        app.service.importing = [RunningImport(name="mail.log.1", octets=5, size=10, lines=2)]
        response = await app.get("/api/v1/status")
        assert response.headers["Content-Type"] == "application/json"
        answer = msgspec.json.decode(await response.get_data(as_text=False))
    assert set(answer) == MEMBERS
    assert answer["healthy"] is True
    assert answer["version"] == "1.2.3"
    assert answer["started_at"] == answer["last_line_at"] == "2026-03-10T10:00:00.123456Z"
    assert datetime.fromisoformat(answer["started_at"]).timestamp() == STARTED_AT / 1e6
    assert answer["uptime"] > 0
    assert answer["stored"] == {
        "messages": 1,
        "attempts": 1,
        "recipients": 1,
        "oldest_at": "2026-03-10T10:00:01.500000Z",
    }
    assert answer["listeners"] == [
        {
            "protocol": "tcp",
            "address": "127.0.0.1:5514",
            "last_line_at": "2026-03-10T10:00:00.123456Z",
            "counters": {"lines": 12345, "oversize": 3, "connections_open": 1},
            "dropped": {"oversize": 3},
            "pace": {"now": 17.2, "lately": 4.0, "line": [0.0, 4.0, 17.2]},
        }
    ]
    assert answer["imports_running"] == [
        {
            "name": "mail.log.1",
            "octets": 5,
            "size": 10,
            "lines": 2,
            "pace": {"now": 0.0, "lately": 0.0, "line": []},
        }
    ]
    assert answer["imports"] == []


async def test_status_of_an_empty_store(tmp_path: Path) -> None:
    with web(tmp_path) as app:
        answer = msgspec.json.decode(await app.text("/api/v1/status"))
    assert answer["last_line_at"] is None
    assert answer["stored"]["oldest_at"] is None


async def test_a_client_sees_nothing_of_others(tmp_path: Path) -> None:
    with web(tmp_path, LINES, users=[user("post", "client", "post")]) as app:
        app.service.trouble = "the disk of /srv is full"
        answer = msgspec.json.decode(await app.text("/api/v1/status", user="post"))
    assert set(answer) == MEMBERS
    assert answer["stored"] == {"messages": 0, "attempts": 0, "recipients": 0, "oldest_at": None}
    assert (answer["listeners"], answer["problem"], answer["healthy"]) == ([], "", False)


async def test_health(tmp_path: Path) -> None:
    with web(tmp_path) as app:
        assert await app.text("/healthz") == "ok\n"
        assert await app.text("/readyz") == "ready\n"
        app.service.trouble = "the disk of /srv is full"
        response = await app.get("/healthz")
        assert response.status_code == 503
        assert await response.get_data(as_text=True) == "not ok\n"


async def test_a_store_that_does_not_answer_is_not_healthy(tmp_path: Path) -> None:
    with web(tmp_path) as app:
        app.store.connection.execute("DROP TABLE user")
        assert (await app.get("/healthz")).status_code == 503


async def test_metrics(tmp_path: Path) -> None:
    with web(tmp_path) as app:
        response = await app.get("/metrics")
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert await response.get_data(as_text=True) == "pda_lines_total 12345\n"


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/api/v1/nonsense", "GET", 404),
        ("/api/v2", "GET", 404),
        ("/api/v1/status", "POST", 405),
        ("/api/v1/status", "DELETE", 405),
    ],
)
async def test_errors_are_problem_documents(
    tmp_path: Path, path: str, method: str, status: int
) -> None:
    with web(tmp_path) as app:
        response = await app.get(path, method=method)
        problem = msgspec.json.decode(await response.get_data(as_text=False))
    assert response.status_code == problem["status"] == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert set(problem) == {"type", "title", "status", "detail"}
    if status == 405:
        assert "GET" in response.headers["Allow"]


async def test_a_failure_is_a_problem_without_a_stack_trace(tmp_path: Path) -> None:
    with web(tmp_path, LINES) as app:
        app.store.connection.execute("DROP TABLE outcome")
        response = await app.get("/api/v1/status")
        body = await response.get_data(as_text=True)
    assert response.status_code == 500
    assert "Traceback" not in body
    assert "outcome" not in body
