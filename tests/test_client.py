"""The client library against the real application, over real sockets."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from pda import client as library
from pda.client import AsyncClient, Change, Client, Feed, PdaError, is_signed, message_id
from pda.maillog.clients import MESSAGE_ID_PATTERN
from pda.posting import signature
from pda.store.feed import last_change
from tests.store.test_suppressions import ANN, UNKNOWN, mail, unknown
from tests.support import attempt, message
from tests.web.support import PASSWORD, Web, user, web

LINES = [
    *message(deliveries=[attempt("deferred", dsn="4.0.0", reason="later")]),
    *unknown(1),
    *mail(2, "sent", to="bob@example.org"),
    *mail(3, "sent", client="other"),
]
USERS = [user("ann"), user("shop", "client", "shop")]


class Served:
    """The application, served from a thread of its own."""

    def __init__(self, app: Web, port: int) -> None:
        self.app = app
        self.url = f"http://127.0.0.1:{port}"
        self.token: trio.lowlevel.TrioToken | None = None

    def add(self, *lines: bytes) -> None:
        """Lines, and the news of their commit."""
        assert self.token is not None
        self.app.store.add(lines)
        with self.app.store.reading() as connection:
            change = last_change(connection)
        trio.from_thread.run_sync(
            self.app.service.news.tell, change, ["shop"], trio_token=self.token
        )


@contextmanager
def served(folder: Path, port: int = 0) -> Iterator[Served]:
    with web(folder, LINES if port == 0 else (), users=USERS if port == 0 else ()) as app:
        sock = socket.create_server(("127.0.0.1", port))
        config = Config()
        config.errorlog = None
        found = Served(app, sock.getsockname()[1])
        config.bind = [f"fd://{sock.detach()}"]
        config.graceful_timeout = 0
        ready, stop = threading.Event(), trio.Event()

        async def main() -> None:
            found.token = trio.lowlevel.current_trio_token()
            async with trio.open_nursery() as nursery:
                await nursery.start(partial(serve, app.app, config, shutdown_trigger=stop.wait))
                ready.set()

        thread = threading.Thread(target=trio.run, args=(main,))
        thread.start()
        assert ready.wait(20)
        assert found.token is not None
        try:
            yield found
        finally:
            found.token.run_sync_soon(app.service.news.close)
            found.token.run_sync_soon(stop.set)
            thread.join()


def test_lists(tmp_path: Path) -> None:
    with served(tmp_path) as service, Client(service.url, user=("ann", PASSWORD)) as pda:
        outcomes = list(pda.outcomes(limit=2))
        assert sorted(one.state for one in pda.outcomes(client="shop")) == [
            "delivered", "hard-bounce", "pending",
        ]  # fmt: skip
        (bounce,) = pda.outcomes(recipient=ANN, client="shop")
        assert (bounce.category, bounce.last_at and bounce.last_at.isoformat()) == (
            "invalid-recipient", "2026-03-01T10:00:01.500000+00:00",
        )  # fmt: skip
        assert [one.status for one in pda.attempts(recipient="bob@example.org")] == ["sent"]
        assert len(list(pda.messages(since="2026-03-01"))) == 4
    assert 2 <= len(outcomes) <= 4


def test_each_client_sees_its_own(tmp_path: Path) -> None:
    with served(tmp_path) as service, Client(service.url, user=("shop", PASSWORD)) as pda:
        assert {one.client_id for one in pda.outcomes()} == {"shop"}


def test_addresses(tmp_path: Path) -> None:
    with served(tmp_path) as service, Client(service.url, user=("shop", PASSWORD)) as pda:
        found = pda.lookup([ANN, "nobody@example.org"], ["98494.2.1"])
        suppressed = list(pda.suppressions(limit=1))
        one = pda.suppression("odd/ad?dress@example.org")
    ann, nobody = found.addresses
    assert ann.hard_bounce is not None
    assert (ann.suppressed, ann.hard_bounce.reply, nobody.messages) == (True, UNKNOWN, 0)
    assert [each.delivered for each in found.message_ids] == [1]
    assert [(each.recipient, each.why and each.why.dsn) for each in suppressed] == [(ANN, "5.1.1")]
    assert (one.recipient, one.suppressed) == ("odd/ad?dress@example.org", False)


def test_the_feed_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also over a restart of the service."""
    monkeypatch.setattr(library, "_PAUSES_S", (0.05,))
    feed, found = Feed(wait=20, client="shop"), list[Change]()
    with served(tmp_path) as service:
        port = int(service.url.rpartition(":")[2])
        with Client(service.url, user=("shop", PASSWORD)) as pda:
            for change in pda.changes(feed):
                found.append(change)
                if len(found) == 3:
                    break
    assert feed.cursor == str(found[1].change)
    with Client(f"http://127.0.0.1:{port}", user=("shop", PASSWORD)) as pda:
        changes = pda.changes(feed)

        def later() -> None:
            with served(tmp_path, port) as service:
                service.add(attempt(at="2026-03-10T10:05:00.000000+00:00", delay="300"))
                done.wait(20)

        done = threading.Event()
        thread = threading.Thread(target=later)
        thread.start()
        while (change := next(changes)).state != "finally-ok":
            found.append(change)
        done.set()
        thread.join()
    assert [one.state for one in found].count("hard-bounce") >= 1
    assert change.client_id == "shop"


async def _everything(url: str) -> list[str]:
    async with AsyncClient(url, user=("ann", PASSWORD)) as pda:
        found = [one.state async for one in pda.outcomes(client="shop")]
        found += [one.recipient async for one in pda.suppressions()]
        found.append((await pda.lookup([ANN])).addresses[0].asked)
        found.append(str((await pda.suppression(ANN, "shop")).suppressed))
        async with aclosing(pda.changes(Feed(final=True, client="shop"))) as changes:
            async for change in changes:
                found.append(change.state)
                if change.state == "delivered":
                    break
    return found


EXPECTED = ["True", ANN, "delivered", "delivered", "hard-bounce", "hard-bounce", "pending"]


def test_under_trio_and_asyncio(tmp_path: Path) -> None:
    with served(tmp_path) as service:
        for found in (trio.run(_everything, service.url), asyncio.run(_everything(service.url))):
            assert sorted(found) == EXPECTED


def test_what_is_refused_says_why(tmp_path: Path) -> None:
    with served(tmp_path) as service:
        with Client(service.url, user=("ann", "wrong")) as pda, pytest.raises(PdaError) as refused:
            list(pda.outcomes())
        with Client(service.url, user=("ann", PASSWORD)) as pda:
            with pytest.raises(PdaError, match="410"):
                next(pda.changes(Feed("99")))
            with pytest.raises(PdaError, match="nothing"):
                list(pda.outcomes(nothing="x"))
    assert (refused.value.status, refused.value.detail) == (
        401, "user name or password are wrong",
    )  # fmt: skip
    with Client("http://127.0.0.1:1") as pda, pytest.raises(httpx.ConnectError):
        pda.lookup()


def test_a_message_id_by_which_the_sender_is_known() -> None:
    made = message_id("newsletter", 4711)
    found = re.fullmatch(MESSAGE_ID_PATTERN, made)
    assert found is not None
    assert found["client"] == "newsletter"
    assert found["msg_id"].startswith("98494.4711.")
    assert made != message_id("newsletter", 4711)
    for client, number in (
        ("a b", 1),
        ("a>", 1),
        ("", 1),
        ("shop", "1@2"),
        ("schön", 1),
        ("x\n", 1),
    ):
        with pytest.raises(ValueError, match="Message-ID"):
            message_id(client, number)


def test_a_request_that_is_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    body, headers = b'{"changes": []}', {"Pda-Timestamp": "1000", "Pda-Signature": ""}
    headers["Pda-Signature"] = signature("secret", "1000", body)
    monkeypatch.setattr("time.time", lambda: 1200.0)
    assert is_signed("secret", {name.lower(): value for name, value in headers.items()}, body)
    assert not is_signed("other", headers, body)
    assert not is_signed("secret", headers, body + b" ")
    assert not is_signed("secret", {}, body)
    monkeypatch.setattr("time.time", lambda: 1400.0)
    assert not is_signed("secret", headers, body)
