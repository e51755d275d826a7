"""The message that somebody tries with."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import trio

from pda import trying
from pda.store import queries
from pda.store.queries import Filter
from pda.web.ports import TEST_RECIPIENT, ListenerStatus
from tests.support import Store

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


def listener(protocol: str, address: str) -> ListenerStatus:
    return ListenerStatus(protocol=protocol, address=address, last_line_at=0, counters={})


def test_its_lines_tell_of_a_delivery(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(trying.lines(NOW), UTC, live=False)
    (outcome,) = queries.outcomes(store.connection, Filter())
    store.close()
    assert (outcome.recipient, outcome.state) == (TEST_RECIPIENT, "delivered")
    assert outcome.host == "pda-test"


async def test_it_comes_over_tcp(nursery: trio.Nursery) -> None:
    got: list[bytes] = []

    async def take(stream: trio.SocketStream) -> None:
        while data := await stream.receive_some():
            got.append(data)
        await stream.aclose()

    (listening,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listening.socket.getsockname()[1]
    nursery.start_soon(trio.serve_listeners, take, [listening])
    assert await trying.send([listener("tcp", f"0.0.0.0:{port}")], NOW) == ""
    assert b"".join(got).count(b"\n") == 5
    nursery.cancel_scope.cancel()


async def test_it_comes_over_udp() -> None:
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock:
        await sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        assert await trying.send([listener("udp", f"127.0.0.1:{port}")], NOW) == ""
        assert b"status=sent" in b"".join([await sock.recv(2048) for _ in range(5)])


async def test_why_it_could_not_be_sent() -> None:
    assert "no listener" in await trying.send([listener("relp", "127.0.0.1:1")], NOW)
    with trio.socket.socket() as sock:
        await sock.bind(("127.0.0.1", 0))  # nobody listens there
        port = sock.getsockname()[1]
        assert "does not take it" in await trying.send([listener("tcp", f"127.0.0.1:{port}")], NOW)
