"""What the service does to the store by itself: removes what is too old, ends erasures, packs.

Owns when that is done and in which pieces: each is short, and live lines are written between two of
them. Knows no SQL. Whatever was interrupted goes on with the next start.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

import msgspec
import trio

from pda.config import RetentionSettings
from pda.ingest import Ingest
from pda.store import address_blocks, erasure, pieces, retention
from pda.store.database import Connection, DatabaseError
from pda.store.writer import Writer

log = logging.getLogger(__name__)
_T = TypeVar("_T")

_EVERY_S = 600.0
_ENTRIES, _MOST_ENTRIES = 100, 1600
"""Removed or rewritten at a time: some ten milliseconds, more beside a stream at full speed."""
_PAGES = 256
"""Given back at a time: 2 MiB."""
_ORPHANS_EVERY_S = 86_400.0
_STEP = 3_600_000_000
"""µs by which the horizon is raised while the database is too large."""
_DAY = 86_400_000_000


class Asks(Protocol):
    """A question to the store on a reading connection."""

    def __call__(self, question: Callable[[Connection], _T], /) -> _T: ...


class Kept(msgspec.Struct):
    """What was done so far."""

    removed: int = 0
    """Queue entries that were too old."""
    texts: int = 0
    """Replies and relays that nothing referred to any more."""
    horizon: int = 0
    """Lines before it are refused, µs since the epoch."""
    failed: str = ""
    """Why it could not be done the last time."""


def next_piece(entries: int, took: float, waited: float) -> int:
    """How many entries to remove next, after a piece that had waited for its turn (seconds)."""
    entries = entries * 2 if took < waited else entries // 2
    return min(max(entries, _ENTRIES), _MOST_ENTRIES)


class Housekeeping:
    """Keeps one store as its settings and its people want it."""

    def __init__(self, ingest: Ingest, writer: Writer, settings: RetentionSettings) -> None:
        self.settings = settings
        self.kept = Kept()
        self._ingest = ingest
        self._writer = writer
        self._woken = trio.Event()
        self._orphans_at = 0.0
        self.kept.horizon = writer.removal.horizon

    def wake(self) -> None:
        """There is something to be done now."""
        self._woken.set()

    async def run(self, ask: Asks) -> None:
        """Until it is cancelled."""
        while True:
            self._woken = trio.Event()
            try:
                await self.once(ask, time.time_ns() // 1000)
                self.kept.failed = ""
            except DatabaseError as error:
                self.kept.failed = str(error)
                log.error("the database cannot be tidied up now, it is tried again: %s", error)
            with trio.move_on_after(_EVERY_S):
                await self._woken.wait()

    async def once(self, ask: Asks, now: int) -> None:
        """All that is to be done at this moment (µs since the epoch)."""
        await self.erase(ask, now)
        removed = 0
        if self.settings.days:
            removed += await self._remove_older(now - int(self.settings.days * _DAY))
        if self.settings.max_bytes:
            removed += await self._fit(now)
        if removed:
            await self._remove_orphans(ask)
        for together in (pieces.merge, address_blocks.pack):
            while await self._do(together):
                pass
        while await self._do(partial(retention.give_back, pages=_PAGES)):
            pass
        if removed:  # the file is cut where the log is copied into it
            await self._ingest.exclusively(self._writer.cut_log)

    async def erase(self, ask: Asks, now: int) -> None:
        """Ends every erasure that was begun."""
        while self._writer.removal.is_erasing:
            while await self._do(partial(erasure.step, entries=_ENTRIES)):
                pass
            found = await trio.to_thread.run_sync(ask, erasure.search)
            await self._do(partial(erasure.finish, found=found, at=now))
            await self._ingest.exclusively(self._writer.begin_anew)
            log.info("an address was erased; its pseudonym stays")

    async def _remove_older(self, horizon: int) -> int:
        """How many rows went, whatever they are of.

        It takes as much time as it waits for its turn: it keeps up with a stream at full speed.
        """
        removed, entries, after = 0, _ENTRIES, retention.FIRST
        while True:
            asked = time.perf_counter()
            remove = partial(retention.remove_older, horizon=horizon, entries=entries, after=after)
            seconds, gone = await self._ingest.exclusively(partial(self._removed, remove))
            removed += len(gone.entries) + gone.others
            if gone.after is None:
                return removed
            after = gone.after
            entries = next_piece(entries, seconds, time.perf_counter() - asked - seconds)

    def _removed(
        self, remove: Callable[[Connection], retention.Removed]
    ) -> tuple[float, retention.Removed]:
        """Within one turn, so that nobody remembers what is not stored any more; its seconds."""
        begun = time.perf_counter()
        gone = self._writer.do(remove)
        self._writer.forget(gone.entries)
        self.kept.removed += len(gone.entries)
        self.kept.horizon = self._writer.removal.horizon
        return time.perf_counter() - begun, gone

    async def _fit(self, now: int) -> int:
        """Removes what is oldest until the rest has room enough; how many rows."""
        removed = 0
        while await self._do(retention.octets_used) > self.settings.max_bytes:
            oldest = await self._do(retention.oldest) or now
            if max(oldest, self._writer.removal.horizon) >= now:
                log.error("[retention] max_bytes is less than the database needs for today")
                break
            horizon = max(oldest, self._writer.removal.horizon) + _STEP
            removed += await self._remove_older(min(horizon, now))
        return removed

    async def _remove_orphans(self, ask: Asks) -> None:
        if trio.current_time() < self._orphans_at:
            return
        self._orphans_at = trio.current_time() + _ORPHANS_EVERY_S
        given = await self._ingest.exclusively(self._writer.forget_texts)
        every = await trio.to_thread.run_sync(ask, partial(retention.find_orphans, given=given))
        for orphans in every:
            await self._do(partial(retention.remove_orphans, orphans=orphans))
            self.kept.texts += len(orphans.numbers)

    async def _do(self, function: Callable[[Connection], _T]) -> _T:
        """Runs something that writes, between two transactions."""
        return await self._ingest.exclusively(partial(self._writer.do, function))
