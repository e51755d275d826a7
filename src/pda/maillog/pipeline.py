"""The whole way of a line, on one page: bytes → header → record → event with verdict.

Owns the order of these steps and the count of what became of each line. Knows no socket, file,
clock or store: lines come in batches with the time they were received, events go out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, tzinfo
from hashlib import blake2b
from itertools import islice
from struct import Struct
from typing import Protocol, TypeAlias

import msgspec

from pda.maillog import postfix, usual
from pda.maillog.bounce import mask
from pda.maillog.events import (
    SUBSECOND,
    AnyRecord,
    Attempt,
    Delivery,
    EntryKey,
    Event,
    Fact,
    Failure,
    Header,
    HeaderAction,
    Ignored,
    LinesLost,
    Record,
    Refusal,
    Reject,
    Unknown,
    Verdict,
    refusal,
)
from pda.maillog.postfix import REMOVED, removed_by
from pda.maillog.syslog import MILLIS, HeaderReader, Origin, micros

# verify(8) and `sendmail -bv` ask whether an address could be delivered to; nothing is sent.
PROBES = frozenset(["deliverable", "undeliverable", "undeliverable-but-not-cached"])
# Without its line end a text counts only if it cannot go on: a number might.
_COMPLETE = re.compile(rb".*(?:\)|>|: removed)", re.DOTALL)
# At the door there is no queue entry yet; some logs have lost the ids.
_WITHOUT_ENTRY = frozenset([postfix.NOQUEUE, ""])
_AT_A_TIME = 250
"""Lines whose parts lie together in the processor's nearest memory."""
_Kind: TypeAlias = tuple[str, type[Record]]
"""A line, as it is counted: by whom it was written, and what it is."""
_HEADERLESS: tuple[str, type[Record]] = ("", Record)
_MOST_SHAPES, _SHAPE, _SHAPE_OF = 100, 200, 500
_IN_BRACKETS = re.compile(r'<(?:"(?:[^"\\]|\\.)*(?:"[^<>]*|$)|[^<>]*)(?:>|(?=<)|$)')
_MOST_REPEATS = 1000
_CLOSE, _RECENT = 2_000_000, 5_000_000
_MOST_RECENT = 4_000
_MOST_TEXTS = 20_000
_MOST_HOSTS = 1000
_MOST_ORIGINS = 20_000


class Rules(Protocol):
    """Judges failures."""

    def classify(self, failure: Failure) -> Verdict:
        """The verdict on a failed attempt."""


class Hosts(msgspec.Struct, frozen=True):
    """How the mail host is named: by aliases, else the first label in lower case."""

    aliases: Mapping[str, str] = {}
    full: bool = False
    """Keep the whole host name."""

    def name(self, hostname: str) -> str:
        """The mail host of a header's host name."""
        alias = self.aliases.get(hostname) or self.aliases.get(hostname.lower())
        if alias is not None:
            return alias
        lower = hostname.lower()
        # An address has no first label.
        return lower if self.full or ":" in lower or _IPV4.fullmatch(lower) else _label(lower)


_IPV4 = re.compile(r"[\d.]+")


_UNREAD = ("headerless", "incomplete", "failed")
_COUNTED = ("records", "at_the_door", "ignored", "unknown", "repeats", "left_out", *_UNREAD)


class Tally(msgspec.Struct):
    """What became of the lines; each ends in exactly one of these."""

    records: int = 0
    """What Postfix says about messages, at the door included."""
    at_the_door: int = 0
    """Of these, rejects and the like without a queue id."""
    ignored: int = 0
    unknown: int = 0
    headerless: int = 0
    incomplete: int = 0
    """Cut off at the end of a stream."""
    failed: int = 0
    """That this program failed at: a mistake of its own."""
    repeats: int = 0
    """Further lines that one of the records stands for: `message repeated N times`."""
    left_out: int = 0
    """Of the lines about a queue entry, those that an import was not asked for."""
    lost_before: dict[str, int] = msgspec.field(default_factory=Counter)
    """By mail host: lines of which its own syslog daemon says that it has lost them."""
    kinds: dict[tuple[str, str], int] = msgspec.field(default_factory=Counter)
    """By program and kind of record."""
    shapes: dict[str, int] = {}
    """The last distinct shapes of unknown lines, masked, and how often each came."""

    def note(self, counts: Mapping[tuple[str, type[Record]], int]) -> None:
        """Counts records by program. Who sends chooses what it calls itself: others are one."""
        for (program, kind), count in counts.items():
            name = program if program in postfix.PROGRAMS else "other"
            self.kinds[name, kind.kind()] += count
            if kind is Ignored or kind is LinesLost:
                self.ignored += count
            elif kind is Unknown:
                self.unknown += count
            else:
                self.records += count

    def add(self, other: Tally) -> None:
        """Counts what another one has counted."""
        for name in _COUNTED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for host, count in other.lost_before.items():
            self.note_lost(host, count)
        for kind, count in other.kinds.items():
            self.kinds[kind] += count
        for shape, count in other.shapes.items():
            self._keep_shape(shape, count)

    def note_lost(self, host: str, lines: int) -> None:
        """Counts lines that a host has lost; whoever sends may make up hosts."""
        if host in self.lost_before or len(self.lost_before) < _MOST_HOSTS:
            self.lost_before[host] += lines

    def note_shape(self, program: str, queue_id: str, text: str) -> None:
        """Keeps the shape of a line whose form is not known: who wrote what, naming nobody."""
        name = program if program in postfix.PROGRAMS else _masked(program)
        about = queue_id if queue_id in _WITHOUT_ENTRY else "ID"
        self._keep_shape(f"{name}: {f'{about} {_masked(text)}'.strip()}"[:_SHAPE], 1)

    def _keep_shape(self, shape: str, count: int) -> None:
        self.shapes[shape] = self.shapes.pop(shape, 0) + count  # now the last one
        if len(self.shapes) > _MOST_SHAPES:
            del self.shapes[next(iter(self.shapes))]

    @property
    def unread(self) -> int:
        """Lines of which nothing is known."""
        return self.headerless + self.incomplete + self.failed

    @property
    def lines(self) -> int:
        """All lines that were read."""
        return self.records + self.ignored + self.unknown + self.unread

    @property
    def events(self) -> int:
        """Lines about a queue entry."""
        return self.records - self.at_the_door


class Pipeline:
    """What all sources of lines share: rules, names of hosts, and the count."""

    def __init__(self, rules: Rules, hosts: Hosts = Hosts()) -> None:  # noqa: B008 frozen
        self.rules = rules
        self.tally = Tally()
        self._hosts = hosts
        self.hosts: dict[str, str] = {}

    def source(self, zone: tzinfo = UTC, hostname: str = "", *, live: bool = True) -> Source:
        """A reader for the lines of one listener (`live`) or one file."""
        return Source(self, HeaderReader(zone, hostname), live=live)

    def resumed(self, zone: tzinfo, hostname: str, counted: bytes) -> Source:
        """A reader for the rest of a file; `counted` by who read what is before it."""
        source = self.source(zone, hostname, live=False)
        source.count(counted)
        return source

    def host(self, hostname: str) -> str:
        """The mail host of a header's host name."""
        name = self.hosts.get(hostname)
        if name is None:
            if len(self.hosts) > 10_000:
                self.hosts.clear()
            name = self.hosts[hostname] = self._hosts.name(hostname)
        return name


class Source:
    """Reads the lines of one listener or file."""

    def __init__(self, pipeline: Pipeline, headers: HeaderReader, *, live: bool) -> None:
        self._pipeline = pipeline
        self._headers = headers
        self._origins: dict[str, Origin] = {}
        """Of programs of Postfix's, known as the headers' are; `hostname` is the mail host."""
        self._seen: dict[tuple[str, str, int], tuple[int, int]] | None = None if live else {}
        self._refused: list[Refusal] = []

    @property
    def tally(self) -> Tally:
        """What became of the lines of all sources."""
        return self._pipeline.tally

    def read(self, lines: Sequence[bytes], received_at: int) -> list[Event]:
        """The events in these lines, in their order.

        `received_at` in µs since the epoch: for a file, when its last line was written.
        """
        if self._headers.begin(received_at):
            self._origins.clear()
        events: list[Event] = []
        counts: Counter[_Kind] = Counter()
        for begin in range(0, len(lines), _AT_A_TIME):
            some = lines[begin : begin + _AT_A_TIME]
            counts.update(self._read_some(some, received_at, events))
        self.tally.headerless += counts.pop(_HEADERLESS, 0)
        self.tally.note(counts)
        return events

    def _read_some(
        self, lines: Sequence[bytes], received_at: int, events: list[Event]
    ) -> list[_Kind]:
        """Adds what lines say, most of which have a usual form and an origin that is known."""
        origins, new_second = self._origins, self._headers.new_second
        readers, start = postfix.COMMON_READERS, postfix.START
        counted: list[_Kind] = []
        for line, row in zip(lines, usual.rows(lines), strict=True):
            stamp, fraction, who, queue_id, text, behind = row
            if (
                behind
                or (origin := origins.get(who)) is None
                or (at := origin.seconds.get(stamp) or new_second(origin, row, received_at)) is None
            ):
                kind = self._read_other(row, line, received_at, events)
            elif not text:
                kind = origin.program, Ignored
            elif (reader := readers.get(text[:start])) is None:
                kind = self._read_other(row, line, received_at, events)
            elif (record := reader(text)) is None:
                kind = origin.program, self._unread(origin.program, queue_id, text)
            else:
                kind = origin.program, type(record)
                events.append(self._event(origin, at, fraction, queue_id, text, record))
            counted.append(kind)
        return counted

    def _event(
        self, origin: Origin, at: int, fraction: str, queue_id: str, text: str, record: AnyRecord
    ) -> Event:
        """What a line says that has an origin which is known, and a common text."""
        host, grade = origin.hostname, origin.grade
        if fraction:
            at += MILLIS.get(fraction) or micros(fraction)
            grade |= SUBSECOND
        if type(record) is not Delivery or record.status in PROBES:
            if record is REMOVED:
                record = removed_by(origin.program)
            return Event(host, queue_id, Fact(at, grade, origin.syslog_name, record))
        digest, copy = text_digest(text), 0
        if not fraction and self._seen is not None:
            copy = self._occurrences((host, queue_id, digest), at, 1)
        verdict = None if record.status == "sent" else self._verdict(record)
        attempt = Attempt(digest, copy, at, grade, origin.program, record, verdict)
        return Event(host, queue_id, attempt)

    def _unread(self, program: str, queue_id: str, text: str) -> type[Record]:
        """What kind of text is about an entry and begins as a common one, and goes on otherwise."""
        record = postfix.unread(text)
        if isinstance(record, Unknown):
            self.tally.note_shape(program, queue_id, text)
        return type(record)

    def _read_other(
        self, row: usual.Row, line: bytes, received_at: int, events: list[Event]
    ) -> _Kind:
        """Adds what a line says that has another form, or is the first of its origin."""
        headers, who, behind = self._headers, row[2], row[-1]
        header = None
        if behind and who in headers.origins:
            header = headers.of_known(row[:3], behind, received_at)
        if header is None:
            header = headers.read(line.decode("utf-8", "backslashreplace"), received_at)
            self._know(who)
        if header is None:
            return _HEADERLESS
        queue_id, record = postfix.read(header.text, header.program, header.syslog_name)
        self._tell(events, header, queue_id, record)
        return header.program, type(record)

    def _know(self, who: str) -> None:
        """From now on usual lines of a program of Postfix's, just read, are known by this key."""
        origin = self._headers.origins.get(who)
        if origin is not None and origin.program in postfix.PROGRAMS:
            if len(self._origins) >= _MOST_ORIGINS:
                self._origins.clear()
            host = self._pipeline.host(origin.hostname)
            self._origins[who] = msgspec.structs.replace(origin, hostname=host)

    def _tell(self, events: list[Event], header: Header, queue_id: str, record: AnyRecord) -> None:
        """Adds what a line says of a queue entry, if it does."""
        pipeline = self._pipeline
        if isinstance(record, Ignored):
            return
        if isinstance(record, LinesLost):
            pipeline.tally.note_lost(pipeline.host(header.hostname), record.lines)
            return
        if isinstance(record, Unknown):
            text = header.text[len(queue_id) + 2 :] if queue_id else header.text
            pipeline.tally.note_shape(header.program, queue_id, text)
            return
        host = pipeline.hosts.get(header.hostname) or pipeline.host(header.hostname)
        if isinstance(record, Reject | HeaderAction) and record.action.endswith("reject"):
            self._refused.append(_refusal(host, header, queue_id, record))
        if queue_id in _WITHOUT_ENTRY:
            pipeline.tally.at_the_door += 1
            return
        if isinstance(record, Delivery) and record.status not in PROBES:
            events += self._attempts(host, queue_id, header, record)
        else:
            fact = Fact(header.at, header.grade, header.syslog_name, record)
            events.append(Event(host, queue_id, fact))

    def refused(self) -> list[Refusal]:
        """What was refused by the lines that were read since this was asked last."""
        refused, self._refused = self._refused, []
        return refused

    def read_partial(self, line: bytes, received_at: int) -> list[Event]:
        """The event in what stood behind the last line end of a stream, if that is a whole line."""
        if _COMPLETE.fullmatch(line):
            return self.read([line], received_at)
        self._pipeline.tally.incomplete += 1
        return []

    def counted(self) -> bytes:
        """Of what was read last, how often each text came: for `Pipeline.resumed`.

        Equal texts of an entry are seconds apart, so no more than these seconds count for the rest.
        """
        last: dict[str, int] = {}
        kept = [
            (*text, *seen)
            for text, seen in islice(reversed((self._seen or {}).items()), _MOST_RECENT)
            if abs(last.setdefault(text[0], seen[1]) - seen[1]) <= _RECENT
        ]
        return msgspec.msgpack.encode(kept) if kept else b""

    def count(self, counted: bytes) -> None:
        """Goes on where another reader has counted."""
        if counted:
            known = msgspec.msgpack.decode(counted, type=list[tuple[str, str, int, int, int]])
            self._seen = {(host, id_, digest): (n, at) for host, id_, digest, n, at in known[::-1]}

    def _attempts(
        self, host: str, queue_id: str, header: Header, delivery: Delivery
    ) -> Sequence[Event]:
        """One, or several where a line stands for others."""
        entry, text = (host, queue_id), header.text[len(queue_id) + 2 :]
        at, grade, program = header.at, header.grade, header.program
        if not header.repeat:
            attempt = self._attempt(entry, text, (at, grade, program), delivery)
            return (Event(host, queue_id, attempt),)
        # The one before was written out; of the others only the number is known.
        at, grade = at // 1_000_000 * 1_000_000, grade & ~SUBSECOND
        copies = min(header.repeat, _MOST_REPEATS)
        self._pipeline.tally.repeats += copies - 1
        first = self._attempt(entry, text, (at, grade, program), delivery, copies)
        return [
            Event(host, queue_id, msgspec.structs.replace(first, copy=copy))
            for copy in range(first.copy, first.copy + copies)
        ]

    def _attempt(
        self,
        entry: EntryKey,
        text: str,
        written: tuple[int, int, str],
        delivery: Delivery,
        repeats: int = 0,
    ) -> Attempt:
        """The first one that a line stands for; `written` when, of what grade, and by whom."""
        digest = text_digest(text)
        verdict = None if delivery.status == "sent" else self._verdict(delivery)
        at, grade, program = written
        copy = 1 if repeats else 0
        if self._seen is not None and not grade & SUBSECOND:
            # The one that is repeated may be the last line of the file before.
            copy = self._occurrences((*entry, digest), at, repeats or 1, least=copy)
        return Attempt(digest, copy, at, grade, program, delivery, verdict)

    def _verdict(self, delivery: Delivery) -> Verdict:
        failure = Failure(delivery.reason, delivery.dsn, delivery.status, delivery.relay)
        return self._pipeline.rules.classify(failure)

    def _occurrences(
        self, text: tuple[str, str, int], at: int, more: int, *, least: int = 0
    ) -> int:
        """How often this file, or it and the one before, has just said this.

        The delay in equal texts of one life is equal too, so they stand close together. Farther
        apart it is the same line again (files joined to one), or that of another life.
        """
        seen = self._seen
        assert seen is not None
        if len(seen) >= _MOST_TEXTS:
            seen = self._seen = dict(list(seen.items())[_MOST_TEXTS // 2 :])
        before, known = least, seen.get(text)
        if known is not None and abs(at - known[1]) <= _CLOSE:
            before = max(known[0], least)
        seen[text] = before + more, at
        return before


def _refusal(host: str, header: Header, queue_id: str, record: Reject | HeaderAction) -> Refusal:
    digest = text_digest(f"{host} {header.program} {header.procid} {header.text}")
    entry = "" if queue_id in _WITHOUT_ENTRY else queue_id
    about = header.at, header.grade, host, entry, header.program[:40], digest
    return refusal(record, about)


_as_signed = Struct(">q").unpack


def text_digest(text: str) -> int:
    """64 bits, signed, as a database row can hold them."""
    digest: int
    (digest,) = _as_signed(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())
    return digest


def _masked(text: str) -> str:
    """What names somebody masked, where it has blanks in it or is cut off as well."""
    begin = text[:_SHAPE_OF]
    if len(text) > _SHAPE_OF:
        begin = begin.rpartition(" ")[0]
    return mask(_IN_BRACKETS.sub("<a@b>", begin))


def _label(hostname: str) -> str:
    return hostname.partition(".")[0]
