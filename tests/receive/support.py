"""Listeners over real loopback sockets, for the tests of the receiving edge."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio

from pda.receive import Address, Counters, Lines, Listener, serve

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


def relp(host: str = "127.0.0.1", **options: object) -> Listener:
    return Listener("relp", host, 0, **options)  # type: ignore[arg-type]


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
