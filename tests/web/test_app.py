"""What every answer carries, which host names are served, and a real socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from pda.web.app import HEADERS
from pda.web.gate import is_allowed_host
from pda.web.ports import Settings
from tests.support import attempt, line, message
from tests.web.support import Web, user, web


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True),
        ("localhost:1523", True),
        ("LOCALHOST:1523", True),
        ("localhost.", True),
        ("127.0.0.1:1523", True),
        ("192.0.2.9", True),
        ("[::1]:1523", True),
        ("[2001:db8::1]", True),
        ("pda.example.net", True),
        ("PDA.example.net:8443", True),
        ("", False),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("evil.example:127.0.0.1", False),
        ("[evil.example]", False),
        ("[::1", False),
        ("xpda.example.net", False),
    ],
)
def test_host_names(host: str, allowed: bool) -> None:
    assert is_allowed_host(host, {"localhost", "pda.example.net"}) is allowed


async def test_a_foreign_host_name_is_refused_where_no_password_is_asked_for(
    tmp_path: Path,
) -> None:
    foreign = {"Host": "evil.example"}
    with web(tmp_path, settings=Settings(allowed_hosts=("PDA.example.net",))) as app:
        for path in ("/", "/agent-status", "/api/v1/status", "/metrics", "/static/pda.css"):
            assert (await app.get(path, headers=foreign)).status_code == 421
        assert (await app.get("/healthz", headers=foreign)).status_code == 200
        assert (await app.get("/", headers={"Host": "pda.example.net"})).status_code == 200


async def test_who_logs_in_may_use_any_name(tmp_path: Path) -> None:
    named = {"Host": "mail.example.net:1523"}
    with web(tmp_path, users=[user("ann")]) as app:
        assert (await app.get("/agent-status", headers=named)).status_code == 401
        assert (await app.get("/agent-status", headers=named, user="ann")).status_code == 200
        assert (await app.get("/metrics", headers=named)).status_code == 401


@pytest.mark.parametrize(
    "path",
    ["/", "/agent-read", "/agent-read/x", "/agent-x", "/api/v1/status", "/nonsense", "/healthz"],
)
async def test_every_answer_carries_the_security_headers(tmp_path: Path, path: str) -> None:
    with web(tmp_path) as app:
        headers = (await app.get(path)).headers
    assert {name: headers[name] for name in HEADERS} == HEADERS
    assert headers["Cache-Control"] == "no-store"
    assert "Server" not in headers
    assert "Access-Control-Allow-Origin" not in headers


async def test_the_style_sheet_may_be_kept(tmp_path: Path) -> None:
    with web(tmp_path) as app:
        response = await app.get("/static/pda.css")
        assert response.headers["Content-Type"].startswith("text/css")
        assert response.headers["Cache-Control"] == "no-store"
        response = await app.get("/static/pda.css?v=1")
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert (await app.get("/static/../app.py")).status_code == 404
        assert (await app.get("/static/%2e%2e/app.py")).status_code == 404


@asynccontextmanager
async def served(app: Web) -> AsyncIterator[int]:
    """The port of a real server on loopback."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.include_server_header = False
    config.accesslog = config.errorlog = None
    stop = trio.Event()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(partial(serve, app.app, config, shutdown_trigger=stop.wait))
            yield int(bound[0].rpartition(":")[2])
            stop.set()


async def ask(port: int, target: str, extra: str = "", method: str = "GET") -> tuple[str, bytes]:
    """Head and body of an answer, asked as bytes on a socket."""
    request = f"{method} {target} HTTP/1.1\r\nHost: localhost:{port}\r\n{extra}"
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(f"{request}Connection: close\r\n\r\n".encode())
        received = b"".join([part async for part in stream])
    head, _, body = received.partition(b"\r\n\r\n")
    return head.decode("latin-1").lower(), body


async def test_over_a_real_socket(tmp_path: Path) -> None:
    lines = message(message_id="<98494.1.1@a/b c>", deliveries=[
        attempt("deferred", to="ä@x.example", reason="452 4.2.2 mailbox full"),
    ])  # fmt: skip
    agent = "User-Agent: smtp-agent-http-client\r\nclient-version: 2.0\r\n"
    with web(tmp_path, lines) as app:
        async with served(app) as port:
            head, body = await ask(port, "/agent-read/a%2Fb%20c/rcptEmail/%C3%A4@x.example", agent)
            answer = json.loads(body)
            assert head.startswith("http/1.1 200")
            assert "server:" not in head
            assert "content-type: application/json;charset=utf-8" in head
            assert [entry["rcptEmail"] for entry in answer["result"]] == ["ä@x.example"]
            assert set(answer["status"]) == {
                "succeeded", "message", "timeStamp", "version", "responseTime",
            }  # fmt: skip
            # An undecoded slash is a separator.
            head, _ = await ask(port, "/agent-read/a/b%20c")
            assert head.startswith("http/1.1 501")
            absolute = f"http://localhost:{port}/agent-status/index-age"
            head, _ = await ask(port, absolute)
            assert head.startswith("http/1.1 200")
            head, body = await ask(port, "/")
            assert head.startswith("http/1.1 200")
            assert b"a/b c" in body


@pytest.mark.parametrize(
    "target",
    ["/agent-read/%ff%fe", "/agent-read/x?from=%ff&groupBy=%00", "/%00", "/agent-read/%00/queue/%"],
)
async def test_hostile_targets_are_answered(tmp_path: Path, target: str) -> None:
    with web(tmp_path, [line("x")]) as app:
        async with served(app) as port:
            head, _ = await ask(port, target)
    assert head.split()[1] in ("200", "404", "501")
