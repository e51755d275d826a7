"""The RELP edge over real loopback sockets: who is told what, and when."""

from __future__ import annotations

import socket
import struct

import pytest
import trio
import trio.testing

from pda.receive import Lines
from tests.receive.support import LINE, Edge, end_of, relp, running, tcp, until

OPEN = b"1 open 16 commands=syslog\n\n"


def frames(first: int, *messages: bytes) -> bytes:
    numbered = enumerate(messages, first)
    return b"".join(b"%d syslog %d %s\n" % (number, len(m), m) for number, m in numbered)


def answers(first: int, last: int) -> bytes:
    return b"".join(b"%d rsp 6 200 OK\n" % number for number in range(first, last + 1))


async def opened(edge: Edge) -> trio.SocketStream:
    stream = await edge.connect()
    await stream.send_all(OPEN)
    reply = await said(stream, b"\ncommands=syslog\n")
    assert reply.startswith(b"1 rsp 55 200 OK\nrelp_version=0\n")
    return stream


async def said(stream: trio.SocketStream, end: bytes) -> bytes:
    """What the other side says until `end`."""
    found = b""
    while not found.endswith(end):
        octets = await stream.receive_some()
        assert octets, found
        found += octets
    return found


def store(batch: Lines) -> list[bytes]:
    """As if it had been committed."""
    assert batch.stored is not None
    batch.stored()
    return batch.lines


async def test_a_message_is_acknowledged_when_it_is_stored() -> None:
    async with running(relp(zone="Europe/Berlin", hostname="mx9")) as edge:
        stream = await opened(edge)
        await stream.send_all(frames(2, LINE + b"\n", b"<1>a\nb", b"\n"))
        batch = await edge.channel.receive()
        assert (batch.lines, batch.zone, batch.hostname) == (
            [LINE, b"<1>a\nb"], "Europe/Berlin", "mx9",
        )  # fmt: skip
        await trio.testing.wait_all_tasks_blocked(0.02)
        with pytest.raises(BlockingIOError):
            stream.socket._sock.recv(1)  # type: ignore[attr-defined]
        assert edge.counters.unacknowledged == 3
        store(batch)
        assert await said(stream, b"4 rsp 6 200 OK\n") == answers(2, 4)
    assert (edge.counters.acknowledged, edge.counters.unacknowledged) == (3, 0)


async def test_what_has_no_line_is_acknowledged_in_its_order() -> None:
    async with running(relp()) as edge:
        stream = await opened(edge)
        await stream.send_all(frames(2, LINE))
        first = await edge.channel.receive()
        await stream.send_all(frames(3, b"\n"))
        second = await edge.channel.receive()
        assert second.lines == []
        store(first)
        assert await said(stream, b"2 rsp 6 200 OK\n") == answers(2, 2)
        store(second)
        assert await said(stream, b"3 rsp 6 200 OK\n") == answers(3, 3)


async def test_close_is_answered_after_all_messages_and_ends_the_connection() -> None:
    async with running(relp()) as edge:
        stream = await opened(edge)
        await stream.send_all(frames(2, LINE) + b"3 close 0\n")
        store(await edge.channel.receive())
        assert await end_of(stream) == answers(2, 2) + b"3 rsp 0\n0 serverclose 0\n"
        await until(lambda: edge.counters.connections_open == 0)


async def test_what_was_received_is_handed_on_though_its_sender_has_gone() -> None:
    async with running(relp(), size=0) as edge:
        stream = await opened(edge)
        await stream.send_all(frames(2, LINE, b"<1>a") + frames(4, b"<1>b")[:-3])
        await trio.testing.wait_all_tasks_blocked(0.02)
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await stream.aclose()
        assert store(await edge.channel.receive()) == [LINE, b"<1>a"]
        await until(lambda: edge.counters.connections_open == 0)
    assert edge.counters.unacknowledged == 0


async def test_a_client_that_sends_no_more_still_hears_its_acknowledgements() -> None:
    async with running(relp()) as edge:
        stream = await opened(edge)
        await stream.send_all(frames(2, LINE))
        await stream.send_eof()
        store(await edge.channel.receive())
        assert await end_of(stream) == answers(2, 2)


async def test_a_client_that_has_gone_is_not_waited_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    autojump_clock.autojump_threshold = 0.05
    async with running(relp()) as edge:
        stream = await opened(edge)
        await stream.send_all(frames(2, LINE))
        await edge.channel.receive()
        await stream.aclose()
        begun = trio.current_time()
        while edge.counters.connections_open:  # noqa: ASYNC110 nobody is told
            await trio.sleep(1)
        assert trio.current_time() - begun < 12


async def test_nothing_is_closed_for_being_idle(autojump_clock: trio.testing.MockClock) -> None:
    autojump_clock.autojump_threshold = 0.05
    async with running(relp()) as edge:
        stream = await opened(edge)
        await trio.sleep(15)
        await stream.send_all(frames(2, LINE))
        store(await edge.channel.receive())
        assert await said(stream, b"OK\n") == answers(2, 2)


@pytest.mark.parametrize("greeting", [b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n", LINE])
async def test_what_is_not_relp_closes_only_its_connection(greeting: bytes) -> None:
    async with running(relp()) as edge:
        other, stream = await opened(edge), await edge.connect()
        await stream.send_all(greeting)
        assert await end_of(stream) == b""
        await other.send_all(frames(2, LINE))
        assert store(await edge.channel.receive()) == [LINE]
        assert await said(other, b"OK\n") == answers(2, 2)
    assert edge.counters.bad_framing == 1


async def test_messages_before_a_mistake_are_handed_on() -> None:
    async with running(relp()) as edge:
        stream = await opened(edge)
        await stream.send_all(frames(2, LINE) + frames(7, LINE))
        assert store(await edge.channel.receive()) == [LINE]
        assert await end_of(stream) == b""


async def test_a_client_that_reads_no_acknowledgement_hurts_nobody() -> None:
    number = 200_000
    async with running(relp()) as edge, trio.open_nursery() as nursery:
        stream = await opened(edge)
        nursery.start_soon(stream.send_all, frames(2, *[b"x"] * number))
        found = 0
        while found < number:
            found += len(store(await edge.channel.receive()))
        other = await opened(edge)
        await other.send_all(frames(2, LINE))
        assert store(await edge.channel.receive()) == [LINE]
        assert await said(other, b"OK\n") == answers(2, 2)


async def test_a_stop_acknowledges_what_is_stored_and_lets_the_client_go() -> None:
    async with running(relp()) as edge:
        stream = await opened(edge)
        await stream.send_all(frames(2, LINE))
        batch = await edge.channel.receive()
        edge.stop.set()
        await trio.testing.wait_all_tasks_blocked(0.02)
        store(batch)
        assert await end_of(stream) == answers(2, 2)
        await stream.send_all(frames(3, b"<1>late"))  # before it saw our end
        await stream.aclose()
        assert await edge.rest() == [b"<1>late"]
    assert edge.counters.connections_open == 0


async def test_a_stop_does_not_wait_for_a_disk_that_refuses(
    autojump_clock: trio.testing.MockClock,
) -> None:
    autojump_clock.autojump_threshold = 0.05
    async with running(relp()) as edge:
        stream = await opened(edge)
        await stream.send_all(frames(2, LINE))
        await edge.channel.receive()
        begun = trio.current_time()
        edge.stop.set()
        assert await edge.rest() == []
        assert trio.current_time() - begun < 12
        assert await end_of(stream) == b""


async def test_back_pressure_reaches_the_client() -> None:
    async with running(relp(), size=1) as edge, trio.open_nursery() as nursery:
        stream = await opened(edge)
        messages = [b"<1>%060d" % n for n in range(100_000)]
        sent = trio.Event()

        async def send() -> None:
            await stream.send_all(frames(2, *messages))
            sent.set()

        nursery.start_soon(send)
        await until(lambda: edge.counters.lines > 0)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert not sent.is_set()
        found: list[bytes] = []
        while len(found) < len(messages):
            found += store(await edge.channel.receive())
        assert found == messages
        while not sent.is_set():  # nobody reads acknowledgements, which stops nothing
            await trio.lowlevel.checkpoint()


async def test_relp_on_the_plain_port_is_no_syslog() -> None:
    """A rule with the wrong port: the frames are texts that no header begins."""
    async with running(tcp()) as edge:
        stream = await edge.connect()
        await stream.send_all(OPEN)
        assert await edge.lines(1) == [OPEN.splitlines()[0]]
