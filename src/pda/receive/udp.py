"""UDP: one message in each datagram (RFC 5426 §3.1).

Owns the socket, its buffer, and the count of what the kernel drops: nobody else knows of that.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

import trio

from pda.maillog.framing import trimmed
from pda.receive.edge import NOT_ALLOWED, Edge, bind, readable, wake_at
from pda.receive.listener import Address, Counters

_BATCH, _BATCH_ALL = 1000, 256 * 1024
"""Datagrams, and their octets, taken without letting other tasks run."""
_DATAGRAM = 65536  # no UDP datagram is larger
_UDP_BUFFER = 32 * 1024 * 1024  # a second of 50,000 datagrams
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h; needs CAP_NET_ADMIN
_DROPS_EVERY = 10.0
"""Seconds between two looks at the kernel's count of dropped datagrams."""


async def serve_udp(edge: Edge, stop: trio.Event, task_status: trio.TaskStatus[Address]) -> None:
    """Receive until `stop` is set, and hand on what the kernel holds then."""
    with bind(edge.listener) as sock:
        edge.counters.receive_buffer = _enlarge_buffer(sock)
        task_status.started(sock.getsockname()[:2])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wake_at, stop, sock)
            nursery.start_soon(_watch_drops, sock, edge.counters)
            while await readable(sock, stop):
                await edge.hand_on(_datagrams(sock, edge)[0])
            await _drain(sock, edge)
            edge.counters.kernel_drops = _kernel_drops(sock)
            nursery.cancel_scope.cancel()


def _enlarge_buffer(sock: socket.socket) -> int:
    """As large a receive buffer as we may have; its size in octets, as the kernel counts."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _UDP_BUFFER)
    except OSError:  # not privileged: the kernel cuts to net.core.rmem_max
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UDP_BUFFER)
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def _datagrams(sock: socket.socket, edge: Edge) -> tuple[list[bytes], bool]:
    """The lines that wait in the kernel, at most a batch; and whether more may wait."""
    lines: list[bytes] = []
    refused, octets, more = 0, 0, False
    admits, receive = edge.admits, sock.recvfrom
    with suppress(BlockingIOError):
        for _ in range(_BATCH):
            datagram, sender = receive(_DATAGRAM)
            if admits(sender[0]):
                lines.append(datagram)
            else:
                refused += 1
                edge.complain(sender[0], NOT_ALLOWED.format("datagram"))
            octets += len(datagram)
            if octets > _BATCH_ALL:
                break
        more = True
    edge.counters.refused_senders += refused
    return _texts(lines, edge), more


def _texts(datagrams: list[bytes], edge: Edge) -> list[bytes]:
    """The datagrams as lines within the limit, without their trailers."""
    counters, limit = edge.counters, edge.listener.limit
    counters.octets += sum(map(len, datagrams))
    counters.nul += sum(datagram.count(0) for datagram in datagrams)
    counters.oversize += sum(len(datagram) > limit for datagram in datagrams)
    return trimmed(datagram[:limit] for datagram in datagrams)


async def _drain(sock: socket.socket, edge: Edge) -> None:
    """Hand on what the kernel still holds, and let no more in."""
    # A connected datagram socket receives from its peer only, here from nobody but itself.
    with suppress(OSError):
        sock.connect(sock.getsockname())
    more = True
    while more:
        lines, more = _datagrams(sock, edge)
        await edge.hand_on(lines)


async def _watch_drops(sock: socket.socket, counters: Counters) -> None:
    while True:
        await trio.sleep(_DROPS_EVERY)
        counters.kernel_drops = _kernel_drops(sock)


def _kernel_drops(sock: socket.socket) -> int:
    """Datagrams dropped for want of room (proc(5), /proc/net/udp): the last column of our line."""
    table = "udp6" if sock.family == socket.AF_INET6 else "udp"
    inode = str(os.fstat(sock.fileno()).st_ino)
    with suppress(OSError):
        for row in Path("/proc/net", table).read_text().splitlines()[1:]:
            columns = row.split()
            if columns[9] == inode:
                return int(columns[12])
    return 0
