"""Orders over the control socket: both ends, with real sockets and descriptors."""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import stat
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
import trio
import trio.testing

from pda import control, orders
from pda.orders import GetStatus, ImportFile, MakeEdit, Order, Reply
from pda.store.accounts import PutUser
from tests.running import Running, eventually
from tests.support import attempt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Answer = Callable[[Reply], Awaitable[None]]


def descriptors() -> int:
    """How many this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def echo(order: Order, files: list[int], answer: Answer) -> None:
    """Answers with the order, and with what the file says that came with it."""
    for descriptor in files:
        text = os.pread(descriptor, 100, 0).decode()
        os.close(descriptor)
        await answer(Reply(final=False, body=msgspec.Raw(json.dumps(text).encode())))
    await answer(Reply(final=True, body=msgspec.Raw(msgspec.json.encode(order))))


@asynccontextmanager
async def serving(path: Path, handle: control.Handler = echo) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(control.serve, path, handle)
        yield
        nursery.cancel_scope.cancel()


def asked(path: Path, order: Order, files: list[int] | None = None) -> list[Reply]:
    sock = orders.running(path)
    assert sock is not None
    return list(orders.ask(sock, order, files))


def said(path: Path, data: bytes, files: list[int] | None = None) -> bytes:
    """What is answered to any octets, until the service closes."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(str(path))
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files or []))]
        sock.sendmsg([data], rights if files else [])
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while part := sock.recv(65536):
                answer += part
        except ConnectionResetError:
            pass  # closed before all was read
        return answer


in_thread = trio.to_thread.run_sync


@pytest.mark.parametrize(
    "order",
    [GetStatus(), MakeEdit(PutUser("ä\n\0", "$argon2id$…", "client", "shop"))],
)
async def test_order_and_reply(tmp_path: Path, order: Order) -> None:
    async with serving(tmp_path / "s"):
        (reply,) = await in_thread(asked, tmp_path / "s", order)
    assert reply.final
    assert msgspec.json.decode(bytes(reply.body), type=Order) == order


async def test_a_file_comes_with_its_order(tmp_path: Path) -> None:
    """What the caller has opened is read, even where the name leads nowhere."""
    (tmp_path / "log").write_text("content")
    before = descriptors()
    async with serving(tmp_path / "s"):
        with (tmp_path / "log").open("rb") as file:
            (tmp_path / "log").unlink()
            order = ImportFile("/nowhere")
            first, last = await in_thread(asked, tmp_path / "s", order, [file.fileno()])
    assert (bytes(first.body), first.final, last.final) == (b'"content"', False, True)
    assert descriptors() == before


JUNK = [
    b"",
    b"\n",
    b"\0\xff\xfe",
    b"{",
    b"[]",
    b'{"type":"status"',
    b'{"type":"shutdown"}',
    b'{"type":"add-user"}',
    b'{"type":"add-user","name":"\xff","password_hash":"","role":""}',
    b'{"type":"import","name":5}',
    b'{"type":"import","name":"no file"}',
    b"[" * 60_000,
    b'{"type":"import","name":"' + b"x" * 300_000 + b'"}',
]


async def test_junk_is_answered_and_ends_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path / "s"):
        for data in JUNK:
            answer = await in_thread(said, tmp_path / "s", data)
            if data:
                reply = msgspec.json.decode(answer, type=Reply)
                assert reply.final
                assert reply.error.startswith("the order is not understood: "), data
        assert await in_thread(asked, tmp_path / "s", GetStatus())


async def test_descriptors_that_nobody_asked_for_are_closed(tmp_path: Path) -> None:
    before = descriptors()
    async with serving(tmp_path / "s"):
        orders = [b"{", msgspec.json.encode(GetStatus()), msgspec.json.encode(ImportFile("x"))]
        for data in orders:
            for files in ([0, 0], [0, 0, 0]) if data == orders[2] else ([0], [0, 0], [0] * 9):
                answer = await in_thread(said, tmp_path / "s", data, files)
                assert b"the order is not understood" in answer
    assert descriptors() == before


async def test_a_very_long_order_is_an_error_for_the_one_who_asks(tmp_path: Path) -> None:
    async with serving(tmp_path / "s"):
        order = MakeEdit(PutUser("x" * 300_000, "", "admin"))
        sock = orders.running(tmp_path / "s")
        assert sock is not None
        replies = orders.ask(sock, order)
        reply = await in_thread(next, replies)
        assert reply.error.startswith("the order is not understood")
        await in_thread(replies.close)  # type: ignore[attr-defined]  # a generator


async def test_only_the_owner_may_connect(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with serving(tmp_path / "s"):
            assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
            assert os.umask(0) == 0  # put back
    finally:
        os.umask(before)


async def test_nothing_is_left_and_a_stale_socket_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with serving(path):
        pass
    assert not path.exists()
    assert orders.running(path) is None
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    assert path.exists()
    assert orders.running(path) is None
    async with serving(path):
        assert await in_thread(asked, path, GetStatus())


async def test_an_order_that_fails_ends_neither_the_service_nor_another_order(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(order: Order, files: list[int], answer: Answer) -> None:
        if isinstance(order, MakeEdit):
            message = "out of luck"
            raise KeyError(message)
        await echo(order, files, answer)

    async with serving(tmp_path / "s", fail):
        (reply,) = await in_thread(asked, tmp_path / "s", MakeEdit(PutUser("x", "", "")))
        assert reply == Reply(final=True, error="the service failed: 'out of luck'")
        assert await in_thread(asked, tmp_path / "s", GetStatus())
    assert "the order MakeEdit failed" in caplog.text


async def test_a_caller_that_has_gone_is_no_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone, told = trio.Event(), trio.Event()

    async def late(order: Order, files: list[int], answer: Answer) -> None:
        await gone.wait()
        try:
            for _ in range(2):
                await answer(Reply(final=False))
        finally:
            told.set()

    async with serving(tmp_path / "s", late):
        sock = orders.running(tmp_path / "s")
        assert sock is not None
        sock.sendall(msgspec.json.encode(GetStatus()))
        sock.close()
        gone.set()
        await told.wait()
        await trio.testing.wait_all_tasks_blocked()
    assert not caplog.records


# --- With the real service -----------------------------------------------------------------------


def test_an_import_goes_on_when_the_caller_has_gone(tmp_path: Path) -> None:
    """Whoever asked dies in the middle; the service imports the file to its end."""
    log = tmp_path / "mail.log"
    lines = [attempt(queue_id=f"4jXPlN1VQl{n:05}") for n in range(30_000)]
    log.write_bytes(b"\n".join(lines))
    with Running(tmp_path) as service:
        sock = orders.running(tmp_path / "pda.db.sock")
        assert sock is not None
        with log.open("rb") as file:
            replies = orders.ask(sock, ImportFile("mail.log"), [file.fileno()])
            assert not next(replies).final
            sock.shutdown(socket.SHUT_RDWR)
        eventually(lambda: service.status()["imports"], lambda found: found[0]["finished"], 60)
        (state,) = service.status()["imports"]
        assert (state["lines"], state["error"]) == (30_000, "")
        assert len(service.attempts()) == 30_000
        assert b"Traceback" not in service.log.read_bytes()
        assert service.stop(signal.SIGTERM) == 0


def test_a_service_that_was_killed_leaves_no_hindrance(tmp_path: Path) -> None:
    with Running(tmp_path) as service:
        service.stop(signal.SIGKILL)
        assert (tmp_path / "pda.db.sock").exists()
        assert orders.running(tmp_path / "pda.db.sock") is None
        service.start()
        assert service.status()["problem"] == ""
