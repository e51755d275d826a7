"""Keeps the write-ahead log small while the service runs, and says who keeps it from that.

Owns when it is looked at. Knows no SQL. Live lines wait for half a second at the most.
"""

from __future__ import annotations

import logging
from pathlib import Path

import trio

from pda.ingest import Ingest
from pda.store import wal
from pda.store.database import DatabaseError
from pda.store.writer import Writer

log = logging.getLogger(__name__)

_EVERY_S = 10.0


class Checkpoints:
    """Of one database."""

    def __init__(self, ingest: Ingest, writer: Writer, database: Path) -> None:
        self._ingest = ingest
        self._writer = writer
        self._database = database

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await trio.sleep(_EVERY_S)
            await self.once()

    async def once(self) -> None:
        """Cuts the log where it is larger than it should be."""
        state, octets = self._ingest.writer_state, wal.size(self._database)
        held = state.log_held
        if octets > wal.LIMIT:
            try:
                state.log_held = not await self._ingest.exclusively(self._writer.cut_log)
            except DatabaseError as error:  # what is to be written says so too, and louder
                log.debug("the write-ahead log cannot be copied now: %s", error)
                return
        else:
            state.log_held = False
        if state.log_held and not held:
            log.warning(
                "the write-ahead log has %d MB and cannot be cut: somebody has been reading the"
                " database for long (a backup, pda query); it grows until they end",
                octets // 1_000_000,
            )
        elif held and not state.log_held:
            log.info("the write-ahead log is small again")
