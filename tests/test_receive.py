"""The receiving edge over real loopback sockets."""

from __future__ import annotations

import os
import re
import resource
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_network

import pytest
import trio
import trio.testing

from pda import receive
from pda.receive import Address, Counters, Lines, Listener, _Edge, serve

LINE = b"<22>Nov 22 09:38:38 mx1 postfix/qmgr[12]: 4XkABC: removed"


def count(frame: bytes) -> bytes:
    return b"%d %s" % (len(frame), frame)


@dataclass
class Edge:
    """A running listener and what it hands on."""

    address: Address
    counters: Counters
    stop: trio.Event
    channel: trio.MemoryReceiveChannel[Lines]
    streams: list[trio.SocketStream] = field(default_factory=list)

    async def lines(self, number: int) -> list[bytes]:
        """The next lines, whatever batches they come in."""
        found: list[bytes] = []
        while len(found) < number:
            found += (await self.channel.receive()).lines
        return found

    async def rest(self) -> list[bytes]:
        """All lines until the listener has ended."""
        return [line async for batch in self.channel for line in batch.lines]

    async def connect(self) -> trio.SocketStream:
        self.streams.append(await trio.open_tcp_stream(*self.address))
        return self.streams[-1]

    def datagrams(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.connect(self.address)
        return sock


@asynccontextmanager
async def running(listener: Listener, size: int = 100) -> AsyncIterator[Edge]:
    sender, receiver = trio.open_memory_channel[Lines](size)
    counters, stop = Counters(), trio.Event()
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            address = await nursery.start(serve, listener, sender, counters, stop)
            edge = Edge(address, counters, stop, receiver)
            try:
                yield edge
            finally:
                for stream in edge.streams:
                    stream.socket.close()
            nursery.cancel_scope.cancel()


def tcp(host: str = "127.0.0.1", **options: object) -> Listener:
    return Listener("tcp", host, 0, **options)  # type: ignore[arg-type]


def udp(host: str = "127.0.0.1", **options: object) -> Listener:
    return Listener("udp", host, 0, **options)  # type: ignore[arg-type]


async def end_of(stream: trio.SocketStream) -> bytes:
    """What the other side sends until it closes; a reset is an end as well."""
    try:
        return b"".join([octets async for octets in stream])
    except trio.BrokenResourceError:
        return b""


async def until(condition: Callable[[], bool]) -> None:
    """Let the others run until `condition()` holds."""
    while not condition():
        await trio.lowlevel.checkpoint()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


HOSTS = [
    "127.0.0.1",
    pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")),
]


# --- What may be listened at -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"protocol": "sctp"}, "protocol 'sctp' is neither 'udp' nor 'tcp'"),
        ({"host": "localhost"}, "host 'localhost' is no IP address"),
        ({"host": "0.0.0.0"}, "list the networks that may send to it in 'allow'"),
        ({"host": "::"}, "list the networks that may send to it in 'allow'"),
        ({"host": "192.0.2.1"}, "list the networks that may send to it in 'allow'"),
        ({"port": 65536}, "port 65536 is not between 0 and 65535"),
        ({"max_connections": 0}, "at least 1"),
    ],
)
def test_a_listener_that_cannot_work_says_why(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        Listener(**{"protocol": "tcp", "host": "127.0.0.1", "port": 0, **fields})  # type: ignore[arg-type]


def test_beyond_loopback_a_list_of_senders_is_enough() -> None:
    listener = Listener("udp", "::", 514, allow=(ip_network("2001:db8::/32"),))
    assert listener.admits("2001:db8::1")
    assert not listener.admits("192.0.2.1")


async def test_an_address_in_use_is_one_plain_error() -> None:
    async with running(tcp()) as edge:
        sender, _ = trio.open_memory_channel[Lines](1)
        taken = Listener("tcp", *edge.address)
        with pytest.raises(OSError, match="Address already in use"):
            await serve(taken, sender, Counters(), trio.Event())


# --- TCP ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", HOSTS)
async def test_tcp_hands_on_lines_of_both_framings(host: str) -> None:
    async with running(tcp(host, zone="Europe/Berlin", hostname="mx9")) as edge:
        stream = await edge.connect()
        await stream.send_all(LINE + b"\n" + count(LINE) + b"<1>caf\xff\0")
        batch = await edge.channel.receive()
    assert batch.lines == [LINE, LINE, b"<1>caf\xff"]
    assert (batch.zone, batch.hostname, batch.partial) == ("Europe/Berlin", "mx9", False)
    assert edge.counters.lines == 3
    assert edge.counters.octets == len(LINE + b"\n" + count(LINE) + b"<1>caf\xff\0")
    assert edge.counters.nul == 1
    assert edge.counters.last_line_at == batch.received_at
    assert abs(batch.received_at / 1e6 - time.time()) < 60


async def test_half_a_line_at_the_end_is_handed_on_as_such() -> None:
    async with running(tcp()) as edge:
        stream = await edge.connect()
        await stream.send_all(LINE + b"\n" + LINE[:20])
        await stream.aclose()
        batches = [await edge.channel.receive() for _ in range(2)]
    assert [(b.lines, b.partial) for b in batches] == [([LINE], False), ([LINE[:20]], True)]
    assert edge.counters.partial == 1


async def test_half_a_counted_frame_at_the_end_is_dropped_and_counted() -> None:
    async with running(tcp()) as edge:
        stream = await edge.connect()
        await stream.send_all(count(LINE) + count(LINE)[:20])
        await stream.aclose()
        assert await edge.lines(1) == [LINE]
        await until(lambda: edge.counters.connections_open == 0)
    assert edge.counters.incomplete == 1
    assert edge.counters.lines == 1


async def test_a_reset_loses_nothing_that_was_read_and_no_other_connection() -> None:
    async with running(tcp()) as edge:
        other, stream = await edge.connect(), await edge.connect()
        await stream.send_all(LINE + b"\n")
        assert await edge.lines(1) == [LINE]
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await stream.aclose()
        await until(lambda: edge.counters.connection_errors == 1)
        await other.send_all(LINE + b"\n")
        assert await edge.lines(1) == [LINE]
    assert edge.counters.connections == 2


@pytest.mark.parametrize("greeting", [b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"])
async def test_what_is_not_syslog_closes_only_its_connection(greeting: bytes) -> None:
    async with running(tcp()) as edge:
        other, stream = await edge.connect(), await edge.connect()
        await stream.send_all(greeting)
        assert await end_of(stream) == b""
        await other.send_all(LINE + b"\n")
        assert await edge.lines(1) == [LINE]
    assert edge.counters.bad_framing == 1
    assert edge.counters.lines == 1


async def test_oversize_lines_are_cut_and_counted() -> None:
    async with running(tcp(limit=30)) as edge:
        stream = await edge.connect()
        await stream.send_all(LINE + b"\n" + count(LINE) + b"<1>short\n")
        assert await edge.lines(3) == [LINE[:30], LINE[:30], b"<1>short"]
    assert edge.counters.oversize == 2


async def test_connections_over_the_maximum_are_refused_and_counted() -> None:
    async with running(tcp(max_connections=2)) as edge:
        kept = [await edge.connect() for _ in range(2)]
        assert await end_of(await edge.connect()) == b""
        assert edge.counters.refused_connections == 1
        await kept[0].aclose()
        await until(lambda: edge.counters.connections_open == 1)
        again = await edge.connect()
        await again.send_all(LINE + b"\n")
        assert await edge.lines(1) == [LINE]


async def test_a_sender_that_is_not_allowed_is_refused_and_counted() -> None:
    async with running(tcp(allow=(ip_network("192.0.2.0/24"),))) as edge:
        assert await end_of(await edge.connect()) == b""
    assert edge.counters.refused_senders == 1
    assert edge.counters.connections == 0


async def test_a_lack_of_descriptors_is_survived() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as client:
        async with running(tcp()) as edge:
            free = os.dup(client.fileno())
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
            try:
                client.connect(edge.address)
                await until(lambda: edge.counters.connection_errors > 0)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            client.sendall(LINE + b"\n")
            assert await edge.lines(1) == [LINE]


async def test_a_thousand_connections_of_which_most_stall() -> None:
    async with running(tcp()) as edge:
        streams = [await edge.connect() for _ in range(1000)]
        for stream in streams:
            await stream.send_all(LINE[:10])
        for number, stream in enumerate(streams[::10]):
            await stream.send_all(LINE[10:] + b" %d\n" % number)
        lines = await edge.lines(100)
        assert edge.counters.connections_open == 1000
        edge.stop.set()
        for stream in streams:
            await stream.aclose()
        assert [batch.partial async for batch in edge.channel] == [True] * 900
    assert sorted(lines) == sorted(LINE + b" %d" % number for number in range(100))


async def test_back_pressure_reaches_the_sender_and_nothing_is_lost() -> None:
    number = 100_000
    async with running(tcp(), size=1) as edge, trio.open_nursery() as nursery:
        stream = await edge.connect()
        sent = trio.Event()

        async def send() -> None:
            await stream.send_all(b"".join(b"<1>%060d\n" % n for n in range(number)))
            sent.set()
            await stream.aclose()

        nursery.start_soon(send)
        await until(lambda: edge.counters.lines > 0)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert not sent.is_set()  # the channel is full, so the sender waits
        assert await edge.lines(number) == [b"<1>%060d" % n for n in range(number)]


async def test_a_stop_reads_every_connection_to_its_end() -> None:
    """The sender sees our end, finishes what it is about, and closes: all of it arrives."""
    async with running(tcp()) as edge:
        stream = await edge.connect()
        await stream.send_all(LINE + b"\n")
        assert await edge.lines(1) == [LINE]
        edge.stop.set()
        assert await end_of(stream) == b""
        await stream.send_all(b"<1>after\n<1>the stop\n")
        await stream.aclose()
        assert await edge.rest() == [b"<1>after", b"<1>the stop"]
        with pytest.raises(OSError, match="all attempts to connect"):
            await edge.connect()


async def test_a_stop_takes_in_connections_that_were_not_yet_accepted() -> None:
    sender, receiver = trio.open_memory_channel[Lines](1)
    stop = trio.Event()
    stop.set()

    class SendAtOnce:
        """A sender that is faster than the first look at the listener."""

        def started(self, value: Address | None = None) -> None:
            with socket.create_connection(value or ("", 0)) as sock:
                sock.sendall(LINE + b"\n")

    with trio.fail_after(20):
        await serve(tcp(), sender, Counters(), stop, task_status=SendAtOnce())
        assert [batch.lines async for batch in receiver] == [[LINE]]


async def test_a_stop_waits_for_no_sender_that_is_silent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    autojump_clock.autojump_threshold = 0.05
    async with running(tcp()) as edge:
        stream = await edge.connect()
        await until(lambda: edge.counters.connections_open == 1)
        edge.stop.set()
        started = trio.current_time()
        assert await edge.rest() == []
        assert trio.current_time() - started < 2
        await stream.aclose()


async def test_a_stop_ends_though_a_sender_never_does(mock_clock: trio.testing.MockClock) -> None:
    async with running(tcp()) as edge, trio.open_nursery() as nursery:
        stream = await edge.connect()

        async def send_for_ever() -> None:
            with suppress(trio.BrokenResourceError):
                while True:
                    await stream.send_all(LINE + b"\n")
                    mock_clock.jump(0.01)

        nursery.start_soon(send_for_ever)
        await edge.lines(1)
        edge.stop.set()
        stopped = trio.current_time()
        assert set(await edge.rest()) == {LINE}
        assert 9 < trio.current_time() - stopped < 12


# --- What is said about senders -----------------------------------------------------------------


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "pda.receive"]


async def test_one_line_a_minute_about_each_sender(
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
) -> None:
    autojump_clock.autojump_threshold = 0.05
    monkeypatch.setattr(receive, "_COMPLAIN_EVERY", 6.0)
    async with running(tcp()) as edge:
        for _ in range(3):
            for _ in range(5):
                stream = await edge.connect()
                await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
                await end_of(stream)
            await trio.sleep(4.5)
        assert edge.counters.bad_framing == 15
    assert (
        said(caplog)
        == ["closed a connection (TLS, HTTP or something else that is not syslog) from 127.0.0.1"]
        * 2
    )


async def test_refusals_are_said(caplog: pytest.LogCaptureFixture) -> None:
    elsewhere = (ip_network("192.0.2.0/24"),)
    async with running(tcp(allow=elsewhere)) as edge:
        await end_of(await edge.connect())
    async with running(udp(allow=elsewhere)) as edge:
        with edge.datagrams() as sock:
            sock.send(LINE)
            sock.send(LINE)
            await until(lambda: edge.counters.refused_senders == 2)
    async with running(tcp(max_connections=1)) as edge:
        await edge.connect()
        await end_of(await edge.connect())
    assert said(caplog) == [
        "refused a connection that 'allow' does not list from 127.0.0.1",
        "refused a datagram that 'allow' does not list from 127.0.0.1",
        "refused a connection more than max_connections from 127.0.0.1",
    ]


async def test_a_crowd_of_senders_does_not_fill_log_or_memory(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    edge = _Edge(tcp(), trio.open_memory_channel[Lines](0)[0], Counters())
    for number in range(500):
        edge.complain(str(number), "noise")
    assert (len(said(caplog)), len(edge._complained)) == (100, 100)
    await trio.sleep(60)
    edge.complain("7", "noise")
    edge.complain("499", "noise")
    assert said(caplog)[100:] == ["noise from 7", "noise from 499"]
    assert set(edge._complained) == {"7", "499"}


# --- UDP ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", HOSTS)
async def test_udp_takes_one_line_from_each_datagram(host: str) -> None:
    async with running(udp(host, zone="UTC", hostname="mx9")) as edge:
        with edge.datagrams() as sock:
            for datagram in (LINE, LINE + b"\n", LINE + b"\0", b"<1>a\nb", b"", b"\n", b"<1>\xff"):
                sock.send(datagram)
        assert await edge.lines(5) == [LINE, LINE, LINE, b"<1>a\nb", b"<1>\xff"]
    assert (edge.counters.nul, edge.counters.lines) == (1, 5)


async def test_udp_takes_the_largest_datagram_and_cuts_at_the_limit() -> None:
    async with running(udp(limit=60_000)) as edge:
        with edge.datagrams() as sock:
            sock.send(b"x" * 65_507)
        assert await edge.lines(1) == [b"x" * 60_000]
    assert edge.counters.oversize == 1


async def test_udp_refuses_and_counts_senders_that_are_not_allowed() -> None:
    async with running(udp(allow=(ip_network("127.0.0.2/32"),))) as edge:
        with edge.datagrams() as refused:
            refused.send(b"<1>no")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as allowed:
            allowed.bind(("127.0.0.2", 0))
            allowed.sendto(LINE, edge.address)
        assert await edge.lines(1) == [LINE]
    assert edge.counters.refused_senders == 1


async def test_a_stop_hands_on_what_the_kernel_holds() -> None:
    async with running(udp()) as edge:
        with edge.datagrams() as sock:
            for number in range(2500):
                sock.send(b"<1>%d" % number)
            edge.stop.set()
            assert await edge.rest() == [b"<1>%d" % number for number in range(2500)]


async def test_a_batch_of_large_datagrams_is_bounded_by_its_octets() -> None:
    async with running(udp()) as edge:
        with edge.datagrams() as sock:
            for _ in range(30):
                sock.send(b"x" * 60_000)
            edge.stop.set()
            sizes = [sum(map(len, batch.lines)) async for batch in edge.channel]
    assert sum(sizes) == 30 * 60_000
    assert max(sizes) <= 256 * 1024 + 65536


async def test_what_the_kernel_drops_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pda.receive._UDP_BUFFER", 4096)
    async with running(udp()) as edge:
        with edge.datagrams() as sock:
            for _ in range(1000):
                sock.send(LINE)  # nobody reads: the other tasks have no turn
            edge.stop.set()
        received = len(await edge.rest())
    assert received < 1000
    assert received + edge.counters.kernel_drops == 1000


async def test_udp_asks_for_a_large_buffer() -> None:
    async with running(udp()) as edge:
        assert edge.counters.receive_buffer > 212_992 // 2
