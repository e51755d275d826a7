"""Queue entries that are one message: a content filter, a forward, a requeue, the next host.

Owns the question which entry goes on as which other one. Three things make a link: one side names
the other's queue id, both have the same Message-ID, and the later one was written while the
earlier one was handed over. Queue id and Message-ID are no secrets: whoever gets a copy of a
message can name both, but only afterwards. A link is kept as a fact on both sides: that a message
was handed on, and was taken over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter

import msgspec

from pda.maillog.events import (
    Attempt,
    EntryKey,
    Fact,
    HandedOn,
    Life,
    MessageId,
    TakenOver,
)
from pda.maillog.outcome import began, is_internal, named_queue_id

_ONE_CLOCK, _TWO_CLOCKS = 2_000_000, 60_000_000
"""By how much stamps of one host may contradict each other (whole seconds), and of two hosts."""


def named_by(attempts: Iterable[Attempt]) -> list[tuple[str, bool]]:
    """Queue ids that replies give the message, and whether that is surely one of our own hosts'.

    Each once: a filter has one reply for all recipients.
    """
    named: dict[tuple[str, bool], None] = {}
    for attempt in attempts:
        if queue_id := _named_by(attempt):
            named[queue_id, is_internal(attempt.delivery.relay)] = None
    return list(named)


def _named_by(attempt: Attempt) -> str:
    delivery = attempt.delivery
    return named_queue_id(delivery.reason) if delivery.status == "sent" else ""


def same_message(one: Life, other: Life) -> bool:
    """Whether two entries have the same Message-ID, and are not one."""
    if one is other or one.summary is None or other.summary is None:
        return False
    return bool(one.summary.message_id) and one.summary.message_id == other.summary.message_id


def was_handed_over(parent: Life, child: Life) -> bool:
    """Whether `child` was written while an attempt of `parent` ran whose reply names it.

    On the same host that reply must come from inside: a stranger may hand in a copy, and name it.
    A filter elsewhere says by XFORWARD what it continues, see `was_continued`.
    """
    written, apart = _named(child).at, _clocks(parent, child)
    return any(
        began(attempt) - apart <= written <= attempt.at + apart
        and (parent.host != child.host or is_internal(attempt.delivery.relay))
        for attempt in parent.attempts.values()
        if _named_by(attempt) == child.queue_id
    )


def was_continued(parent: Life, child: Life) -> bool:
    """Whether `child`, which names `parent`, was written after it.

    Only pickup names an entry, and smtpd for those who may say so
    (smtpd_authorized_xforward_hosts).
    """
    return _named(parent).at <= _named(child).at + _clocks(parent, child)


def _named(life: Life) -> Fact:
    """That cleanup met the Message-ID, which each of these has: first of all that is later known.

    What else tells of the beginning may come to be known after it.
    """
    assert life.summary is not None
    raw = life.summary.message_id
    named = (
        fact
        for fact in life.facts.values()
        if isinstance(fact.record, MessageId) and fact.record.message_id_raw == raw
    )
    return min(named, key=attrgetter("at"))


def _clocks(one: Life, other: Life) -> int:
    return _ONE_CLOCK if one.host == other.host else _TWO_CLOCKS


def link(parent: Life, child: Life, *, requeued: bool) -> tuple[bool, bool]:
    """Notes that `parent` goes on as `child`; whether that was news to either of them."""
    assert parent.summary is not None
    assert child.summary is not None
    origin = parent.summary.origin or f"{parent.host}/{parent.queue_id}"
    if origin == f"{child.host}/{child.queue_id}" or _is_circle(parent, child):
        return False, False
    handed_on = HandedOn(
        host=child.host,
        to_queue_id=child.queue_id,
        requeued=requeued,
    )
    taken_over = TakenOver(
        host=parent.host,
        from_queue_id=parent.queue_id,
        origin=origin,
        client_id=parent.summary.client_id,
        msg_id=parent.summary.msg_id,
    )
    named = _named(child)
    return _note(parent, _like(named, handed_on)), _note(child, _like(named, taken_over))


def _like(fact: Fact, record: HandedOn | TakenOver) -> Fact:
    """A derived fact with a stamp that tells to which life of a queue id it belongs."""
    return msgspec.structs.replace(fact, syslog_name="", record=record)


def _is_circle(parent: Life, child: Life) -> bool:
    """Whether each names the other, and `child` came first."""
    assert parent.summary is not None
    assert child.summary is not None
    if all(queue_id != parent.queue_id for queue_id, _ in named_by(child.attempts.values())):
        return False
    first = (child.summary.born, child.host, child.queue_id)
    return first <= (parent.summary.born, parent.host, parent.queue_id)


def _note(life: Life, fact: Fact) -> bool:
    known = life.facts.like(fact)
    if known is not None and known.record == fact.record:
        return False
    life.facts.add(fact)
    return True


def children(life: Life) -> Iterator[tuple[EntryKey, bool]]:
    """The entries as which this one's message goes on, and whether by a requeue."""
    for fact in life.facts.values():
        if isinstance(fact.record, HandedOn):
            yield (fact.record.host, fact.record.to_queue_id), fact.record.requeued
