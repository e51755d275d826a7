"""What is known of a queue entry: facts and attempts, verdicts, what follows for each recipient.

Owns the values between a record and a row. All times are microseconds since the epoch, UTC.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from enum import IntEnum
from typing import Literal, TypeAlias

import msgspec

from pda.maillog.events.records import LINKS, ONCE, AnyRecord, Delivery, HandedOn, TakenOver
from pda.maillog.events.refused import Refusal

BounceType: TypeAlias = Literal["soft", "hard", "undetermined"]


class Failure(msgspec.Struct, frozen=True, gc=False):
    """What a verdict is drawn from; nothing else may influence it."""

    reason: str
    """The text in the brackets of the status, as logged."""
    dsn: str
    status: str
    """`deferred`, `bounced`, `SOFTBOUNCE` …"""
    relay: str


class Verdict(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Our judgement of a failed attempt."""

    bounce_type: BounceType
    category: str
    rule: str
    """Id of the rule that decided; empty when none did."""


class Fact(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What one line other than a delivery record says, with that line's own stamp."""

    at: int
    grade: int
    syslog_name: str
    record: AnyRecord

    def key(self, *, reusable: bool) -> FactKey:
        """The identity of a fact within its life; an id may be `reusable` for another one."""
        record = self.record
        kind = type(record)
        if not reusable and kind in ONCE:
            return 0, record
        if kind in LINKS:
            assert isinstance(record, HandedOn | TakenOver)
            return 0, (kind, record.other)
        return self.at // 1_000_000, record


class Attempt(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One delivery attempt: (queue entry, text, copy) is its identity."""

    digest: int
    """64-bit hash of the text after `QID: `, signed."""
    copy: int
    """0, or k for the k-th further equal text of one queue entry."""
    at: int
    grade: int
    program: str
    delivery: Delivery
    verdict: Verdict | None
    """None unless the attempt failed."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """One line about a queue entry, on its way to what is known of that entry."""

    host: str
    queue_id: str
    said: Fact | Attempt


class State(IntEnum):
    """The current state of one recipient of a message."""

    PENDING = 0
    DELIVERED = 1
    FINALLY_OK = 2
    """Delivered after at least one deferral."""
    SOFT_BOUNCE = 3
    HARD_BOUNCE = 4
    UNDETERMINED_BOUNCE = 5
    EXPIRED = 6
    HELD = 7
    """Waits until an operator releases it."""
    DISCARDED = 8
    """Thrown away: by a rule, by the discard transport, by an operator."""
    HANDED_ON = 9
    """Not an outcome: the message goes on as another queue entry that is known here."""

    @property
    def is_final(self) -> bool:
        """Whether nothing more is expected to become of the recipient."""
        return self not in _OPEN

    @property
    def label(self) -> str:
        """Its name as answers have it: `finally-ok`."""
        return self.name.lower().replace("_", "-")


_OPEN = frozenset([State.PENDING, State.HELD, State.HANDED_ON])


class Outcome(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What became of one recipient of a queue entry."""

    recipient: str
    """Empty where an entry expired whose deferrals were never seen."""
    state: State
    first_at: int
    last_at: int
    """Of the attempt, or the expiry, that made the state."""
    attempts: int
    verdict: Verdict | None
    """Of the last failed attempt where the state is not a delivery."""
    relay: str
    """Of the last attempt; empty where there was none."""


class Stop(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A rule held or threw away the message before this recipient was tried."""

    recipient: str
    state: State
    at: int


class Summary(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What the facts of one life of a queue entry say about the message."""

    born: int
    """When the life began, as far as is known."""
    client_id: str = ""
    claimed_id: str = ""
    """The client id that was claimed by somebody it is not bound to."""
    message_id: str = ""
    """As logged, brackets included."""
    msg_id: str = ""
    """The part of a Message-ID of the original's form that its interface calls `msgId`."""
    sender: str | None = None
    """The envelope sender: empty for a notification, None where it is not known."""
    size: int = 0
    nrcpt: int = 0
    expired_at: int = 0
    removed_at: int = 0
    origin: str = ""
    """`HOST/QUEUE_ID` of the entry that the message came in by, where that is another one."""
    deleted: bool = False
    """Removed by somebody else than the queue manager, who waits for every recipient."""
    held_at: int = 0
    """When it was put on hold, unless it was released since."""
    handed_on: frozenset[str] = frozenset()
    """Queue ids, named by replies, as which the message goes on."""
    requeued: bool = False
    """All that was still to be delivered goes on as another entry."""
    stopped: tuple[Stop, ...] = ()
    origins: tuple[tuple[str, bool], ...] = ()
    """Queue ids of which this entry says that it continues them, and whether by a requeue."""
    notifications: frozenset[str] = frozenset()
    """Queue ids of the notifications about this message."""
    shares_message: bool = False
    """Another entry of ours may have the same message: it came from inside, or was requeued.

    As long as nothing is said of where it came from, Postfix may have written it."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more is expected of it: it has gone, and is no part of a longer way."""
        return bool(self.removed_at and not (self.origins or self.origin or self.goes_on))

    @property
    def goes_on(self) -> bool:
        """Whether the message is known to go on as another entry."""
        return self.requeued or bool(self.handed_on)


class Rest(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One life as it is kept at rest: what was said of it, and nothing that follows from that."""

    facts: bytes
    """See `pack_facts`."""
    attempts: list[Attempt]


class Whole(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A queue entry whose rows were made by who read its lines, for the case that it is new."""

    host: str
    queue_id: str
    lines: int
    """How many different ones told of it."""
    names: list[tuple[str, bool]]
    """Queue ids that replies give the message, and whether surely one of our own hosts'."""
    message_id: str
    """Where another entry of ours may have the same message, else empty."""
    over: bool
    """Whether nothing more is expected of it."""
    rest: msgspec.Raw
    """A `Rest`, as octets."""

    @property
    def key(self) -> EntryKey:
        """Of the entry; of the few hosts each name is kept once."""
        return sys.intern(self.host), self.queue_id

    def told(self) -> Told:
        """What was said of it, as if nothing had been made of that."""
        rest = _unrest(self.rest)
        return Told(self.host, self.queue_id, unpack_facts(rest.facts), rest.attempts)


class Told(msgspec.Struct, gc=False, array_like=True):
    """What some lines say about one queue entry, on its way to what is known of it."""

    host: str
    queue_id: str
    facts: list[Fact]
    attempts: list[Attempt]
    refused: list[Refusal] = []
    """Of no entry: what was refused, of all hosts. It stands alone, see `refused_told`."""

    @property
    def said(self) -> list[Fact | Attempt]:
        """All of it."""
        return [*self.facts, *self.attempts]

    @property
    def events(self) -> int:
        """How many lines said it."""
        return len(self.facts) + len(self.attempts)


def refused_told(refused: list[Refusal]) -> list[Told]:
    """What was refused, on the way that all takes that is told."""
    return [Told("", "", [], [], refused=refused)] if refused else []


class Facts:
    """The facts of a life, no two with the same key; packed ones are unpacked when needed."""

    __slots__ = ("_by_key", "_octets", "_queue_id", "_values")

    def __init__(
        self, queue_id: str, octets: bytes = b"", values: Collection[Fact] | None = None
    ) -> None:
        self._queue_id = queue_id
        self._octets = octets
        self._values = values if octets or values else ()
        self._by_key: dict[FactKey, Fact] | None = None

    def __len__(self) -> int:
        return packed_length(self._octets) if self._values is None else len(self._values)

    def add(self, fact: Fact) -> None:
        """Adds a fact, in the place of one with the same key."""
        self._changed()[self.key(fact)] = fact

    def like(self, fact: Fact) -> Fact | None:
        """The one with the same key."""
        return self._keyed().get(self.key(fact))

    def remove(self, fact: Fact) -> None:
        """Removes the one with the same key, if there is one."""
        self._changed().pop(self.key(fact), None)

    def values(self) -> Collection[Fact]:
        """All of them."""
        if self._values is None:
            self._values = unpack_facts(self._octets)
        return self._values

    def packed(self) -> bytes:
        """All of them as octets."""
        if not self._octets:
            self._octets = pack_facts(self.values())
        return self._octets

    def key(self, fact: Fact) -> FactKey:
        """By what a fact is known within its life."""
        return fact.key(reusable=is_reusable(self._queue_id))

    def _changed(self) -> dict[FactKey, Fact]:
        by_key = self._keyed()
        self._values, self._octets = by_key.values(), b""
        return by_key

    def _keyed(self) -> dict[FactKey, Fact]:
        if self._by_key is None:
            self._by_key = {self.key(fact): fact for fact in self.values()}
        return self._by_key


class Life(msgspec.Struct):
    """One life of a queue id on one host: the set of all that was said about it."""

    host: str
    queue_id: str
    facts: Facts
    attempts: dict[AttemptKey, Attempt]
    entry_id: int = 0
    """Its row in the store; 0 before it has one."""
    outcomes: dict[str, Outcome] = {}
    """By recipient (as compared, see `address_key`), as last derived."""
    summary: Summary | None = None
    """As last derived."""


FactKey: TypeAlias = tuple[int, object]
"""Second, and what else tells two such facts apart."""
AttemptKey: TypeAlias = tuple[int, int]
"""Digest and copy."""
EntryKey: TypeAlias = tuple[str, str]
"""Mail host and queue id."""


class Wanted(msgspec.Struct, frozen=True):
    """Entries that are to be loaded from the store."""

    keys: set[EntryKey]
    names: set[str]
    """Queue ids, at whichever hosts."""
    message_ids: set[str]
    """Whatever entries have one of these, as logged."""


class Change(msgspec.Struct, frozen=True):
    """What is to be stored of one life after new events."""

    life: Life
    summary: bool
    """Whether the facts or the summary are others than before."""
    attempts: list[Attempt]
    """New ones, and those whose stamp became finer."""
    gone: list[AttemptKey]
    """Attempts that turned out to belong to another life."""
    outcomes: list[tuple[str, Outcome]]
    """With the recipient as compared."""
    gone_outcomes: list[str]
    """Recipients that this life no longer has."""
    vacated: bool = False
    """Nothing is left of this life."""
    added: int = 0
    """How many attempts more it has now."""
    recipients: list[str] = []
    """As compared, of whom nothing was known before."""
    named: bool = False
    """Whether its Message-ID has just become known."""
    withdrawn: list[tuple[str, Outcome]] = []
    """Outcomes as they were before, that are none any more; `outcomes` may have others."""
    before: Summary | None = None
    """Of what was known; None where nothing was."""
    known: Mapping[str, Outcome] = {}
    """All outcomes, by recipient, as they were before."""


_encode = msgspec.msgpack.Encoder().encode
_unrest = msgspec.msgpack.Decoder(Rest).decode
unpack_facts = msgspec.msgpack.Decoder(list[Fact]).decode
"""Facts out of octets."""


def packed_length(octets: bytes) -> int:
    """How many facts are packed: the head of a MessagePack array says it."""
    if octets[0] < 0xDC:
        return octets[0] & 0x0F
    return int.from_bytes(octets[1 : 3 if octets[0] == 0xDC else 5], "big")


def pack_facts(facts: Iterable[Fact]) -> bytes:
    """Facts as octets."""
    return _encode(list(facts))


# Short ids are `%05X` microseconds + `%lX` inode (global/mail_queue.c): no other alphabet has only
# these digits at this length. All other ids are long, or made up, and never used again.
_SHORT = re.compile(r"[0-9A-F]{6,21}")


def is_reusable(queue_id: str) -> bool:
    """Whether this id can name another message later."""
    if not (queue_id.isupper() or queue_id.isdecimal()):
        return False  # as most long ones
    return _SHORT.fullmatch(queue_id) is not None


def address_key(address: str) -> str:
    """An address as it is compared: local part as it is, domain in lower case as A-label."""
    if address.isascii() and address.islower():
        return address
    local, at, domain = address.rpartition("@")
    if not at:
        return address
    if not domain.isascii():
        with suppress(UnicodeError):
            domain = domain.encode("idna").decode("ascii")
    return f"{local}@{domain.lower()}"
