"""The whole way of a line, on one page: bytes → header → record → event with verdict.

Owns the order of these steps and the count of what became of each line. Knows no socket, file,
clock or store: lines come in batches with the time they were received, events go out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, tzinfo
from hashlib import blake2b
from typing import Protocol

import msgspec

from pda.maillog import postfix
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
_MOST_TEXTS = 200_000


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
    kinds: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    """By program and kind of record."""

    @property
    def lines(self) -> int:
        """All lines that were read."""
        unread = self.headerless + self.incomplete
        return self.events + self.at_the_door + self.ignored + self.unknown + unread


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
        self._seen: dict[tuple[str, str, int], int] | None = None if live else {}

    def read(self, lines: Iterable[bytes], received_at: int) -> list[Event]:
        """The events in these lines, in their order.

        `received_at` in µs since the epoch: for a file, when its last line was written.
        """
        tally, events = self._pipeline.tally, []
        for line in lines:
            header = self._headers.read(line.decode("utf-8", "backslashreplace"), received_at)
            if header is None:
                tally.headerless += 1
                continue
            event = self._event(header, postfix.read(header), tally)
            if event is not None:
                events.append(event)
        return events

    def read_partial(self, line: bytes, received_at: int) -> list[Event]:
        """The event in what stood behind the last line end of a stream, if that is a whole line."""
        if _COMPLETE.fullmatch(line):
            return self.read([line], received_at)
        self._pipeline.tally.incomplete += 1
        return []

    def _event(self, header: Header, record: AnyRecord, tally: Tally) -> Event | None:
        if isinstance(record, Ignored):
            tally.ignored += 1
            return None
        if isinstance(record, Unknown):
            tally.unknown += 1
            tally.kinds[header.program, "unknown"] += 1
            return None
        tally.kinds[header.program, type(record).__name__] += 1
        if record.queue_id in _WITHOUT_ENTRY:
            tally.at_the_door += 1
            return None
        tally.events += 1
        host = self._pipeline.host(header.hostname)
        if isinstance(record, Delivery) and record.status not in PROBES:
            return Event(host, record.queue_id, self._attempt(host, header, record))
        return Event(
            host, record.queue_id, Fact(header.at, header.grade, header.syslog_name, record)
        )

    def _attempt(self, host: str, header: Header, delivery: Delivery) -> Attempt:
        digest = text_digest(postfix.body(header.text))
        copy = 0
        if self._seen is not None and not header.grade & SUBSECOND:
            copy = self._occurrence((host, delivery.queue_id, digest))
        verdict = None
        if delivery.status != "sent":
            verdict = self._pipeline.rules.classify(
                Failure(delivery.reason, delivery.dsn, delivery.status, delivery.relay)
            )
        return Attempt(digest, copy, header.at, header.grade, header.program, delivery, verdict)

    def _occurrence(self, text: tuple[str, str, int]) -> int:
        """How often this file has said this; equal texts of an entry stand close together."""
        assert self._seen is not None
        if len(self._seen) >= _MOST_TEXTS:
            self._seen = dict(list(self._seen.items())[_MOST_TEXTS // 2 :])
        before = self._seen.get(text, 0)
        self._seen[text] = before + 1
        return before


def text_digest(text: str) -> int:
    """64 bits, signed, as a database row can hold them."""
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _label(hostname: str) -> str:
    return hostname.partition(".")[0]
