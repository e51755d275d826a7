"""What the service does to the store by itself: removes what is too old, ends erasures, packs.

Owns when that is done and in which pieces: each is short, and live lines are written between two of
them. Knows no SQL. Whatever was interrupted goes on with the next start.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

import msgspec
import trio

from pda.config import RetentionSettings
from pda.ingest import Ingest
from pda.store import address_runs, erasure, pieces, retention, summing
from pda.store.database import Connection, DatabaseError
from pda.store.retention import Bounds, Span
from pda.store.writer import Writer

log = logging.getLogger(__name__)
_T = TypeVar("_T")

_EVERY_S = 600.0
_SUMS_EVERY_S, _LATE_STEPS = 5.0, 20
"""What changes faster than so many steps follow waits for the next round, or all is begun anew."""
_ENTRIES, _MOST_ENTRIES = 100, 1600
"""Removed or rewritten at a time: the first piece takes some ten milliseconds."""
_PIECE_S = 0.3
"""Until a piece takes so long the next is larger: a commit costs nearly the same for each."""
_PAGES = 256
"""Given back at a time: 2 MiB."""
_ORPHANS_EVERY_S = 86_400.0
_STEP = 3_600_000_000
"""µs by which the horizon is raised at least while the database is too large."""
_DAY = 86_400_000_000


class Asks(Protocol):
    """A question to the store on a reading connection."""

    def __call__(self, question: Callable[[Connection], _T], /) -> _T: ...


class Kept(msgspec.Struct):
    """What was done so far."""

    removed: int = 0
    """Queue entries that were too old."""
    unsettled: int = 0
    """Those of them of which something was heard since: they may be in the queue still."""
    texts: int = 0
    """Replies and relays that nothing referred to any more."""
    horizon: int = 0
    """Lines before it are refused, µs since the epoch."""
    failed: str = ""
    """Why it could not be done the last time."""


def next_piece(entries: int, took: float, waited: float) -> int:
    """How many entries to remove next, after a piece that had waited for its turn (seconds)."""
    entries = entries * 2 if took < max(waited, _PIECE_S) else entries // 2
    return min(max(entries, _ENTRIES), _MOST_ENTRIES)


def next_bounds(span: Span, births: Sequence[int], horizon: int, too_much: float) -> Bounds:
    """What to remove next where so large a part of the database is too much.

    It goes half of the way that remains if all entries are equally large, and so no further than it
    has to. Time that nothing is stored of does not count: the log may be years older than now.
    """
    begin = max(span.oldest, horizon)
    young = [born for born in births if born >= begin]
    half = young[int(len(young) * too_much / 2)] if young else begin
    horizon = min(max(half, begin + _STEP), span.newest + 1)
    # What is still in the queue stays as long again as all else.
    return Bounds(horizon, latest=2 * horizon - span.newest)


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
                await self._follow(ask)
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
            removed += await self._remove_older(Bounds(now - int(self.settings.days * _DAY)))
        if self.settings.max_bytes:
            removed += await self._fit(now)
        if removed:
            await self._remove_orphans(ask)
        while await self._do(pieces.merge):
            pass
        await self._tidy_addresses(ask)
        await self.sum_up(ask)
        await self._give_back()
        if removed:
            await self._cut()

    async def _follow(self, ask: Asks) -> None:
        """Sums up what comes, and a little of what was there, until there is more to be done."""
        until = trio.current_time() + _EVERY_S
        while trio.current_time() < until and not self._woken.is_set():
            with trio.move_on_after(_SUMS_EVERY_S):
                await self._woken.wait()
            await self.sum_up(ask)
            if made := await trio.to_thread.run_sync(ask, summing.find_wide):
                await self._put(made)

    async def sum_up(self, ask: Asks) -> None:
        """What has changed, and the entries that hardly change any more."""
        await self._do(summing.begin_anew)
        for _ in range(_LATE_STEPS):
            made = await trio.to_thread.run_sync(ask, summing.find_late)
            if made is None:
                break
            await self._put(made)
        if window := await self._do(summing.open_spans):
            find = partial(summing.find_recent, window=window)
            await self._put(await trio.to_thread.run_sync(ask, find))

    async def _put(self, made: summing.Made) -> None:
        for part in summing.parts(made):
            await self._do(partial(summing.put, made=part))

    async def erase(self, ask: Asks, now: int) -> None:
        """Ends every erasure that was begun."""
        while self._writer.removal.is_erasing:
            while await self._do(partial(erasure.step, entries=_ENTRIES)):
                pass
            found = await trio.to_thread.run_sync(ask, erasure.search)
            await self._do(partial(erasure.finish, found=found, at=now))
            await self._ingest.exclusively(self._writer.begin_anew)
            log.info("an address was erased; its pseudonym stays")

    async def _remove_older(self, bounds: Bounds) -> int:
        """How many rows went, whatever they are of."""
        removed, after = 0, retention.FIRST
        while True:
            find = partial(retention.find_older, horizon=bounds.horizon, after=after)
            born = await self._ingest.exclusively(partial(self._found, find))
            removed += await self._remove(bounds, born.numbers)
            if born.after is None:
                return removed
            after = born.after

    async def _remove(self, bounds: Bounds, numbers: Sequence[int]) -> int:
        """How many rows went: of these entries, and all others that are too old.

        It takes as much time as it waits for its turn: it keeps up with a stream at full speed.
        """
        entries, done, removed, are_others = _ENTRIES, 0, 0, True
        while done < len(numbers) or are_others:
            asked = time.perf_counter()
            some = numbers[done : done + entries]
            remove = partial(retention.remove_older, bounds=bounds, numbers=some, others=entries)
            seconds, gone = await self._ingest.exclusively(partial(self._removed, remove))
            removed += len(gone.entries) + gone.others
            done, are_others = done + len(some), bool(gone.others)
            entries = next_piece(entries, seconds, time.perf_counter() - asked - seconds)
        return removed

    def _found(self, find: Callable[[Connection], retention.Born]) -> retention.Born:
        """Within one turn, so that from then on older lines are refused."""
        born = self._writer.do(find)
        self._writer.removal.refresh()
        self.kept.horizon = self._writer.removal.horizon
        return born

    def _removed(
        self, remove: Callable[[Connection], retention.Removed]
    ) -> tuple[float, retention.Removed]:
        """Within one turn, so that nobody remembers what is not stored any more; its seconds."""
        begun = time.perf_counter()
        gone = self._writer.do(remove)
        self._writer.forget(gone.entries)
        self.kept.removed += len(gone.entries)
        self.kept.unsettled += gone.unsettled
        return time.perf_counter() - begun, gone

    async def _fit(self, now: int) -> int:
        """Removes what is oldest until the rest has room enough; how many rows."""
        removed, most = 0, self.settings.max_bytes
        while (used := await self._do(retention.octets_used)) > most:
            horizon, span = self._writer.removal.horizon, await self._do(retention.span)
            if span is None or horizon > min(span.newest, now):
                log.error("[retention] max_bytes is less than the database needs for today")
                break
            span = Span(span.oldest, min(span.newest, now))
            births = await self._do(retention.births)
            removed += await self._remove_older(
                next_bounds(span, births, horizon, (used - most) / used)
            )
            await self._give_back()
            await self._cut()
        return removed

    async def _give_back(self) -> None:
        while await self._do(partial(retention.give_back, pages=_PAGES)):
            pass

    async def _cut(self) -> None:
        """The file becomes shorter where the log is copied into it."""
        await self._ingest.exclusively(self._writer.cut_log)

    async def _remove_orphans(self, ask: Asks) -> None:
        if trio.current_time() < self._orphans_at:
            return
        self._orphans_at = trio.current_time() + _ORPHANS_EVERY_S
        given = await self._ingest.exclusively(self._writer.forget_texts)
        every = await trio.to_thread.run_sync(ask, partial(retention.find_orphans, given=given))
        for orphans in every:
            await self._do(partial(retention.remove_orphans, orphans=orphans))
            self.kept.texts += len(orphans.numbers)

    async def _tidy_addresses(self, ask: Asks) -> None:
        for find in (address_runs.find_left, address_runs.find_together):
            while changed := await trio.to_thread.run_sync(ask, find):
                await self._do(partial(address_runs.put, changed=changed))

    async def _do(self, function: Callable[[Connection], _T]) -> _T:
        """Runs something that writes, between two transactions."""
        return await self._ingest.exclusively(partial(self._writer.do, function))
