"""Log files, as the backfill edge reads them → work for the writer, each with its checkpoint.

Owns what an import is, and how it goes. A checkpoint is committed with the events before it, so
that a kill at any moment costs nothing but the time to read the rest again. Live lines go first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import tzinfo
from functools import partial
from typing import NamedTuple

import trio

from pda import backfill
from pda.apart import WORTH_A_PROCESS, Job, Process, ReadApart, Task, is_worth_a_process
from pda.backfill import BackfillError, LogFile
from pda.ingest import Ingest
from pda.maillog.pipeline import Rules
from pda.prospects import INTERRUPTED, KNOWN, Find, ImportState, Report, first, needless, which
from pda.reading import FileReader, Part, Wanted
from pda.store.imports import Import
from pda.work import Work

_LAST_STATES = 100


class ReadHere:
    """Reads one file in this process."""

    def __init__(self, reader: FileReader, compute: Callable[..., Awaitable[Part]]) -> None:
        self._reader = reader
        self._chunks = reader.chunks()
        self._compute = compute

    async def __aenter__(self) -> ReadHere:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def part(self) -> Part | None:
        """What the next lines say; None at the end. Raises `BackfillError`."""
        chunk = await trio.to_thread.run_sync(next, self._chunks, None)
        return None if chunk is None else await self._compute(self._reader.parse, chunk)

    async def checkpoint(self, *, complete: bool) -> Import | None:
        """How far the file was read."""
        return await trio.to_thread.run_sync(partial(self._reader.checkpoint, complete=complete))


class Importer:
    """Reads files and hands on what they say; there may be several at a time."""

    def __init__(
        self,
        ingest: Ingest,
        find: Find,
        zone_of: Callable[[str], tzinfo],
        task: Callable[[], Task],
        worth_a_process: int = WORTH_A_PROCESS,
    ) -> None:
        """A file of so many octets, unpacked, is read by a process of its own."""
        self.states: list[ImportState] = []
        self.process: Process | None = None
        """One that is there already, with all files that will be imported, one after the other."""
        self._ingest = ingest
        self._find = find
        self._zone_of = zone_of
        self._task = task
        self._worth_a_process = worth_a_process

    async def import_file(
        self, file: LogFile, wanted: Wanted, report: Report, stop: trio.Event | None = None
    ) -> ImportState:
        """Imports one file; a damaged one as far as it can be read, and none beyond a stop."""
        state = ImportState(file.name, file.size)
        self.states = [*self.states[-_LAST_STATES + 1 :], state]
        begun = trio.current_time()

        def tell() -> None:
            state.seconds = trio.current_time() - begun
            report(state)

        if self._is_stopped(stop):
            state.interrupted = True
            state.error = f"{state.name} was not imported: {self._why()}"
            state.finished = True
            tell()
            return state
        try:
            async with self._ingest.submitting() as submit:
                run = _Run(state, submit, tell, partial(self._is_stopped, stop))
                await self._import(file, wanted, run)
        finally:
            state.finished = True
            tell()
        return state

    async def _import(self, file: LogFile, wanted: Wanted, run: _Run) -> None:
        in_thread, state = trio.to_thread.run_sync, run.state
        head = await in_thread(backfill.head, file)
        known = await in_thread(which, file, await self._begun_so(head)) if head else None
        if known is not None and wanted.again:
            known = Import(known.id, known.name)
        state.note = await in_thread(needless, file, wanted, known)
        if state.note:
            return
        rules = self._ingest.pipeline.rules
        async with self._reading(file, wanted, head, known) as reading:
            try:
                while (part := await reading.part()) is not None:
                    await self._submit(part, rules, run)
                    if run.is_stopped():
                        state.interrupted = True
                        state.error = f"{state.name} was imported in part only: {self._why()}"
                        break
            except BackfillError as error:
                state.error = str(error)
            if known is not None and not state.lines and not state.error:
                state.note = KNOWN
            await self._finish(await reading.checkpoint(complete=not state.error), run)
            if state.refused:
                state.note = f"{state.refused} lines are older than what is kept"

    def _reading(
        self, file: LogFile, wanted: Wanted, head: bytes, known: Import | None
    ) -> ReadApart | ReadHere:
        """Whoever reads the file: another process where that is worth its start."""
        pipeline, compute = self._ingest.pipeline, self._ingest.compute
        if not is_worth_a_process(file, self._worth_a_process):
            zone = self._zone_of(wanted.zone)
            reader = FileReader(pipeline, file, wanted, zone, head, known)
            return ReadHere(reader, compute)
        job = Job(self._task(), file.name, file.descriptor, wanted, head, known)
        return ReadApart(job, pipeline.tally, self.process)

    async def _submit(self, part: Part, rules: Rules, run: _Run) -> None:
        run.state.take(part)
        # Where a stream is silent, nothing of it waits for more.
        done = trio.Event() if not part.lines else None
        inserted, events = run.state.count, part.events
        work = Work(
            part.told,
            rules,
            imported=part.checkpoint,
            inserted=inserted,
            done=done,
            events=events,
            sheet=part.sheet,
        )
        await run.submit(work)
        run.tell()

    async def _finish(self, checkpoint: Import | None, run: _Run) -> None:
        """The last checkpoint is committed behind all that the file held."""
        state, done = run.state, trio.Event()
        if checkpoint is None and not state.lines:
            return
        rules = self._ingest.pipeline.rules
        await run.submit(Work([], rules, imported=checkpoint, done=done))
        await done.wait()
        if self._ingest.writer_state.lost_events and not state.error:
            state.error = f"{state.name} was imported in part only: the disk refused the rest"

    async def _begun_so(self, head: bytes) -> list[Import]:
        """How far files with this head were read."""
        found: list[Import] = []
        await self._ingest.exclusively(lambda: found.extend(self._find(partial(first, head))))
        return found

    def _is_stopped(self, stop: trio.Event | None) -> bool:
        return self._ingest.stopping or (stop is not None and stop.is_set())

    def _why(self) -> str:
        return "the service is stopping" if self._ingest.stopping else INTERRUPTED


class _Run(NamedTuple):
    """What an import needs while it goes."""

    state: ImportState
    submit: Callable[[Work], Awaitable[None]]
    tell: Callable[[], None]
    is_stopped: Callable[[], bool]
