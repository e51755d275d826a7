"""Log files, as the backfill edge reads them → work for the writer, each with its checkpoint.

Owns what an import is: where a file is read on, which year its stamps are in, which of its events
are wanted, and how it goes. A checkpoint is committed with the events before it, so that a kill at
any moment costs nothing but the time to read the rest again.

`FileReader` is plain and synchronous, from chunks of lines to parts with events; `Importer` hands
those on, and lets live lines go first.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import tzinfo
from functools import partial
from typing import NamedTuple, TypeAlias

import msgspec
import trio

from pda import backfill
from pda.backfill import BackfillError, Chunk, LogFile, Mark
from pda.ingest import Ingest, Work, read_each
from pda.maillog.events import Attempt, Event
from pda.maillog.pipeline import Pipeline, Source
from pda.maillog.syslog import HeaderReader
from pda.maillog.years import Years, first_moment, lacks_years, moment_reader
from pda.store.imports import Import
from pda.store.writer import Batch

Report: TypeAlias = Callable[["ImportState"], None]
Find: TypeAlias = Callable[[Callable[[int], bytes | None]], list[Import]]
"""Files whose first octets have these digests, the one that was read farthest first."""

KNOWN = "known already"
OLDER = "older"
INTERRUPTED = "it was interrupted; import it again for the rest"
_LAST_STATES = 100
_NO_LOG = 1000
"""Lines after which a file without any log line is given up."""
_NOTE_EVERY = 1024 * 1024
"""Octets, unpacked, between two checkpoints."""
_DAY = 86_400_000_000


class Wanted(msgspec.Struct, frozen=True):
    """How a file is to be read, and what of it is wanted."""

    zone: str = "local"
    """Of stamps without one."""
    hostname: str = ""
    """Of lines without one."""
    since: int | None = None
    """µs since the epoch, inclusive, as `until`."""
    until: int | None = None
    again: bool = False
    """Also what is known already."""
    growing: bool = False
    """Somebody writes it still: a last line without its end is left for the next time."""


class ImportState(msgspec.Struct):
    """How an import goes."""

    name: str
    size: int
    """Octets as stored; 0 where it is not known."""
    octets: int = 0
    """Of them, read so far."""
    lines: int = 0
    events: int = 0
    attempts: int = 0
    new: int = 0
    """Attempts that were not known before."""
    unknown: int = 0
    """Lines of Postfix's whose form is not known."""
    seconds: float = 0.0
    note: str = ""
    """Why there was nothing to read."""
    interrupted: bool = False
    finished: bool = False
    error: str = ""

    def take(self, part: Part) -> None:
        """Counts what was read."""
        self.octets = part.stored
        self.lines += part.lines
        self.events += len(part.events)
        self.attempts += part.attempts
        self.unknown += part.unknown

    def count(self, batch: Batch) -> None:
        """Counts what it came to."""
        self.new += batch.added_attempts


class Part(msgspec.Struct):
    """What a chunk says."""

    events: list[Event]
    lines: int
    attempts: int
    unknown: int
    stored: int
    """How far the file as stored was read."""
    checkpoint: Import | None = None


class FileReader:
    """Reads one file, from where it was left; needs no thread and no loop of its own."""

    def __init__(
        self,
        pipeline: Pipeline,
        file: LogFile,
        wanted: Wanted,
        zone: tzinfo,
        head: bytes,
        known: Import | None,
    ) -> None:
        self._head = head
        self._pipeline = pipeline
        self._file = file
        self._wanted = wanted
        self._zone = zone
        self._known = known
        self._written_at = file.written_at
        self._source: Source | None = None
        self._years: Years | None = None
        self._row = known
        self._noted = 0
        self._counted: bytes | None = None
        self._lines = 0
        self._is_log = self._left_out = self._beyond = False

    def chunks(self) -> Iterator[Chunk]:
        """What is to be parsed, in this order. Raises `BackfillError`."""
        known = self._known
        start = Mark(known.position, known.tail) if known else Mark()
        for chunk in backfill.chunks(self._file, start):
            if self._source is None:
                self._begin(chunk)
            yield chunk
            if self._beyond or (self._lines >= _NO_LOG and not self._is_log):
                break
        if self._lines and not self._is_log:
            raise BackfillError(
                f"{self._file.name} is no log: none of {self._lines} lines begins as those of a"
                " log do; nothing was imported"
            )

    def _begin(self, chunk: Chunk) -> None:
        """Whether this is the rest of what is known; and the years of its stamps."""
        known, file, zone, hostname = self._known, self._file, self._zone, self._wanted.hostname
        if known is not None and chunk.begin == known.position:
            self._source = self._pipeline.resumed(zone, hostname, known.counted)
            self._noted, self._is_log = known.position, True
            lines = known.lines - known.partial
            self._row = msgspec.structs.replace(known, lines=lines, partial=False)
        else:
            self._source = self._pipeline.source(zone, hostname, live=False)
            self._row = Import(random.getrandbits(62), file.name)
        if file.is_stream:
            return
        moment = moment_reader(HeaderReader(zone, hostname))
        if lacks_years(chunk.lines, moment, self._written_at):
            looks = backfill.glimpses(file, chunk.begin)
            self._years = Years(moment, first_moment(looks, moment, self._written_at))

    def parse(self, chunk: Chunk) -> Part:
        """What a chunk says."""
        source = self._source
        assert source is not None
        if chunk.partial:
            self._counted = source.counted()
        lines = [] if chunk.partial and self._wanted.growing else chunk.lines
        tally = source.tally
        headerless, incomplete, unknown = tally.headerless, tally.incomplete, tally.unknown
        events = self._wanted_of(self._events(source, lines, partial=chunk.partial))
        whole = len(lines) - (tally.incomplete - incomplete)
        self._lines += whole
        self._is_log |= tally.headerless - headerless < whole
        attempts = sum(isinstance(event.said, Attempt) for event in events)
        part = Part(events, len(lines), attempts, tally.unknown - unknown, chunk.stored)
        self._advance(chunk, part)
        return part

    def _events(self, source: Source, lines: list[bytes], *, partial: bool) -> list[Event]:
        written_at = self._written_at
        if partial and lines and self._file.is_being_written():
            return source.read_partial(lines[0], written_at)
        pieces = self._years.pieces(lines) if self._years else [(lines, written_at)]
        return [event for some, at in pieces for event in read_each(source, some, at)]

    def _wanted_of(self, events: list[Event]) -> list[Event]:
        if self._wanted.since is None and self._wanted.until is None:
            return events
        begin = self._wanted.since or 0
        end = math.inf if self._wanted.until is None else self._wanted.until
        kept = [event for event in events if begin <= event.said.at <= end]
        self._left_out |= len(kept) < len(events)
        self._beyond = bool(events) and min(event.said.at for event in events) > end + _DAY
        return kept

    def _advance(self, chunk: Chunk, part: Part) -> None:
        """All up to its mark was parsed, unless something was left out."""
        if self._left_out or self._row is None:
            return
        mark = chunk.mark
        self._row = msgspec.structs.replace(
            self._row,
            position=mark.position,
            tail=mark.tail,
            lines=self._row.lines + part.lines,
            partial=chunk.partial and bool(part.lines),
        )
        if mark.position - self._noted >= _NOTE_EVERY:
            self._noted = mark.position
            part.checkpoint = self.checkpoint(complete=False)

    def checkpoint(self, *, complete: bool) -> Import | None:
        """How far all was parsed; None where there is nothing to note."""
        row, known, file = self._row, self._known, self._file
        is_log = self._is_log or self._source is None
        if row is None or file.is_stream or not row.position or not is_log:
            return None
        if self._source is not None:
            counted = self._source.counted() if self._counted is None else self._counted
            row = msgspec.structs.replace(row, counted=counted)
        complete = complete and not self._left_out
        head = self._head_before(row.position)
        row = msgspec.structs.replace(
            row,
            name=file.name,
            head=backfill.digest(head),
            head_octets=len(head),
            fingerprint=backfill.fingerprint(file) if complete else b"",
            size=file.size,
            complete=complete,
        )
        if row == known:
            return None
        return msgspec.structs.replace(row, read_at=time.time_ns() // 1000)

    def _head_before(self, position: int) -> bytes:
        if len(self._head) < min(position, backfill.KNOWN_BY):  # it has grown
            self._head = backfill.head(self._file)
        return self._head[:position]


class Prospect(msgspec.Struct, frozen=True):
    """What an import would do with a file."""

    name: str
    size: int
    todo: str


def prospect(file: LogFile, wanted: Wanted, find: Find) -> Prospect:
    """What an import would do with a file, as far as that can be told without reading it."""
    head = backfill.head(file)
    known = which(file, find(partial(_first, head))) if head else None
    return Prospect(file.name, file.size, needless(file, wanted, known) or _todo(file, known))


def which(file: LogFile, found: Sequence[Import]) -> Import | None:
    """Which of those that begin alike it is, as far as that can be told without reading it."""
    own = backfill.fingerprint(file)
    for one in found:
        if own and one.fingerprint == own:
            return one
    marks = ((one, Mark(one.position, one.tail)) for one in found)
    return next((one for one, mark in marks if backfill.left(file, mark) != file.size), None)


def needless(file: LogFile, wanted: Wanted, known: Import | None) -> str:
    """Why there is nothing to read, where that can be told without reading."""
    if known and known.fingerprint and known.fingerprint == backfill.fingerprint(file):
        return KNOWN
    return OLDER if wanted.since is not None and file.written_at < wanted.since else ""


def _todo(file: LogFile, known: Import | None) -> str:
    if known is None:
        return "read"
    left = backfill.left(file, Mark(known.position, known.tail))
    if left is None:
        return f"read what follows octet {known.position}, unpacked"
    if left == file.size:
        return "read"
    return f"read its last {left} octets" if left else KNOWN


def _first(head: bytes, octets: int) -> bytes | None:
    return backfill.digest(head[:octets]) if octets <= len(head) else None


def interrupted(file: LogFile) -> ImportState:
    """Of a file that was not begun any more."""
    error = f"{file.name} was not imported: {INTERRUPTED}"
    return ImportState(file.name, file.size, interrupted=True, finished=True, error=error)


class Importer:
    """Reads files and hands on what they say; there may be several at a time."""

    def __init__(self, ingest: Ingest, find: Find, zone_of: Callable[[str], tzinfo]) -> None:
        self.states: list[ImportState] = []
        self._ingest = ingest
        self._find = find
        self._zone_of = zone_of

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
        zone = self._zone_of(wanted.zone)
        reader = FileReader(self._ingest.pipeline, file, wanted, zone, head, known)
        state.note = await in_thread(needless, file, wanted, known)
        if state.note:
            return
        chunks = reader.chunks()
        try:
            while (chunk := await in_thread(next, chunks, None)) is not None:
                await self._submit(reader, chunk, run)
                if run.is_stopped():
                    state.interrupted = True
                    state.error = f"{state.name} was imported in part only: {self._why()}"
                    break
        except BackfillError as error:
            state.error = str(error)
        if known is not None and not state.lines and not state.error:
            state.note = KNOWN
        await self._finish(reader, run)

    async def _submit(self, reader: FileReader, chunk: Chunk, run: _Run) -> None:
        rules = self._ingest.pipeline.rules
        part = await self._ingest.compute(reader.parse, chunk)
        run.state.take(part)
        # Where a stream is silent, nothing of it waits for more.
        done = trio.Event() if not part.lines else None
        await run.submit(Work(part.events, rules, False, part.checkpoint, run.state.count, done))
        run.tell()

    async def _finish(self, reader: FileReader, run: _Run) -> None:
        """The last checkpoint is committed behind all that the file held."""
        state, done = run.state, trio.Event()
        checkpoint = await trio.to_thread.run_sync(
            partial(reader.checkpoint, complete=not state.error)
        )
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
        await self._ingest.exclusively(lambda: found.extend(self._find(partial(_first, head))))
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
