"""The vocabulary: what a log line can say, and what is known of a message.

Owns the values that travel from the socket to the answer. Imports nothing of ours and knows
neither sockets, clocks nor SQL. All times are microseconds since the epoch, UTC.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from contextlib import suppress
from enum import IntEnum
from typing import Literal, TypeAlias

import msgspec

# A stamp's grade is the sum of these; of two stamps for one event the greater grade wins.
ZONED = 1
"""The stamp carried its offset from UTC."""
SUBSECOND = 2
"""The stamp carried a fraction of a second."""


class Header(msgspec.Struct, frozen=True, gc=False):
    """What stands in front of the text of a line (RFC 3164, RFC 5424 or a file's template)."""

    at: int
    """When, in µs since the epoch."""
    grade: int
    """Sum of `ZONED` and `SUBSECOND`."""
    hostname: str
    """As logged; empty where the header has none."""
    syslog_name: str
    """The tag without its last component: `postfix`, `postfix/submission`, `postfix-out`."""
    program: str
    """The last component of the tag: `smtp`; empty where the sender cut it (RFC 5424 APP-NAME)."""
    procid: int | None
    text: str
    """All after `tag[pid]: `."""
    repeat: int = 0
    """N of `message repeated N times: [ … ]`, else 0."""


# --- Records: one Postfix line each -----------------------------------------------------------
# The tag is the `kind` that `pda parse` prints.


class Record(msgspec.Struct, frozen=True, gc=False, tag_field="kind", array_like=True):
    """What one line says; about which queue entry stands beside it."""

    @classmethod
    def kind(cls) -> str:
        """What `pda parse` calls it."""
        return str(cls.__struct_config__.tag)


class Delivery(Record, tag="delivery", frozen=True, gc=False):
    """A try at one recipient (postfix global/log_adhoc.c)."""

    recipient: str
    relay: str
    delay: float
    """Seconds since the message arrived."""
    status: str
    reason: str
    """The text in brackets."""
    dsn: str = ""
    """Enhanced status code (RFC 3463); empty before Postfix 2.3."""
    delays: str = ""
    """Seconds before the queue manager, in it, for connection set-up, for transmission; as
    logged: `0.03/0/0.29/1.3`."""
    conn_use: int = 0
    orig_to: str = ""
    tls: str = ""


class MessageId(Record, tag="message-id", frozen=True, gc=False):
    """cleanup's `message-id=` or `resent-message-id=`."""

    message_id_raw: str
    resent: bool = False

    @property
    def message_id(self) -> str:
        """Without the outer angle brackets where it has both."""
        raw = self.message_id_raw
        return raw[1:].partition(">")[0] if raw.startswith("<") else raw


class HeaderAction(Record, tag="header-action", frozen=True, gc=False):
    """What header_checks, body_checks or a milter did: hold, discard, redirect, reject …"""

    action: str
    content_class: str
    """`header`, `body`, `content` or `mime-error`."""
    content: str
    client_host: str = ""
    client_ip: str = ""
    sender: str | None = None
    recipient: str | None = None
    action_text: str = ""

    @property
    def header_name(self) -> str | None:
        """None where it is about no header."""
        return self.content.partition(":")[0] if self._is_header else None

    @property
    def header_value(self) -> str | None:
        """As logged, without blanks around it."""
        return self.content.partition(":")[2].strip(" ") if self._is_header else None

    @property
    def _is_header(self) -> bool:
        return self.content_class == "header" and ":" in self.content


class HeaderInfo(HeaderAction, tag="header-info", frozen=True, gc=False):
    """A header that was only logged: INFO or WARN (cleanup/cleanup_message.c)."""


class QueueActive(Record, tag="qmgr-from", frozen=True, gc=False):
    """qmgr's `from=<…>, size=…, nrcpt=… (queue active)`, written at every activation."""

    sender: str
    size: int
    nrcpt: int = 0


class Expired(Record, tag="expired", frozen=True, gc=False):
    """qmgr gave up: every recipient still deferred is returned."""

    sender: str
    status: str
    """`expired` or `force-expired`."""


class Removed(Record, tag="removed", frozen=True, gc=False):
    """The queue entry has gone."""

    detail: str = ""
    """`canceled` or `discarded` (cleanup, Postfix 3.10+)."""
    agent: str = ""
    """The program, where it was not the queue manager: postsuper deletes what it likes."""


class Notification(Record, tag="notification", frozen=True, gc=False):
    """bounce wrote a notification about this entry as a message of its own."""

    notify: str
    """`sender` or `postmaster`."""
    notify_type: str
    """`non-delivery`, `delay`, `delivery status`."""
    notification_queue_id: str


class Connected(Record, tag="smtpd-client", frozen=True, gc=False):
    """smtpd's or qmqpd's `client=`: who handed the message in."""

    client_host: str
    client_ip: str = ""
    sasl_method: str = ""
    sasl_username: str = ""
    sasl_sender: str = ""
    orig_queue_id: str = ""
    orig_client: str = ""


class Pickup(Record, tag="pickup", frozen=True, gc=False):
    """pickup's `uid=… from=<…>`: handed in by sendmail(1)."""

    uid: int
    sender: str
    orig_id: str = ""


class Reject(Record, tag="reject", frozen=True, gc=False):
    """smtpd, postscreen or a milter refused at the door."""

    action: str
    where: str
    client_host: str = ""
    client_ip: str = ""
    reply_code: str = ""
    dsn: str = ""
    reason: str = ""
    sender: str | None = None
    recipient: str | None = None
    proto: str = ""
    helo: str = ""
    sasl_username: str = ""


class AccessAction(Reject, tag="access-action", frozen=True, gc=False):
    """smtpd did something else than refuse: warn, hold, discard, redirect, filter …"""


class QueueOperation(Record, tag="queue-op", frozen=True, gc=False):
    """postsuper: hold, release, requeue."""

    operation: str


class HandedOn(Record, tag="handed-on", frozen=True, gc=False):
    """Derived: the message of this entry goes on as another queue entry that is known here."""

    host: str
    to_queue_id: str
    requeued: bool = False
    """All that was still to be delivered went on (postsuper -r), not what one reply names."""

    @property
    def other(self) -> str:
        """The other entry: with a kind, what tells such facts apart."""
        return f"{self.host}/{self.to_queue_id}"


class TakenOver(Record, tag="taken-over", frozen=True, gc=False):
    """Derived: this entry goes on with the message of another one, and inherits its client."""

    host: str
    from_queue_id: str
    origin: str
    """`HOST/QUEUE_ID` of the entry that the message came in by."""
    client_id: str = ""
    msg_id: str = ""

    @property
    def other(self) -> str:
        """The other entry: with a kind, what tells such facts apart."""
        return f"{self.host}/{self.from_queue_id}"


class Ignored(Record, tag="ignored", frozen=True, gc=False):
    """Known, and nothing about a message's way (connect, statistics, TLS …), or not Postfix's."""


class Unknown(Record, tag="unknown", frozen=True, gc=False):
    """A line of Postfix's whose form is not known."""


AnyRecord: TypeAlias = (
    Delivery
    | MessageId
    | HeaderInfo
    | HeaderAction
    | QueueActive
    | Expired
    | Removed
    | Notification
    | Connected
    | Pickup
    | Reject
    | AccessAction
    | QueueOperation
    | HandedOn
    | TakenOver
    | Ignored
    | Unknown
)


# --- Verdicts ---------------------------------------------------------------------------------

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


ONCE = frozenset([MessageId, HeaderInfo, Connected, Pickup, QueueActive, Removed, Notification])
"""Of these one life of an entry has each text once: no stamp is needed to know it again.

The queue manager says the same at every retry; that there was one is told by its attempts."""
LINKS = frozenset([HandedOn, TakenOver])


# --- What is known of a queue entry ------------------------------------------------------------


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
    shares_message: bool = False
    """Another entry of ours may have the same message: it came from inside, or was requeued."""

    @property
    def goes_on(self) -> bool:
        """Whether the message is known to go on as another entry."""
        return self.requeued or bool(self.handed_on)


class Alone(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What follows for a queue entry of which nothing else is known."""

    summary: Summary
    outcomes: dict[str, Outcome]
    """By recipient, see `address_key`."""
    names: list[tuple[str, bool]]
    """Queue ids that replies give the message, and whether surely one of our own hosts'."""
    terms: list[int]
    """Hashes of what it can be found by; the store's business."""


class Told(msgspec.Struct, gc=False, array_like=True):
    """What some lines say about one queue entry, on its way to what is known of it."""

    host: str
    queue_id: str
    facts: list[Fact]
    attempts: list[Attempt]
    alone: Alone | None = None
    """Where it was worked out already."""
    packed: bytes = b""
    """Then the facts are in here, see `pack_facts`."""
    packed_facts: int = 0

    @property
    def said(self) -> list[Fact | Attempt]:
        """All of it."""
        facts = unpack_facts(self.packed) if self.packed else self.facts
        return [*facts, *self.attempts]

    @property
    def events(self) -> int:
        """How many lines said it."""
        return len(self.facts) + self.packed_facts + len(self.attempts)


class Facts:
    """The facts of a life by their keys; those that come packed are unpacked when needed."""

    __slots__ = ("_by_key", "_octets", "_reusable")

    def __init__(self, queue_id: str, octets: bytes = b"") -> None:
        self._reusable = is_reusable(queue_id)
        self._octets = octets
        self._by_key: dict[FactKey, Fact] | None = None if octets else {}

    def __len__(self) -> int:
        return len(self._opened())

    def add(self, fact: Fact) -> None:
        """Adds a fact, in the place of one with the same key."""
        self._changed()[self.key(fact)] = fact

    def like(self, fact: Fact) -> Fact | None:
        """The one with the same key."""
        return self._opened().get(self.key(fact))

    def remove(self, fact: Fact) -> None:
        """Removes the one with the same key, if there is one."""
        self._changed().pop(self.key(fact), None)

    def values(self) -> Collection[Fact]:
        """All of them."""
        return self._opened().values()

    def packed(self) -> bytes:
        """All of them as octets."""
        return self._octets or pack_facts(self.values())

    def key(self, fact: Fact) -> FactKey:
        """By what a fact is known within its life."""
        return fact.key(reusable=self._reusable)

    def _changed(self) -> dict[FactKey, Fact]:
        by_key = self._opened()
        self._octets = b""
        return by_key

    def _opened(self) -> dict[FactKey, Fact]:
        if self._by_key is None:
            self._by_key = {self.key(fact): fact for fact in unpack_facts(self._octets)}
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
    terms: list[int] = []
    """Hashes of all that the entry can be found by, where they were worked out already."""


_encode = msgspec.msgpack.Encoder().encode
unpack_facts = msgspec.msgpack.Decoder(list[Fact]).decode
"""Facts out of octets."""


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
