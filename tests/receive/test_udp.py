"""The receiving edge over UDP, with real loopback sockets."""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import ip_network

import pytest
import trio
import trio.testing

from tests.receive.support import HOSTS, LINE, running, udp


@pytest.mark.parametrize("host", HOSTS)
async def test_udp_takes_one_line_from_each_datagram(host: str) -> None:
    async with running(udp(host, zone="UTC", hostname="mx9")) as edge:
        with edge.datagrams() as sock:
            for datagram in (LINE, LINE + b"\n", LINE + b"\0", b"<1>a\nb", b"", b"\n", b"<1>\xff"):
                sock.send(datagram)
        assert await edge.lines(5) == [LINE, LINE, LINE, b"<1>a\nb", b"<1>\xff"]
    assert (edge.counters.nul, edge.counters.lines) == (1, 5)
    assert edge.counters.octets == 3 * len(LINE) + 2 + len(b"<1>a\nb\n<1>\xff")


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
            found = await edge.rest()
    # Where the buffer may not be large (net.core.rmem_max) the last ones found no room in it.
    assert found == [b"<1>%d" % number for number in range(2500 - edge.counters.kernel_drops)]
    assert found


async def test_a_batch_of_large_datagrams_is_bounded_by_its_octets() -> None:
    async with running(udp()) as edge:
        with edge.datagrams() as sock:
            for _ in range(30):
                sock.send(b"x" * 60_000)
            edge.stop.set()
            sizes = [sum(map(len, batch.lines)) async for batch in edge.channel]
    assert sum(sizes) == (30 - edge.counters.kernel_drops) * 60_000
    assert len(sizes) > 1
    assert max(sizes) <= 256 * 1024 + 65536


async def test_what_the_kernel_drops_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pda.receive.udp._UDP_BUFFER", 4096)
    async with running(udp()) as edge:
        with edge.datagrams() as sock:
            for _ in range(1000):
                sock.send(LINE)  # nobody reads: the other tasks have no turn
            edge.stop.set()
        received = len(await edge.rest())
    assert received < 1000
    assert received + edge.counters.kernel_drops == 1000


async def test_what_the_kernel_drops_shows_while_the_listener_runs(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr("pda.receive.udp._UDP_BUFFER", 4096)
    async with running(udp()) as edge:
        with edge.datagrams() as sock:
            for _ in range(1000):
                sock.send(LINE)
        await trio.sleep(11)
        assert edge.counters.lines + edge.counters.kernel_drops == 1000


async def test_a_stop_ends_though_datagrams_go_on_coming() -> None:
    """Faster than they are taken: what came before the stop is handed on, and no more."""
    async with running(udp(), size=0) as edge:
        with edge.datagrams() as sock:
            received = 0

            def flood() -> None:
                with suppress(ConnectionRefusedError):
                    for _ in range(1500):
                        sock.send(LINE)

            flood()
            edge.stop.set()
            async for batch in edge.channel:
                received += len(batch.lines)
                flood()
                assert received < 10_000
    assert received


async def test_udp_asks_for_a_large_buffer() -> None:
    async with running(udp()) as edge:
        with edge.datagrams() as usual:
            size = usual.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        assert edge.counters.receive_buffer > size
