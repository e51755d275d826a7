"""What all sockets of one listener share: the way out, the counters, who may send.

Owns how a socket is bound and waited for, and what our own log says about senders. Knows no
protocol.
"""

from __future__ import annotations

import functools
import logging
import socket
import time
from collections.abc import Callable

import msgspec
import trio

from pda.receive.listener import Counters, Lines, Listener

log = logging.getLogger(__name__)

# Octets that sit in our kernel are lost when we are killed: let them stay with the sender.
_TCP_BUFFER = 256 * 1024
BACKLOG = 1024
NOT_ALLOWED = "refused a {} that 'allow' does not list"
_COMPLAIN_EVERY, _COMPLAIN_ABOUT = 60.0, 100
"""Seconds between two lines of our own log about one sender, and senders remembered for it."""


class _Told(msgspec.Struct):
    """When our log told something about a sender, and how often it has kept silent since."""

    at: float
    untold: int = 0


class Edge:
    """The way out of one listener's sockets."""

    def __init__(
        self, listener: Listener, channel: trio.MemorySendChannel[Lines], counters: Counters
    ) -> None:
        self.listener = listener
        self.counters = counters
        self.admits: Callable[[str], bool] = functools.lru_cache(4096)(listener.admits)
        self._channel = channel
        self._told: dict[str, _Told] = {}
        self._others_untold = 0

    def complain(self, sender: str, what: str) -> bool:
        """Log what a sender did: once a minute, however often it does it. All of it is counted.

        Says whether it was logged now.
        """
        now, told = trio.current_time(), self._told.get(sender)
        if told is not None and now - told.at < _COMPLAIN_EVERY:
            told.untold += 1
            return False
        if told is None and not self._has_room(now):
            self._others_untold += 1  # so many at once that no line about one more helps
            return False
        more = (
            [f"; {told.untold} times more since that was said last"] if told and told.untold else []
        )
        if self._others_untold:
            more.append(f"; and {self._others_untold} times from others")
        self._told[sender], self._others_untold = _Told(now), 0
        log.warning("%s from %s%s", what, sender, "".join(more))
        return True

    def _has_room(self, now: float) -> bool:
        """Whether one more sender may be told about; forgets those of an earlier minute."""
        if len(self._told) >= _COMPLAIN_ABOUT:
            recent = {s: told for s, told in self._told.items() if now - told.at < _COMPLAIN_EVERY}
            self._told = recent
        return len(self._told) < _COMPLAIN_ABOUT

    async def hand_on(
        self,
        lines: list[bytes],
        *,
        partial: bool = False,
        stored: Callable[[], None] | None = None,
    ) -> None:
        """Give the lines to whoever takes them; waits while the channel is full."""
        if not lines and stored is None:
            return
        now, listener, counters = time.time_ns() // 1000, self.listener, self.counters
        counters.lines += len(lines)
        counters.last_line_at = now
        octets = sum(map(len, lines))
        said = lines, now, listener.zone, listener.hostname, octets
        batch = Lines(*said, partial, stored)
        try:  # a turn of the loop costs as much as a hundred lines
            self._channel.send_nowait(batch)
        except trio.WouldBlock:
            await self._channel.send(batch)


def bind(listener: Listener) -> socket.socket:
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
            sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


async def wake_at(stop: trio.Event, sock: socket.socket) -> None:
    """Lets `readable` return when it is time to stop."""
    await stop.wait()
    trio.lowlevel.notify_closing(sock)


async def readable(sock: socket.socket, stop: trio.Event) -> bool:
    """Wait until `sock` has something; False once it is time to stop."""
    if stop.is_set():
        return False
    try:
        await trio.lowlevel.wait_readable(sock)
    except trio.ClosedResourceError:  # `wake_at`
        return False
    return True
