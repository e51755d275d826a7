"""The two hops inside: lines → events, and events → the store.

Owns the batches, their order, and what happens when the disk refuses them: nothing is dropped,
the same transaction is tried again, and all that waits behind it waits. Knows no socket.

One thread at a time computes, whichever hop it works for: each row that is bound lets go of
Python's lock, and beside a busy thread it would wait 5 ms to have it back. Only a commit, which
encrypts and waits for the disk without that lock, goes on beside the reading of the next lines,
and beside working out what the next batch changes, once the database was asked about that.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import tzinfo
from functools import partial
from typing import TypeVar

import trio

from pda.maillog.correlate import gather
from pda.maillog.events import Event, Refusal, Told, refused_told
from pda.maillog.pipeline import Pipeline, Source
from pda.maillog.rejudge import Classify, rejudge_told
from pda.news import News
from pda.reading import read_each
from pda.receive import Lines
from pda.slow import slow
from pda.store.batch import Batch
from pda.store.database import DatabaseError
from pda.store.writer import Begun, Found, Writer
from pda.work import Pending, Work, WriterState, count

log = logging.getLogger(__name__)
_T = TypeVar("_T")
_R = TypeVar("_R")

_BATCH_OCTETS = 4 * 1024 * 1024
"""Of lines, read at once; so that not even the longest ones take much memory."""
_KEPT_BATCH = 4
"""Times as many lines, where a journal has them: no sender waits, and no kill loses them."""
_ENTRIES_AT_A_TIME = 500
"""Of history, judged anew between two transactions of the live stream."""
_RETRY_S = 1.0
_MOST_EVENTS = 18_000
"""In one transaction: the more, the fewer times a page is encrypted; they stay in memory."""
_WORTH_A_COMMIT = 400
"""Events that senders wait for: to work them out takes as long as to commit them does."""
_IMPORTS_WAITING = 1
_QUEUED_WORK = 3
"""Batches that may be read while a transaction is committed."""
_GIVE_UP_S = 20.0
"""How long a stop waits for a disk that refuses to be written."""


class _GivenUp(Exception):  # noqa: N818 nothing went wrong but for the disk
    """The service has to stop, and the disk refuses still."""


class Ingest:
    """Everything between the edges and the database."""

    def __init__(
        self,
        pipeline: Pipeline,
        writer: Writer,
        zone_of: Callable[[str], tzinfo],
        batch_lines: int = 5000,
    ) -> None:
        self.pipeline = pipeline
        self.writer_state = WriterState()
        self.news = News()
        self._writer = writer
        self._zone_of = zone_of
        self._batch_lines = batch_lines
        self._sources: dict[tuple[str, str], Source] = {}
        self._send, self._receive = trio.open_memory_channel[Work](_QUEUED_WORK)
        self._live_waiting = 0
        self._unstored: deque[int] = deque()
        self._waiting = 0
        self._room = trio.Semaphore(_IMPORTS_WAITING)
        self._pending = Pending()
        self._impatient: set[trio.CancelScope] = set()
        self._computing = trio.CapacityLimiter(1)
        self._stopping = trio.Event()
        self._give_up_at = math.inf
        self._writing = trio.Lock()
        self._committed = trio.Event()
        """Whether no transaction is being committed: only then is the database asked."""
        self._committed.set()

    async def read(self, channel: trio.MemoryReceiveChannel[Lines]) -> None:
        """First hop: lines of all listeners, as they come, until no listener is left."""
        async with self._send.clone() as send, channel:
            async for first in channel:
                batches, rules = self._take(channel, first), self.pipeline.rules
                told, safe = await self.compute(self._read, batches)
                # Also what told nothing is acknowledged in its order, after what did.
                stored = [batch.stored for batch in batches if batch.stored is not None]
                if told or stored:
                    awaited = any(batch.stored and not batch.kept for batch in batches)
                    work = Work(told, rules, live=True, stored=stored, awaited=awaited, safe=safe)
                    self._live_waiting += 1
                    self._waiting += work.events
                    # What a journal kept may have come before a crash: it is late from now on.
                    now = time.time_ns() // 1000
                    self._unstored.append(now if first.kept else first.received_at)
                    await send.send(work)

    async def write(self) -> None:
        """Second hop: batches into transactions, until nobody can send any more."""
        async with self._receive, trio.open_nursery() as beside:
            async for work in self._receive:
                self._live_waiting -= work.live
                async with self._writing:
                    await self._insert(work, beside)
                    if self._is_due() and not self._receive.statistics().current_buffer_used:
                        await self._commit()
            async with self._writing:
                await self._commit()

    async def exclusively(self, order: Callable[[], _T]) -> _T:
        """Runs something else that writes, between two transactions."""
        async with self._writing:
            # What is pending has to be committed, whoever does not wait for it any more.
            with trio.CancelScope(shield=True):
                await self._commit()
                with slow("an edit"):
                    result = await trio.to_thread.run_sync(order)
        return result

    async def unless_refused(self, order: Callable[[], _T]) -> _T:
        """As `exclusively`; raises `DatabaseError` where the disk refuses before its turn."""
        with trio.CancelScope() as waiting:
            self._impatient.add(waiting)
            try:
                return await self.exclusively(order)
            finally:
                self._impatient.discard(waiting)
        raise DatabaseError(self.writer_state.refused)

    async def compute(self, function: Callable[[_T], _R], argument: _T) -> _R:
        """Runs something in a thread while nobody else computes."""
        return await trio.to_thread.run_sync(function, argument, limiter=self._computing)

    async def rejudge(self, classify: Classify, digest: str) -> None:
        """Judges a little more of history by the list with this digest.

        It waits for its turn, as every transaction of the live stream does.
        """
        judge = partial(self._writer.rejudge, classify, digest, _ENTRIES_AT_A_TIME)
        async with self._writing:
            # What is prepared has to be committed, whoever does not wait for it any more.
            with trio.CancelScope(shield=True):
                await self._commit()
                self._pending.batches.append(await self.compute(judge, time.time_ns() // 1000))
                await self._commit()

    async def _insert(self, work: Work, beside: trio.Nursery) -> None:
        rules, waited = self.pipeline.rules, work.events
        if work.rules is not rules:  # new ones came into force while this was read, or waited
            work.unmake()
            await self.compute(partial(rejudge_told, classify=rules.classify), work.told)
        removal = self._writer.removal
        refused = removal.refused, removal.refused_attempts
        if removal.is_needed:
            if work.sheet is not None and not removal.takes(work.sheet):
                work.unmake()
            work.told = await self.compute(removal.admit, work.told)
        batch = await self._written(work, beside)
        batch.refused = removal.refused - refused[0]
        batch.refused_attempts = removal.refused_attempts - refused[1]
        self._waiting -= waited
        self.writer_state.works += 1
        if work.inserted is not None:
            work.inserted(batch)
        self._pending.add(work, batch)

    async def _written(self, work: Work, beside: trio.Nursery) -> Batch:
        """Tries until the database can be read; not for ever when the service has to stop."""
        try:
            begun = await self._begun(work, beside)
            return await self._tried(partial(self._complete, work), begun)
        except _GivenUp:
            work.unmake()
            events = count(work.told)
            self._give_up(events, min(work.safe, events))
            work.events = work.safe = 0
            return Batch()

    async def _begun(self, work: Work, beside: trio.Nursery) -> Begun:
        """Worked out as far as it can be while what is due is committed."""
        try:
            await self._committed.wait()
            is_due = self._is_due()
            found = await self._tried(partial(self._look_up, is_due=is_due), work)
            if is_due:
                self._commit_beside(beside)
            begun = await self.compute(self._writer.begin, found)
            await self._committed.wait()
            return begun
        finally:
            if not work.live:  # while this is inserted, the next one may come
                self._room.release()

    def _look_up(self, work: Work, is_due: bool) -> Found:
        """What is stored; then, where a commit is due, all is written that it needs."""
        found = self._writer.look_up(work.told, work.sheet)
        if is_due:
            self._writer.finish(*self._pending.batches)
        return found

    def _complete(self, work: Work, begun: Begun) -> Batch:
        batch = self._writer.complete(begun)
        batch.imported = work.imported
        with suppress(DatabaseError):  # all of the transaction has gone: it is inserted again
            self._writer.insert(batch)
        return batch

    async def _tried(self, function: Callable[[_T], _R], argument: _T) -> _R:
        while trio.current_time() < self._give_up_at:
            try:
                return await self.compute(partial(self._restored, function), argument)
            except DatabaseError as error:
                await self._wait_for_disk(error)
        raise _GivenUp

    def _restored(self, function: Callable[[_T], _R], argument: _T) -> _R:
        self._writer.restore(*self._pending.batches)
        return function(argument)

    async def _wait_for_disk(self, error: Exception) -> None:
        self._refused(error)
        if self._stopping.is_set():
            self._give_up_at = min(self._give_up_at, trio.current_time() + _GIVE_UP_S)
        await trio.sleep(_RETRY_S)
        await self.compute(Writer.look_again, self._writer)

    def _is_due(self) -> bool:
        """An import fills its transactions; live lines wait for no more than what is there.

        Nor does a sender that waits for them to be stored: it sends more while that is done.
        """
        pending = self._pending
        if pending.done or pending.events + pending.refused >= _MOST_EVENTS:
            return True
        if pending.awaited and pending.events >= _WORTH_A_COMMIT:
            return True
        return bool(pending.live) and not self._live_waiting

    @property
    def oldest_unstored(self) -> int:
        """When the oldest of the live lines came that are not stored yet; 0 if all are."""
        return self._unstored[0] if self._unstored else 0

    def closing(self) -> None:
        """Nobody but those who have begun already will send."""
        self._stopping.set()
        self._send.close()

    async def until_stopping(self, task: Callable[..., Awaitable[object]], *args: object) -> None:
        """Runs what is to take no more turns once a stop waits for what was received."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task, *args)
            await self._stopping.wait()
            nursery.cancel_scope.cancel()

    @property
    def stopping(self) -> bool:
        """Whether nothing new is to be begun."""
        return self._stopping.is_set()

    @asynccontextmanager
    async def submitting(self) -> AsyncIterator[Callable[[Work], Awaitable[None]]]:
        """A way in for other events than live ones, which have precedence.

        Only one batch waits to be written, so that a live one waits for no more.
        """
        async with self._send.clone() as send:

            async def submit(work: Work) -> None:
                await self._room.acquire()
                self._waiting += work.events
                await send.send(work)
                async with self._room:  # until it is begun: nothing is read ahead of what waits
                    pass

            yield submit

    def _take(self, channel: trio.MemoryReceiveChannel[Lines], first: Lines) -> list[Lines]:
        """What waits already, up to a batch: the more there is, the larger the transactions."""
        batches, count, octets = [first], len(first.lines), first.octets
        most = self._batch_lines * (_KEPT_BATCH if first.kept else 1)
        while count < most and octets < _BATCH_OCTETS:
            try:
                batches.append(channel.receive_nowait())
            except (trio.WouldBlock, trio.EndOfChannel):
                break
            count += len(batches[-1].lines)
            octets += batches[-1].octets
        return batches

    def _read(self, batches: list[Lines]) -> tuple[list[Told], int]:
        """What they tell, and how many of the events somebody has still: see `Work.safe`."""
        events: list[Event] = []
        refused: list[Refusal] = []
        safe = 0
        for batch in batches:
            before = len(events)
            source = self._source(batch.zone, batch.hostname)
            if batch.partial:
                events += source.read_partial(batch.lines[0], batch.received_at)
            else:
                events += read_each(source, batch.lines, batch.received_at)
            refused += source.refused()
            safe += len(events) - before if batch.stored is not None else 0
        return [*gather(events), *refused_told(refused)], safe

    def _source(self, zone: str, hostname: str) -> Source:
        source = self._sources.get((zone, hostname))
        if source is None:
            source = self.pipeline.source(self._zone_of(zone), hostname)
            self._sources[zone, hostname] = source
        return source

    def _commit_beside(self, nursery: trio.Nursery) -> None:
        """Begins to commit what was inserted; the database is not to be asked meanwhile."""
        pending, self._pending = self._pending, Pending()
        committed = self._committed = trio.Event()

        async def commit() -> None:
            try:
                await self._end(pending)
            finally:
                committed.set()

        nursery.start_soon(commit)

    async def _commit(self) -> None:
        await self._committed.wait()
        pending, self._pending = self._pending, Pending()
        await self._end(pending)

    async def _end(self, pending: Pending) -> None:
        """Commits it, and tells who waits for that."""
        if pending.batches and not await self._is_committed(pending.batches):
            self._give_up(pending.events, pending.safe)
        else:
            for _ in range(pending.live):
                self._unstored.popleft()
            for stored in pending.stored:
                stored()
        for done in pending.done:
            done.set()

    def _give_up(self, events: int, safe: int) -> None:
        """Nobody waits for them any more; what somebody has still waits for the next start."""
        self.writer_state.lost_events += events - safe
        self._waiting += safe

    async def _is_committed(self, batches: list[Batch]) -> bool:
        """Tries until the disk takes them; not for ever when the service has to stop."""
        state = self.writer_state
        while trio.current_time() < self._give_up_at:
            begun = time.perf_counter()
            try:
                with slow("a transaction"):
                    await trio.to_thread.run_sync(self._writer.commit, *batches)
            except DatabaseError as error:
                await self._wait_for_disk(error)
                continue
            state.seconds += time.perf_counter() - begun
            state.commits += 1
            state.attempts += sum(batch.new_attempts for batch in batches)
            if clients := set().union(*(batch.clients for batch in batches)):
                self.news.tell(batches[-1].last_change, clients)
            if state.refused:
                log.warning("the database can be written again")
                state.refused = ""
            return True
        return False  # nor anything behind it, which relies on what was given up

    def _refused(self, error: Exception) -> None:
        state = self.writer_state
        state.failures += 1
        if not state.refused:
            state.refused_since = time.time()
            log.error(
                "the database cannot be written (%s): nothing is lost while senders can wait,"
                " and it is tried again every second",
                error,
            )
        state.refused = str(error)
        for waiting in self._impatient:
            waiting.cancel()

    def fates(self) -> Mapping[str, int]:
        """What became of all lines, each in exactly one; and of those that they stand for.

        At rest `waiting` is 0 and the sum is that of the lines that were read and their repeats.
        """
        tally, told_of = self.pipeline.tally, self.counters()
        lost, waiting = self.writer_state.lost_events, self._waiting
        left = tally.events + tally.repeats - tally.left_out - lost - waiting
        # Some of what waits is worked out already.
        refused = min(self._writer.removal.refused, left)
        new = min(self._writer.new_lines, left - refused)
        known = left - refused - new
        others = {name: told_of[name] for name in told_of if name != "events"}
        return {"new": new, "known": known, "refused": refused, "left_out": tally.left_out,
                "lost": lost, "waiting": waiting, **others}  # fmt: skip

    @property
    def is_busy(self) -> bool:
        """Whether something waits to be written."""
        return self._waiting > 0

    def counters(self) -> Mapping[str, int]:
        """What became of all lines so far."""
        tally = self.pipeline.tally
        return {
            "events": tally.events,
            "at_the_door": tally.at_the_door,
            "ignored": tally.ignored,
            "unknown": tally.unknown,
            "headerless": tally.headerless,
            "incomplete": tally.incomplete,
            "failed": tally.failed,
        }
