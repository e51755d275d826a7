"""The journal at work: what senders wait for is made durable first, then worked out.

Owns when a sender is told that its lines are durable, and what is read again at the start. Lines
go on to the same channel as all others; once the transaction that has them is committed, their
part of the journal is given up.

As soon as one group of lines is durable, all that came meanwhile is the next: never by a timer.
Where the journal cannot be written, its senders are told after the commit, as if there were none;
the next group tries it again once all of them were, for they are told in the order of the lines.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import msgspec
import trio

from pda.journal.sealing import Contents, ForeignError, Kept
from pda.journal.segments import Segment, Segments
from pda.receive import Lines

log = logging.getLogger(__name__)

_GROUP = 1024 * 1024
"""Octets of lines in a record, but for what was read last."""
_QUEUED = 16
"""Reads that may come while a group is made durable."""


class JournalState(msgspec.Struct):
    """What the journal did since the start; lines."""

    kept: int = 0
    """Durable, and acknowledged for that."""
    waiting: int = 0
    """In it, and not in the database yet."""
    read_again: int = 0
    """At the start, after a kill, a crash or a power cut."""
    damaged: int = 0
    """Places and files that could not be read then."""
    failures: int = 0
    """Groups that the disk refused."""
    refused: str = ""
    """Why, while it does."""


class Journal:
    """Beside one database."""

    def __init__(self, database: Path, secret: bytes) -> None:
        self.state = JournalState()
        self._segments = Segments(database, secret)
        self._writing = False
        self._unkept = 0  # batches handed on without, whose senders wait for the commit

    def start(
        self, nursery: trio.Nursery, send: trio.MemorySendChannel[Lines]
    ) -> trio.MemorySendChannel[Lines]:
        """Where to send what is to be kept; it ends, and closes `send`, when that is closed."""
        self._segments.load()
        keep, channel = trio.open_memory_channel[Lines](_QUEUED)
        nursery.start_soon(self._run, channel, send)
        return keep

    def close(self) -> None:
        """After all was stored that could be."""
        self._segments.close()
        if self.state.waiting:
            log.warning(
                "%d lines stay in the journal beside the database: the next start works them out",
                self.state.waiting,
            )

    async def _run(
        self, channel: trio.MemoryReceiveChannel[Lines], send: trio.MemorySendChannel[Lines]
    ) -> None:
        async with channel, send:
            for path in self._segments.left():
                await self._read_again(path, send)
            async for first in channel:
                for lines in await self._keep(_take(channel, first)):
                    await send.send(lines)

    # --- what comes -----------------------------------------------------------------------------

    async def _keep(self, group: list[Lines]) -> list[Lines]:
        """The same in fewer pieces, each with what is to be done when it is stored."""
        joined = _joined(group)
        segment = None if self._unkept else await self._append(joined)
        if segment is None:
            return [self._unkept_one(lines) for lines in group]
        for lines in group:
            self.state.kept += len(lines.lines)
            if lines.stored is not None:
                lines.stored()
        segment.waiting += len(joined)
        return [self._kept_one(lines, segment) for lines in joined]

    async def _append(self, group: list[Lines]) -> Segment | None:
        """Where the group is durable; None where the disk refuses it."""
        batches = [Kept(one.lines, one.received_at, one.zone, one.hostname) for one in group]
        self._writing = True
        try:
            segment = await trio.to_thread.run_sync(self._segments.append, batches)
        except OSError as error:
            self._refused(error)
            return None
        finally:
            self._writing = False
        if self.state.refused:
            log.warning("the journal can be written again")
            self.state.refused = ""
        return segment

    def _refused(self, error: OSError) -> None:
        self.state.failures += 1
        if not self.state.refused:
            log.error(
                "the journal beside the database cannot be written (%s): senders are told once"
                " their lines are in the database",
                error.strerror,
            )
        self.state.refused = error.strerror or repr(error)

    def _kept_one(self, lines: Lines, segment: Segment) -> Lines:
        count = len(lines.lines)
        self.state.waiting += count
        return replace(lines, kept=True, stored=partial(self._release, segment, count))

    def _unkept_one(self, lines: Lines) -> Lines:
        def stored() -> None:
            self._unkept -= 1
            if lines.stored is not None:
                lines.stored()

        self._unkept += 1
        return replace(lines, stored=stored)

    def _release(self, segment: Segment, count: int) -> None:
        self.state.waiting -= count
        self._segments.release(segment, writing=self._writing)

    # --- what is left ---------------------------------------------------------------------------

    async def _read_again(self, path: Path, send: trio.MemorySendChannel[Lines]) -> None:
        """Hands on what a file has; what is known already changes nothing."""
        try:
            contents = await trio.to_thread.run_sync(self._segments.read, path)
        except (ForeignError, OSError) as error:
            self.state.damaged += 1
            self._set_aside(path, error)
            return
        self._tell(path, contents)
        segment = Segment(path, len(contents.batches) + 1)
        for batch in contents.batches:
            said = batch.lines, batch.received_at, batch.zone, batch.hostname
            lines = Lines(*said, sum(map(len, batch.lines)))
            await send.send(self._kept_one(lines, segment))
        self._release(segment, 0)

    def _tell(self, path: Path, contents: Contents) -> None:
        count = sum(len(batch.lines) for batch in contents.batches)
        self.state.read_again += count
        self.state.damaged += contents.damaged
        if contents.damaged:
            log.error(
                "the journal %s cannot be read in %d places: lines that were acknowledged are lost"
                " there; import the log files of the hosts",
                path,
                contents.damaged,
            )
        if count:
            log.warning("%d acknowledged lines are read again from the journal %s", count, path)

    def _set_aside(self, path: Path, error: Exception) -> None:
        kept = path.with_name(f"{path.name}.unreadable-{time.time_ns() // 1_000_000_000}")
        with suppress(OSError):
            path.rename(kept)
        why = error if isinstance(error, OSError) else "it is of another database, or damaged"
        log.error("the journal %s cannot be read (%s): it is kept as %s", path, why, kept)


def _take(channel: trio.MemoryReceiveChannel[Lines], first: Lines) -> list[Lines]:
    """What waits already, up to a group."""
    group, octets = [first], first.octets
    with suppress(trio.WouldBlock, trio.EndOfChannel):
        while octets < _GROUP:
            group.append(channel.receive_nowait())
            octets += group[-1].octets
    return group


def _joined(group: list[Lines]) -> list[Lines]:
    """Those in a row that are to be read alike are one, as if they had come at once."""
    alike = groupby(group, attrgetter("zone", "hostname"))
    return [_as_one(list(some)) for _, some in alike]


def _as_one(some: list[Lines]) -> Lines:
    lines = [line for one in some for line in one.lines]
    return replace(some[0], lines=lines, octets=sum(one.octets for one in some))
