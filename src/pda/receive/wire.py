"""One connection's octets, and how long it is waited for.

Owns the socket: reading, writing, its half close, and that it ends when our patience does. What
the octets mean is a conversation's business.
"""

from __future__ import annotations

import math
import socket
from contextlib import suppress

import trio

from pda.receive.edge import Edge

_READ, _READ_ALL = 128 * 1024, 16 * 1024 * 1024
"""Octets of one read from a connection, and of one read from each connection together."""
_KEEPALIVE = {socket.TCP_KEEPIDLE: 60, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 6}
_SILENCE, _GRACE = 1.0, 10.0
"""Seconds without an octet, and seconds at all, that an end gives the other side."""


class Wire:
    """A connection as a conversation sees it."""

    def __init__(self, sock: socket.socket, sender: str, edge: Edge) -> None:
        self.sender = sender
        self.edge = edge
        self._socket = trio.socket.from_stdlib_socket(sock)
        self._reading, self._waiting = trio.CancelScope(), trio.CancelScope()
        self._interrupted = False
        self._silence = self._end = math.inf
        for option, seconds in _KEEPALIVE.items():
            sock.setsockopt(socket.IPPROTO_TCP, option, seconds)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def close(self) -> None:
        """Ends it at once."""
        self._socket.close()

    def hurry(self) -> None:
        """From now on nothing is waited for longer than an end may take."""
        self._end = min(self._end, trio.current_time() + _GRACE)
        for scope in (self._reading, self._waiting):
            scope.deadline = min(scope.deadline, self._end)

    def half_close(self) -> None:
        """Tell the sender that we go (RFC 9293 §3.6) and give it time to end."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        self._silence = _SILENCE
        self._reading.deadline = trio.current_time() + _SILENCE
        self.hurry()

    def interrupt(self) -> None:
        """Lets one `read`, the one that waits or the next, return nothing."""
        self._interrupted = True
        self._reading.cancel()

    async def read(self) -> bytes:
        """The next octets; none at the end of the stream or of our patience."""
        counters = self.edge.counters
        size = max(4096, min(_READ, _READ_ALL // counters.connections_open))
        deadline = min(trio.current_time() + self._silence, self._end)
        octets = b""
        with trio.CancelScope(deadline=deadline) as self._reading:
            if self._interrupted:
                self._reading.cancel()
            try:
                octets = await self._socket.recv(size)
            except OSError:  # reset, or no answer to keep-alives: what came before counts
                counters.connection_errors += 1
        self._interrupted = False
        counters.octets += len(octets)
        counters.nul += octets.count(0)
        return octets

    async def write(self, octets: bytes) -> bool:
        """Send all of it; False where the other side, or our patience, has gone."""
        rest = memoryview(octets)
        with suppress(OSError), trio.CancelScope(deadline=self._end) as self._waiting:
            while rest:
                rest = rest[await self._socket.send(rest) :]
        return not rest

    async def wait(self, event: trio.Event) -> bool:
        """Wait for something that is to be written; False once our patience has gone."""
        with trio.CancelScope(deadline=self._end) as self._waiting:
            await event.wait()
        return event.is_set()

    def refuse(self, error: Exception) -> None:
        """Count and say that the connection is closed for what it sent."""
        self.edge.counters.bad_framing += 1
        self.edge.complain(self.sender, f"closed a connection ({error})")
