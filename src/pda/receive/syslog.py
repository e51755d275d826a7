"""A conversation: lines by TCP (RFC 6587), to which nothing is ever answered."""

from __future__ import annotations

from pda.maillog.framing import FrameDecoder
from pda.receive.wire import Wire


class Syslog:
    """One sender's stream, until it ends, breaks or cannot be read as syslog."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._edge = wire.edge
        self._decoder = FrameDecoder(wire.edge.listener.limit)

    async def run(self) -> None:
        """Read to the end; what was read is handed on, whatever the end is."""
        while octets := await self._wire.read():
            frames = self._decoder.feed(octets)
            self._edge.counters.oversize += self._decoder.oversize
            self._decoder.oversize = 0
            await self._edge.hand_on(frames)
            if self._decoder.error:
                self._wire.refuse(self._decoder.error)
                return
        await self._close()

    def finish(self) -> None:
        """Ask the sender to end: an rsyslog that looks before each batch (omfwd) sends no more."""
        self._wire.half_close()

    async def _close(self) -> None:
        fragment = self._decoder.close()
        self._edge.counters.incomplete += self._decoder.incomplete
        if fragment:
            self._edge.counters.partial += 1
            await self._edge.hand_on([fragment], partial=True)
