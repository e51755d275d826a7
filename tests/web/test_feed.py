"""The feed and the stream over HTTP: who waits is woken, and sees its own only."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from quart_trio.testing import TrioClient

from pda.news import News
from pda.store.accounts import PutUser, RemoveUser
from pda.store.feed import last_change
from pda.web import auth, feed
from pda.web.ports import Settings
from tests.support import attempt, message
from tests.web.support import PASSWORD, Web, basic, user, web

OTHER = "4jXPlN1VQlzJbSX"
LINES = [
    *message(deliveries=[attempt("deferred", dsn="4.0.0", reason="later")]),
    *message(OTHER, message_id="<98494.8.1@other>", deliveries=[attempt(queue_id=OTHER)]),
]
DELIVERED = attempt(at="2026-03-10T10:05:00.000000+00:00", delay="300")
USERS = [user("ann"), user("shop", "client", "shop"), user("none", "client", "none")]


async def asked(app: Web, query: str = "", **how: Any) -> Any:
    response = await app.get(f"/api/v1/outcomes/changes{query}", **how)
    return msgspec.json.decode(await response.get_data(as_text=False))


def commit(app: Web, *lines: bytes, client: str = "shop") -> None:
    app.store.add(lines)
    with app.store.reading() as connection:
        app.service.news.tell(last_change(connection), [client])


async def test_reading_on(tmp_path: Path) -> None:
    with web(tmp_path, LINES) as app:
        first = await asked(app, "?limit=1")
        second = await asked(app, f"?after={first['cursor']}")
        third = await asked(app, f"?after={second['cursor']}")
        latest = await asked(app, "?after=latest")
        final = await asked(app, "?final=true")
    assert [len(one["changes"]) for one in (first, second, third, latest)] == [1, 1, 0, 0]
    assert (first["more"], second["more"]) == (True, False)
    assert second["cursor"] == third["cursor"] == latest["cursor"]
    (change,) = final["changes"]
    assert (change["recipient"], change["state"], change["client_id"], change["last_at"]) == (
        "rcpt@example.org", "delivered", "other", "2026-03-10T10:00:01.500000Z",
    )  # fmt: skip


async def test_each_client_sees_its_own(tmp_path: Path) -> None:
    with web(tmp_path, LINES, users=USERS) as app:
        queries = ["", "?client=shop", "?client=other", "?client="]
        shop = [await asked(app, query, user="shop") for query in queries]
        nobody = [await asked(app, query, user="none") for query in queries]
        everybody = [await asked(app, query, user="ann") for query in queries]
    assert [len(one["changes"]) for one in shop] == [1, 1, 0, 0]
    assert [len(one["changes"]) for one in nobody] == [0, 0, 0, 0]
    assert [len(one["changes"]) for one in everybody] == [2, 1, 1, 0]
    assert {one["cursor"] for one in [*shop, *nobody, *everybody]} == {"2"}


@pytest.mark.parametrize("final", [False, True])
async def test_a_commit_ends_the_wait(tmp_path: Path, final: bool) -> None:
    answers: list[Any] = []
    with web(tmp_path, LINES) as app, trio.fail_after(20):

        async def wait() -> None:
            answers.append(await asked(app, f"?after=2&wait=60&client=shop&final={final}"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            commit(app, attempt("deferred", to="b@example.org"), client="other")
            commit(app, DELIVERED)
    (answer,) = answers
    states = [change["state"] for change in answer["changes"]]
    assert states[-1] == "finally-ok"
    assert final == (len(states) == 1)


async def test_the_wait_ends(tmp_path: Path) -> None:
    with web(tmp_path, LINES) as app, trio.fail_after(20):
        assert (await asked(app, "?after=2&wait=0.01"))["changes"] == []
        app.service.news.close()
        assert (await asked(app, "?after=2&wait=60"))["cursor"] == "2"


@pytest.mark.parametrize(
    ("query", "status"),
    [("after=99", 410), ("after=x", 400), ("wait=61", 400), ("limit=0", 400), ("after=", 400)],
)
async def test_what_cannot_be_asked(tmp_path: Path, query: str, status: int) -> None:
    with web(tmp_path, LINES) as app:
        response = await app.get(f"/api/v1/outcomes/changes?{query}")
        assert response.status_code == status
        assert response.content_type == "application/problem+json"


async def events(
    app: Web, news: list[bytes], count: int, query: str = "", **headers: str
) -> list[tuple[str, Any]]:
    """So many events of a stream; each piece of news is committed once the one before was read."""
    scope: dict[str, Any] = {"client": ("127.0.0.1", 4000)}
    found: list[tuple[str, Any]] = []
    async with TrioClient(app.app).request(
        f"/api/v1/stream{query}", headers=headers, scope_base=scope
    ) as connection:
        await connection.send_complete()
        while len(found) < count:
            octets = await connection.receive()
            for block in octets.decode().split("\n\n"):
                lines = dict(one.split(": ", 1) for one in block.splitlines() if ": " in one)
                if "data" in lines:
                    found.append((lines["id"], msgspec.json.decode(lines["data"])))
            if news:
                commit(app, news.pop(0))
        app.service.news.close()
    return found


async def test_a_stream_goes_on(tmp_path: Path) -> None:
    with web(tmp_path, LINES) as app, trio.fail_after(20):
        found = await events(app, [b"", DELIVERED], 3, "?after=0")
    with web(tmp_path) as app, trio.fail_after(20):
        resumed = await events(app, [], 1, **{"Last-Event-ID": "2"})
    assert [id_ for id_, _ in found] == ["1", "2", "3"]
    assert [change["state"] for _, change in found] == ["pending", "delivered", "finally-ok"]
    assert resumed == found[2:]


async def test_a_stream_ends_with_the_service(tmp_path: Path) -> None:
    with web(tmp_path, LINES, users=USERS) as app, trio.fail_after(20):
        app.service.news.close()
        response = await app.get("/api/v1/stream", user="ann")
        assert response.content_type == "text/event-stream"
        assert await response.get_data(as_text=True) == "retry: 2000\n\n"


async def test_the_heart_beat_has_the_cursor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What concerns others moves it."""
    monkeypatch.setattr(feed, "_HEART_BEAT_S", 0.01)
    scope: dict[str, Any] = {"client": ("127.0.0.1", 4000)}
    with web(tmp_path, LINES, users=USERS) as app, trio.fail_after(20):
        headers = {"Authorization": basic("shop", "correct horse")}
        async with TrioClient(app.app).request(
            "/api/v1/stream", headers=headers, scope_base=scope
        ) as connection:
            await connection.send_complete()
            assert await connection.receive() == b"retry: 2000\n\n"
            assert await connection.receive() == b":\nid: 2\n\n"
            commit(app, attempt(queue_id=OTHER, to="b@example.org"), client="other")
            while (beat := await connection.receive()) == b":\nid: 2\n\n":
                pass
            assert beat == b":\nid: 3\n\n"
            app.service.news.close()


async def test_who_waits_leaves_half_of_the_room_to_who_asks(tmp_path: Path) -> None:
    scope: dict[str, Any] = {"client": ("127.0.0.1", 4000)}
    with web(tmp_path, LINES, settings=Settings(most_requests=3)) as app, trio.fail_after(20):
        async with TrioClient(app.app).request("/api/v1/stream", scope_base=scope) as waiting:
            await waiting.send_complete()
            assert await waiting.receive() == b"retry: 2000\n\n"
            for path in ("/api/v1/outcomes/changes?after=2&wait=1", "/api/v1/stream"):
                response = await app.get(path)
                assert (response.status_code, response.headers["Retry-After"]) == (503, "10")
            assert await asked(app, "?after=2") == {"changes": [], "cursor": "2", "more": False}
            app.service.news.close()
        assert (await app.get("/api/v1/outcomes/changes?after=2&wait=1")).status_code == 200


@pytest.mark.parametrize(
    "edit",
    [RemoveUser("shop"), PutUser("shop", USERS[1].password_hash, "client", "other")],
    ids=["removed", "bound to another client"],
)
async def test_a_stream_ends_with_its_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit: Any
) -> None:
    monkeypatch.setattr(feed, "_HEART_BEAT_S", 0.01)
    scope: dict[str, Any] = {"client": ("127.0.0.1", 4000)}
    with web(tmp_path, LINES, users=USERS) as app, trio.fail_after(20):
        headers = {"Authorization": basic("shop", PASSWORD)}
        async with TrioClient(app.app).request(
            "/api/v1/stream", headers=headers, scope_base=scope
        ) as connection:
            await connection.send_complete()
            assert await connection.receive() == b"retry: 2000\n\n"
            app.store.make(edit)
            with contextlib.suppress(trio.EndOfChannel):
                while True:
                    await connection.receive()


async def test_who_is_removed_while_waiting_is_told_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "_FRESH_S", 0)
    statuses: list[int] = []
    waits, beyond = trio.Event(), News.beyond

    async def heard(news: News, change: int, client: str | None) -> None:
        waits.set()
        await beyond(news, change, client)

    monkeypatch.setattr(News, "beyond", heard)
    with web(tmp_path, LINES, users=USERS) as app, trio.fail_after(20):

        async def wait() -> None:
            response = await app.get("/api/v1/outcomes/changes?after=2&wait=60", user="shop")
            statuses.append(response.status_code)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await waits.wait()
            app.store.make(RemoveUser("shop"))
            commit(app, DELIVERED)
    assert statuses == [401]
