"""The receiving edge over real loopback sockets: listeners, TCP, what is said about senders."""

from __future__ import annotations

import os
import re
import resource
import socket
import struct
import time
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path

import pytest
import trio
import trio.testing

from pda.receive import Address, Counters, Lines, Listener, serve
from pda.receive.edge import Edge
from tests.receive.support import HOSTS, LINE, count, end_of, has_ipv6, running, tcp, udp, until

# --- What may be listened at -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"protocol": "sctp"}, "protocol 'sctp' is none of"),
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


async def test_all_of_ipv6_leaves_the_port_of_ipv4_to_another_listener() -> None:
    if not has_ipv6():
        pytest.skip("no IPv6 here")
    here = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    async with running(tcp("0.0.0.0", allow=here)) as four:
        port = four.address[1]
        async with running(Listener("tcp", "::", port, allow=here)) as six:
            for edge, host in ((four, "127.0.0.1"), (six, "::1")):
                with socket.create_connection((host, port)) as sock:
                    sock.sendall(LINE + b"\n")
                assert await edge.lines(1) == [LINE]


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
        await stream.send_all(count(LINE))
        assert await edge.lines(1) == [LINE[:30]]
    assert edge.counters.oversize == 3


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
                for _ in range(200):  # it waits rather than trying all the time
                    await trio.lowlevel.checkpoint()
                assert edge.counters.connection_errors < 20
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            client.sendall(LINE + b"\n")
            assert await edge.lines(1) == [LINE]


_PROC_TCP = Path("/proc/net/tcp")


@pytest.mark.skipif(not _PROC_TCP.exists(), reason="Linux shows timers of sockets")
async def test_a_sender_that_has_vanished_is_noticed_by_keep_alives() -> None:
    async with running(tcp()) as edge:
        stream = await edge.connect()
        await until(lambda: edge.counters.connections_open == 1)
        theirs = f":{stream.socket.getsockname()[1]:04X}"
        rows = [row.split() for row in _PROC_TCP.read_text().splitlines()]  # noqa: ASYNC240 memory
        (timer,) = [row[5] for row in rows if row[2].endswith(theirs)]
    assert timer.startswith("02:")  # proc(5): the keep-alive timer


async def test_many_connections_share_the_memory_of_reads() -> None:
    async with running(tcp()) as edge:
        streams = [await edge.connect() for _ in range(400)]
        await until(lambda: edge.counters.connections_open == 400)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(streams[0].send_all, b"<1>x\n" * 200_000)
            sizes: list[int] = []
            while sum(sizes) < 200_000:
                sizes.append(len((await edge.channel.receive()).lines))
    # The first read began when the connection was the only one.
    assert 5 * max(sizes[1:]) <= 16 * 1024 * 1024 / 400 + 5


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
    return [record.getMessage() for record in caplog.records if record.name == "pda.receive.edge"]


async def test_one_line_a_minute_about_each_sender(
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
) -> None:
    autojump_clock.autojump_threshold = 0.05
    monkeypatch.setattr("pda.receive.edge._COMPLAIN_EVERY", 6.0)
    async with running(tcp()) as edge:
        for _ in range(3):
            for _ in range(5):
                stream = await edge.connect()
                await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
                await end_of(stream)
            await trio.sleep(4.5)
        assert edge.counters.bad_framing == 15
    sentence = "closed a connection (TLS, HTTP or something else that is not syslog) from 127.0.0.1"
    assert said(caplog) == [sentence, f"{sentence}; 9 times more since that was said last"]


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
    one = Edge(tcp(), trio.open_memory_channel[Lines](0)[0], Counters())
    for number in range(500):
        one.complain(str(number), "noise")
    assert (len(said(caplog)), len(one._told)) == (100, 100)
    await trio.sleep(60)
    one.complain("7", "noise")
    one.complain("499", "noise")
    assert said(caplog)[100:] == ["noise from 7; and 400 times from others", "noise from 499"]
    assert set(one._told) == {"7", "499"}
