"""The receiving edge: UDP and TCP sockets become batches of lines on a channel.

Owns listeners, connections, their limits and what is counted about them. Knows no word of what
a line says: it finds frames (RFC 6587 for TCP, RFC 5426 for UDP) and hands them on as octets.

The channel is bounded: while it is full no connection is read, and TCP slows its sender down. A
datagram cannot be slowed down; the kernel's buffer is large, and what it drops is counted.
A graceful stop loses nothing that a sender has sent before it could see the stop.
"""

from __future__ import annotations

import errno
import functools
import logging
import math
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Literal, TypeAlias

import trio

from pda.maillog.framing import DEFAULT_LIMIT, FrameDecoder, trim

__all__ = ["Address", "Counters", "Lines", "Listener", "Network", "serve"]

log = logging.getLogger(__name__)

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = tuple[str, int]
"""Host and port."""

_BATCH, _BATCH_ALL = 1000, 256 * 1024
"""Datagrams, and their octets, taken without letting other tasks run."""
_READ, _READ_ALL = 128 * 1024, 16 * 1024 * 1024
"""Octets of one read from a connection, and of one read from each connection together."""
_DATAGRAM = 65536  # no UDP datagram is larger
_UDP_BUFFER = 32 * 1024 * 1024  # a second of 50,000 datagrams
# Octets that sit in our kernel are lost when we are killed: let them stay with the sender.
_TCP_BUFFER = 256 * 1024
_BACKLOG = 1024
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h; needs CAP_NET_ADMIN
_KEEPALIVE = {socket.TCP_KEEPIDLE: 60, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 6}
_DROPS_EVERY = 10.0
"""Seconds between two looks at the kernel's count of dropped datagrams."""
_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_NO_DESCRIPTOR_PAUSE = 0.1
# After our FIN: an rsyslog that looks before each batch (omfwd) sends no more, another may.
_SILENCE, _GRACE = 1.0, 10.0
"""Seconds without an octet, and seconds at all, that a stop gives each connection to end."""
_NOT_ALLOWED = "refused a {} that 'allow' does not list"
_COMPLAIN_EVERY, _COMPLAIN_ABOUT = 60.0, 100
"""Seconds between two lines of our own log about one sender, and senders remembered for it."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One socket to receive from; checked when made.

    Raises ValueError, in one sentence, for what cannot work or is not safe.
    """

    protocol: Literal["udp", "tcp"]
    host: str
    """An IPv4 or IPv6 address; `0.0.0.0` or `::` for all that the machine has of that kind."""
    port: int
    """0 lets the kernel choose."""
    zone: str = ""
    """For stamps without a zone: an IANA name; empty for the service's own default."""
    hostname: str = ""
    """Handed on with each line; empty where the line's header has it."""
    allow: tuple[Network, ...] = ()
    """Who may send; required beyond loopback."""
    max_connections: int = 1000
    limit: int = DEFAULT_LIMIT
    """Octets of one line; the rest of a longer one is cut off."""

    def __post_init__(self) -> None:
        if self.protocol not in ("udp", "tcp"):
            raise ValueError(f"protocol {self.protocol!r} is neither 'udp' nor 'tcp'")
        try:
            address = ip_address(self.host)
        except ValueError:
            raise ValueError(
                f"host {self.host!r} is no IP address: write 127.0.0.1, ::1, 0.0.0.0 or ::"
            ) from None
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port {self.port} is not between 0 and 65535")
        if self.max_connections < 1 or self.limit < 1:
            raise ValueError("max_connections and limit must be at least 1")
        if not address.is_loopback and not self.allow:
            raise ValueError(
                f"a listener on {self.host} can be reached from other machines: "
                "list the networks that may send to it in 'allow'"
            )

    def admits(self, host: str) -> bool:
        """Whether a sender of this address may send."""
        return not self.allow or any(ip_address(host) in network for network in self.allow)


@dataclass(frozen=True, slots=True)
class Lines:
    """What was read at once, in its order, without framing and trailers."""

    lines: list[bytes]
    received_at: int
    """µs since the epoch."""
    zone: str
    hostname: str
    partial: bool = False
    """The only line was cut by the end of its stream: to be taken only if it is complete."""


@dataclass(slots=True)
class Counters:
    """What happened at one listener since it was started; nothing is dropped uncounted."""

    lines: int = 0
    octets: int = 0
    nul: int = 0
    """NUL octets seen; some senders end their frames with one."""
    oversize: int = 0
    """Lines cut at the limit."""
    partial: int = 0
    """Lines cut by the end of their stream, handed on as such."""
    incomplete: int = 0
    """Counted frames cut by the end of their stream, dropped."""
    bad_framing: int = 0
    """Connections closed because what they sent cannot be syslog."""
    refused_senders: int = 0
    """Datagrams and connections from addresses that may not send."""
    refused_connections: int = 0
    """Connections over the maximum."""
    connections: int = 0
    connections_open: int = 0
    connection_errors: int = 0
    """Connections that broke, or could not be accepted."""
    kernel_drops: int = 0
    """Datagrams that the kernel dropped because its buffer was full."""
    receive_buffer: int = 0
    """Octets of the kernel's buffer for datagrams."""
    last_line_at: int = 0
    """µs since the epoch."""


async def serve(
    listener: Listener,
    channel: trio.MemorySendChannel[Lines],
    counters: Counters,
    stop: trio.Event,
    *,
    task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Receive for `listener` until `stop` is set; started with the address it listens at.

    All that was received before is handed on, then `channel` is closed: give each server a clone.
    Raises OSError when the address cannot be listened at.
    """
    edge = _Edge(listener, channel, counters)
    async with channel:
        if listener.protocol == "udp":
            await _serve_udp(edge, stop, task_status)
        else:
            await _serve_tcp(edge, stop, task_status)


class _Edge:
    """What all sockets of one listener share: the way out, the counters and who may send."""

    def __init__(
        self, listener: Listener, channel: trio.MemorySendChannel[Lines], counters: Counters
    ) -> None:
        self.listener = listener
        self.counters = counters
        self.admits: Callable[[str], bool] = functools.lru_cache(4096)(listener.admits)
        self._channel = channel
        self._complained: dict[str, float] = {}

    def complain(self, sender: str, what: str) -> None:
        """Log what a sender did: once a minute, however often it does it. All of it is counted."""
        now, told = trio.current_time(), self._complained
        if now - told.get(sender, -math.inf) < _COMPLAIN_EVERY:
            return
        if len(told) >= _COMPLAIN_ABOUT:
            told = {one: at for one, at in told.items() if now - at < _COMPLAIN_EVERY}
            self._complained = told
        if len(told) < _COMPLAIN_ABOUT:  # else so many at once that no line about one more helps
            told[sender] = now
            log.warning("%s from %s", what, sender)

    async def hand_on(self, lines: list[bytes], *, partial: bool = False) -> None:
        """Give the lines to whoever takes them; waits while the channel is full."""
        if not lines:
            return
        now, listener, counters = time.time_ns() // 1000, self.listener, self.counters
        counters.lines += len(lines)
        counters.last_line_at = now
        await self._channel.send(Lines(lines, now, listener.zone, listener.hostname, partial))


def _bind(listener: Listener) -> socket.socket:
    """The listener's socket, bound, listening where it is a stream, never blocking."""
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    kind = socket.SOCK_DGRAM if listener.protocol == "udp" else socket.SOCK_STREAM
    # getaddrinfo of an address asks nobody; it knows the form with a scope (fe80::1%eth0).
    info = socket.getaddrinfo(
        listener.host, listener.port, family, kind, flags=socket.AI_NUMERICHOST
    )
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _TCP_BUFFER)  # is inherited
        sock.bind(info[0][4])
        if kind == socket.SOCK_STREAM:
            sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


async def _wake_at(stop: trio.Event, sock: socket.socket) -> None:
    await stop.wait()
    trio.lowlevel.notify_closing(sock)


async def _readable(sock: socket.socket, stop: trio.Event) -> bool:
    """Wait until `sock` has something; False once it is time to stop."""
    if stop.is_set():
        return False
    try:
        await trio.lowlevel.wait_readable(sock)
    except trio.ClosedResourceError:  # `_wake_at`
        return False
    return True


# --- UDP: one message per datagram (RFC 5426 §3.1) ---------------------------------------------


async def _serve_udp(edge: _Edge, stop: trio.Event, task_status: trio.TaskStatus[Address]) -> None:
    with _bind(edge.listener) as sock:
        edge.counters.receive_buffer = _enlarge_buffer(sock)
        task_status.started(sock.getsockname()[:2])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_wake_at, stop, sock)
            nursery.start_soon(_watch_drops, sock, edge.counters)
            while await _readable(sock, stop):
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


def _datagrams(sock: socket.socket, edge: _Edge) -> tuple[list[bytes], bool]:
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
                edge.complain(sender[0], _NOT_ALLOWED.format("datagram"))
            octets += len(datagram)
            if octets > _BATCH_ALL:
                break
        more = True
    edge.counters.refused_senders += refused
    return _texts(lines, edge), more


def _texts(datagrams: list[bytes], edge: _Edge) -> list[bytes]:
    """The datagrams as lines within the limit, without their trailers."""
    counters, limit = edge.counters, edge.listener.limit
    counters.octets += sum(map(len, datagrams))
    counters.nul += sum(datagram.count(0) for datagram in datagrams)
    counters.oversize += sum(len(datagram) > limit for datagram in datagrams)
    return [line for datagram in datagrams if (line := trim(datagram[:limit]))]


async def _drain(sock: socket.socket, edge: _Edge) -> None:
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


# --- TCP (RFC 6587) ----------------------------------------------------------------------------


async def _serve_tcp(edge: _Edge, stop: trio.Event, task_status: trio.TaskStatus[Address]) -> None:
    listening = _bind(edge.listener)
    async with trio.open_nursery() as nursery:
        connections = _Connections(edge, nursery)
        with listening as sock:
            task_status.started(sock.getsockname()[:2])
            nursery.start_soon(_wake_at, stop, sock)
            while await _readable(sock, stop):
                await connections.accept(sock)
            # Those that wait to be accepted may have sent already.
            await connections.accept(sock)
        connections.finish()


class _Connections:
    """The open connections of one listener."""

    def __init__(self, edge: _Edge, nursery: trio.Nursery) -> None:
        self._edge = edge
        self._nursery = nursery
        self._open: set[_Connection] = set()

    async def accept(self, sock: socket.socket) -> None:
        """Take in the connections that wait."""
        for _ in range(_BACKLOG):
            try:
                accepted, sender = sock.accept()
            except BlockingIOError:
                return
            except OSError as error:  # the peer has gone, or no descriptor is free (accept(2))
                self._edge.counters.connection_errors += 1
                if error.errno in _NO_DESCRIPTOR:
                    await trio.sleep(_NO_DESCRIPTOR_PAUSE)
                    return
                continue
            self._take_in(accepted, sender[0])

    def finish(self) -> None:
        """Ask every sender to end."""
        for connection in self._open:
            connection.finish()

    def _take_in(self, accepted: socket.socket, sender: str) -> None:
        if not self._welcomes(sender):
            accepted.close()
            return
        connection = _Connection(accepted, sender, self._edge)
        self._open.add(connection)
        self._edge.counters.connections += 1
        self._edge.counters.connections_open += 1
        self._nursery.start_soon(self._run, connection)

    def _welcomes(self, host: str) -> bool:
        counters = self._edge.counters
        if not self._edge.admits(host):
            counters.refused_senders += 1
            self._edge.complain(host, _NOT_ALLOWED.format("connection"))
            return False
        if len(self._open) >= self._edge.listener.max_connections:
            counters.refused_connections += 1
            self._edge.complain(host, "refused a connection more than max_connections")
            return False
        return True

    async def _run(self, connection: _Connection) -> None:
        try:
            await connection.run()
        except trio.BrokenResourceError:  # nobody takes lines any more
            raise
        except Exception:  # one connection's failure never hurts another
            self._edge.counters.connection_errors += 1
            log.exception("the connection from %s failed", connection.sender)
        finally:
            self._open.discard(connection)
            self._edge.counters.connections_open -= 1


class _Connection:
    """One sender's stream, until it ends, breaks or cannot be read as syslog."""

    def __init__(self, sock: socket.socket, sender: str, edge: _Edge) -> None:
        self.sender = sender
        self._socket = trio.socket.from_stdlib_socket(sock)
        self._edge = edge
        self._decoder = FrameDecoder(edge.listener.limit)
        self._reading = trio.CancelScope()
        self._silence = self._end = math.inf
        for option, seconds in _KEEPALIVE.items():
            sock.setsockopt(socket.IPPROTO_TCP, option, seconds)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    async def run(self) -> None:
        """Read to the end; what was read is handed on, whatever the end is."""
        with self._socket:
            while octets := await self._read():
                await self._decode(octets)
                if self._decoder.error:
                    self._edge.counters.bad_framing += 1
                    what = f"closed a connection ({self._decoder.error})"
                    self._edge.complain(self.sender, what)
                    return
        await self._close()

    def finish(self) -> None:
        """Tell the sender that we go (RFC 9293 §3.6, a half close) and give it time to end."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        now = trio.current_time()
        self._silence, self._end = _SILENCE, now + _GRACE
        self._reading.deadline = now + _SILENCE

    async def _read(self) -> bytes:
        """The next octets; none at the end of the stream or of our patience."""
        size = max(4096, min(_READ, _READ_ALL // self._edge.counters.connections_open))
        deadline = min(trio.current_time() + self._silence, self._end)
        with trio.CancelScope(deadline=deadline) as self._reading:
            try:
                return await self._socket.recv(size)
            except OSError:  # reset, or no answer to keep-alives: what came before counts
                self._edge.counters.connection_errors += 1
        return b""

    async def _decode(self, octets: bytes) -> None:
        counters, decoder = self._edge.counters, self._decoder
        counters.octets += len(octets)
        counters.nul += octets.count(0)
        frames = decoder.feed(octets)
        counters.oversize += decoder.oversize
        decoder.oversize = 0
        await self._edge.hand_on(frames)

    async def _close(self) -> None:
        fragment = self._decoder.close()
        self._edge.counters.incomplete += self._decoder.incomplete
        if fragment:
            self._edge.counters.partial += 1
            await self._edge.hand_on([fragment], partial=True)
