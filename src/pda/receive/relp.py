"""A conversation: RELP. A message is acknowledged once it is stored, and never refused.

Owns who waits for what. What was received is handed on and will be stored even if its sender has
gone: after that nobody else may have it. What cannot be stored is not acknowledged, and its
sender keeps it.
"""

from __future__ import annotations

from functools import partial

import trio

from pda.maillog.framing import trimmed
from pda.maillog.relp import RelpServer
from pda.receive.wire import Wire


class Relp:
    """One session, until the client closes it, its connection ends or the service stops."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._edge = wire.edge
        self._server = RelpServer(wire.edge.listener.limit)
        self._finishing = self._all_read = False
        self._news = trio.Event()

    async def run(self) -> None:
        """Read to the end, and answer until all that was read is stored."""
        server = self._server
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._receive_all)
            await self._answer()
            if server.ended:
                nursery.cancel_scope.cancel()
        if self._finishing and not server.ended and server.error is None:
            # What the client sends from here on it will send again: stored, but not answered.
            self._wire.half_close()
            await self._receive()

    def finish(self) -> None:
        """Store and acknowledge what is here, then ask the client to go."""
        self._finishing = True
        self._wire.interrupt()

    async def _receive_all(self) -> None:
        await self._receive()
        self._all_read = True
        self._wire.hurry()
        self._news.set()

    async def _receive(self) -> None:
        """Hand on what comes, until nothing more does or it is not RELP."""
        server, counters = self._server, self._edge.counters
        while octets := await self._wire.read():
            messages = server.feed(octets)
            counters.oversize += server.oversize
            server.oversize = 0
            if messages:  # there is nothing to answer before they are stored
                counters.unacknowledged += len(messages)
                stored = partial(self._stored, len(messages))
                await self._edge.hand_on(trimmed(messages), stored=stored)
            else:
                self._news.set()
            if server.error is not None:
                self._wire.refuse(server.error)
                return

    def _stored(self, count: int) -> None:
        self._edge.counters.unacknowledged -= count
        self._edge.counters.acknowledged += count
        self._server.stored(count)
        self._news.set()

    async def _answer(self) -> None:
        """Send what is to be sent, as soon as it is, while there may be something to send."""
        server = self._server
        while server.error is None:
            self._news = trio.Event()
            while octets := server.outgoing():
                if not await self._wire.write(octets):
                    return
            if server.ended or (self._all_read and not server.unanswered):
                return
            if not await self._wire.wait(self._news):
                return
