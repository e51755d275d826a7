"""The whole way of a line, on one page: bytes → header → record → event with verdict.

Owns the order of these steps and the count of what became of each line. Knows no socket, file,
clock or store: lines come in batches with the time they were received, events go out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, tzinfo
from hashlib import blake2b
from itertools import islice
from typing import Protocol

import msgspec

from pda.maillog import postfix
from pda.maillog.bounce import mask
from pda.maillog.events import (
    SUBSECOND,
    AnyRecord,
    Attempt,
    Delivery,
    Event,
    Fact,
    Failure,
    Header,
    Ignored,
    Unknown,
    Verdict,
)
from pda.maillog.syslog import HeaderReader

# verify(8) and `sendmail -bv` ask whether an address could be delivered to; nothing is sent.
PROBES = frozenset(["deliverable", "undeliverable", "undeliverable-but-not-cached"])
# Without its line end a text counts only if it cannot go on: a number might.
_COMPLETE = re.compile(rb".*(?:\)|>|: removed)", re.DOTALL)
# At the door there is no queue entry yet; some logs have lost the ids.
_WITHOUT_ENTRY = frozenset([postfix.NOQUEUE, ""])
_MOST_SHAPES, _SHAPE = 100, 200
_MOST_REPEATS = 1000
_CLOSE, _RECENT = 2_000_000, 5_000_000
_MOST_RECENT = 4_000
_MOST_TEXTS = 20_000


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


class Tally(msgspec.Struct):
    """What became of the lines; each ends in exactly one of these."""

    events: int = 0
    at_the_door: int = 0
    """Rejects and the like without a queue id."""
    ignored: int = 0
    unknown: int = 0
    headerless: int = 0
    incomplete: int = 0
    """Cut off at the end of a stream."""
    failed: int = 0
    """That this program failed at: a mistake of its own."""
    kinds: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    """By program and kind of record."""
    shapes: dict[str, int] = {}
    """The last distinct shapes of unknown lines, masked, and how often each came."""

    def note(self, program: str, kind: str) -> None:
        """Counts a record. Who may send may choose what it calls itself: others are one."""
        self.kinds[program if program in postfix.PROGRAMS else "other", kind] += 1

    def note_unknown(self, program: str, text: str) -> None:
        """Counts a line whose form is not known, and keeps its shape."""
        self.unknown += 1
        self.note(program, "unknown")
        shape = f"{program}: {mask(text[:_SHAPE])[:_SHAPE]}"
        self.shapes[shape] = self.shapes.pop(shape, 0) + 1  # now the last one
        if len(self.shapes) > _MOST_SHAPES:
            del self.shapes[next(iter(self.shapes))]

    @property
    def unread(self) -> int:
        """Lines of which nothing is known."""
        return self.headerless + self.incomplete + self.failed

    @property
    def lines(self) -> int:
        """All lines that were read."""
        return self.events + self.at_the_door + self.ignored + self.unknown + self.unread


class Pipeline:
    """What all sources of lines share: rules, names of hosts, and the count."""

    def __init__(self, rules: Rules, hosts: Hosts = Hosts()) -> None:  # noqa: B008 frozen
        self.rules = rules
        self.tally = Tally()
        self._hosts = hosts
        self._names: dict[str, str] = {}

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
        name = self._names.get(hostname)
        if name is None:
            if len(self._names) > 10_000:
                self._names.clear()
            name = self._names[hostname] = self._hosts.name(hostname)
        return name


class Source:
    """Reads the lines of one listener or file."""

    def __init__(self, pipeline: Pipeline, headers: HeaderReader, *, live: bool) -> None:
        self._pipeline = pipeline
        self._headers = headers
        self._seen: dict[tuple[str, str, int], tuple[int, int]] | None = None if live else {}

    @property
    def tally(self) -> Tally:
        """What became of the lines of all sources."""
        return self._pipeline.tally

    def read(self, lines: Iterable[bytes], received_at: int) -> list[Event]:
        """The events in these lines, in their order.

        `received_at` in µs since the epoch: for a file, when its last line was written.
        """
        tally = self._pipeline.tally
        events: list[Event] = []
        for line in lines:
            header = self._headers.read(line.decode("utf-8", "backslashreplace"), received_at)
            if header is None:
                tally.headerless += 1
                continue
            record = postfix.read(header)
            if isinstance(record, Ignored):
                tally.ignored += 1
                continue
            events += self._events(header, record, tally)
        return events

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

    def _events(self, header: Header, record: AnyRecord, tally: Tally) -> Sequence[Event]:
        """The event of a line; none, or several where a line stands for others."""
        if isinstance(record, Unknown):
            tally.note_unknown(header.program, header.text)
            return ()
        tally.note(header.program, type(record).__name__)
        if record.queue_id in _WITHOUT_ENTRY:
            tally.at_the_door += 1
            return ()
        tally.events += 1
        host = self._pipeline.host(header.hostname)
        if isinstance(record, Delivery) and record.status not in PROBES:
            attempts = self._attempts(host, header, record)
            return [Event(host, record.queue_id, attempt) for attempt in attempts]
        fact = Fact(header.at, header.grade, header.syslog_name, record)
        return (Event(host, record.queue_id, fact),)

    def _attempts(self, host: str, header: Header, delivery: Delivery) -> list[Attempt]:
        digest = text_digest(postfix.body(header.text))
        at, grade = header.at, header.grade
        if header.repeat:
            # The one before was written out; of the others only the number is known.
            at, grade = at // 1_000_000 * 1_000_000, grade & ~SUBSECOND
            copies = range(1, min(header.repeat, _MOST_REPEATS) + 1)
        else:
            copies = range(1)
        if self._seen is not None and not grade & SUBSECOND:
            first = self._occurrences((host, delivery.queue_id, digest), at, len(copies))
            copies = range(first, first + len(copies))
        verdict = self._verdict(delivery)
        return [
            Attempt(digest, copy, at, grade, header.program, delivery, verdict) for copy in copies
        ]

    def _verdict(self, delivery: Delivery) -> Verdict | None:
        if delivery.status == "sent":
            return None
        failure = Failure(delivery.reason, delivery.dsn, delivery.status, delivery.relay)
        return self._pipeline.rules.classify(failure)

    def _occurrences(self, text: tuple[str, str, int], at: int, more: int) -> int:
        """How often this file has just said this.

        The delay in equal texts of one life is equal too, so they stand close together. Farther
        apart it is the same line again (files joined to one), or that of another life.
        """
        assert self._seen is not None
        if len(self._seen) >= _MOST_TEXTS:
            self._seen = dict(list(self._seen.items())[_MOST_TEXTS // 2 :])
        before, last_at = self._seen.get(text, (0, at))
        if abs(at - last_at) > _CLOSE:
            before = 0
        self._seen[text] = before + more, at
        return before


def text_digest(text: str) -> int:
    """64 bits, signed, as a database row can hold them."""
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _label(hostname: str) -> str:
    return hostname.partition(".")[0]
