"""One log file → parts, each with what it says and a checkpoint.

Owns where a file is read on, which year its stamps are in, and which of its events are wanted.
Plain and synchronous: it needs no thread, no loop and no store.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Iterator, Sequence
from datetime import tzinfo

import msgspec

from pda import backfill
from pda.backfill import BackfillError, Chunk, LogFile, Mark
from pda.maillog.correlate import gather
from pda.maillog.events import Event, Refusal, Told, refused_told
from pda.maillog.pipeline import Pipeline, Source
from pda.maillog.syslog import HeaderReader
from pda.maillog.years import Years, first_moment, lacks_years, moment_reader
from pda.store.imports import Import
from pda.store.sheets import Sheet

log = logging.getLogger(__name__)

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


class Part(msgspec.Struct):
    """What a chunk says."""

    told: list[Told]
    lines: int
    events: int
    attempts: int
    unknown: int
    stored: int
    """How far the file as stored was read."""
    checkpoint: Import | None = None
    sheet: Sheet | None = None
    """What of it was worked out already, and is not in `told`."""


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

    def chunks(self, megabytes: int = 1) -> Iterator[Chunk]:
        """What is to be parsed, in this order, some megabytes each. Raises `BackfillError`."""
        known = self._known
        start = Mark(known.position, known.tail) if known else Mark()
        for chunk in backfill.chunks(self._file, start, megabytes):
            if self._source is None:
                self._begin(chunk)
            yield chunk
            del chunk
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
        told, said = gather(events), len(events)
        attempts = sum(len(one.attempts) for one in told)
        told += refused_told(self._refused(source))
        part = Part(told, len(lines), said, attempts, tally.unknown - unknown, chunk.stored)
        self._advance(chunk, part)
        return part

    def _events(self, source: Source, lines: list[bytes], *, partial: bool) -> list[Event]:
        written_at = self._written_at
        if partial and lines and self._file.is_being_written():
            return source.read_partial(lines[0], written_at)
        pieces = self._years.pieces(lines) if self._years else [(lines, written_at)]
        return [event for some, at in pieces for event in read_each(source, some, at)]

    def _refused(self, source: Source) -> list[Refusal]:
        begin, end = self._span
        return [one for one in source.refused() if begin <= one.at <= end]

    @property
    def _span(self) -> tuple[float, float]:
        """What is wanted, inclusive."""
        end = math.inf if self._wanted.until is None else self._wanted.until
        return self._wanted.since or 0, end

    def _wanted_of(self, events: list[Event]) -> list[Event]:
        if self._wanted.since is None and self._wanted.until is None:
            return events
        begin, end = self._span
        kept = [event for event in events if begin <= event.said.at <= end]
        self._left_out |= len(kept) < len(events)
        self._pipeline.tally.left_out += len(events) - len(kept)
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


def read_each(source: Source, lines: Sequence[bytes], received_at: int) -> list[Event]:
    """The events in these lines; a line at which this program fails costs only itself."""
    try:
        return source.read(lines, received_at)
    except Exception as error:  # noqa: BLE001 one line must not end the service
        if len(lines) == 1:
            log.error("a line could not be read (%s): a mistake in pda", type(error).__name__)
            source.tally.failed += 1
            return []
    return [event for line in lines for event in read_each(source, [line], received_at)]
