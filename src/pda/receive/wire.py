"""One connection's octets, plain or by TLS, and how long it is waited for.

Owns the socket: reading, writing, its half close, and that it ends when our patience does. What
the octets mean is a conversation's business.
"""

from __future__ import annotations

import math
import socket
from contextlib import suppress

import trio

from pda.receive.edge import Edge
from pda.tls import Certificates

_READ, _READ_ALL = 128 * 1024, 16 * 1024 * 1024
"""Octets of one read from a connection, and of one read from each connection together."""
_KEEPALIVE = {socket.TCP_KEEPIDLE: 60, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 6}
_HANDSHAKE, _GOODBYE = 10.0, 1.0
_SILENCE, _GRACE = 1.0, 10.0
"""Seconds without an octet, and seconds at all, that an end gives the other side."""


class Wire:
    """A connection as a conversation sees it."""

    def __init__(self, sock: socket.socket, sender: str, edge: Edge) -> None:
        self.sender = sender
        self.edge = edge
        self._socket = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        self._stream = self._octets(edge.listener.certificates)
        self._reading, self._waiting = trio.CancelScope(), trio.CancelScope()
        self._interrupted = False
        self._silence = self._end = math.inf
        for option, seconds in _KEEPALIVE.items():
            sock.setsockopt(socket.IPPROTO_TCP, option, seconds)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def _octets(self, certificates: Certificates | None) -> trio.abc.Stream:
        if certificates is None:
            return self._socket
        return trio.SSLStream(
            self._socket, certificates.context, server_side=True, https_compatible=True
        )

    async def open(self) -> bool:
        """Be ready to be read; False where that fails, which is counted and said."""
        if not isinstance(self._stream, trio.SSLStream):
            return True
        certificates = self.edge.listener.certificates
        assert certificates is not None
        deadline = min(trio.current_time() + _HANDSHAKE, self._end)
        why = "it took too long"
        with trio.CancelScope(deadline=deadline) as self._waiting:
            try:
                await self._stream.do_handshake()
            except trio.BrokenResourceError as error:
                why = getattr(error.__cause__, "reason", None) or "it was broken off"
            else:
                if certificates.admits(self._stream.getpeercert()):
                    return True
                why = "the certificate has none of the names that 'peers' lists"
        self.edge.counters.bad_tls += 1
        self.edge.complain(self.sender, f"closed a connection (TLS: {why})")
        return False

    async def aclose(self) -> None:
        """Ends it, with the other side told or not."""
        with trio.move_on_after(_GOODBYE, shield=True):
            await self._stream.aclose()

    def hurry(self) -> None:
        """From now on nothing is waited for longer than an end may take."""
        self._end = min(self._end, trio.current_time() + _GRACE)
        for scope in (self._reading, self._waiting):
            scope.deadline = min(scope.deadline, self._end)

    def half_close(self) -> None:
        """Tell the sender that we go (RFC 9293 §3.6) and give it time to end."""
        with suppress(OSError):
            self._socket.socket.shutdown(socket.SHUT_WR)
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
                octets = bytes(await self._stream.receive_some(size))
                self._acknowledge_at_once()
            except (
                trio.BrokenResourceError,
                trio.ClosedResourceError,
            ):  # reset, or no answer to keep-alives: what came before counts
                counters.connection_errors += 1
        self._interrupted = False
        counters.octets += len(octets)
        if b"\0" in octets:  # to count looks at each octet
            counters.nul += octets.count(0)
        return octets

    def _acknowledge_at_once(self) -> None:
        """Let TCP do so: our own answer comes after a commit only.

        A sender that has not switched off Nagle's algorithm (librelp) waits for that, else 40 ms
        for each window.
        """
        with suppress(OSError):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    async def write(self, octets: bytes) -> bool:
        """Send all of it; False where the other side, or our patience, has gone."""
        with suppress(trio.BrokenResourceError), trio.CancelScope(deadline=self._end) as scope:
            self._waiting = scope
            await self._stream.send_all(octets)
            return True
        return False

    async def wait(self, event: trio.Event) -> bool:
        """Wait for something that is to be written; False once our patience has gone."""
        with trio.CancelScope(deadline=self._end) as self._waiting:
            await event.wait()
        return event.is_set()

    def refuse(self, error: Exception) -> None:
        """Count and say that the connection is closed for what it sent."""
        self.edge.counters.bad_framing += 1
        self.edge.complain(self.sender, f"closed a connection ({error})")
