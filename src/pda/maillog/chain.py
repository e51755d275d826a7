"""Queue entries that are one message: a content filter, a forward, a requeue, the next host.

Owns the question which entry goes on as which other one. Two things make a link: one side names
the other's queue id, and both have the same Message-ID, so that a remote reply alone can claim
nothing. A link is kept as a fact on both sides: that a message was handed on, and was taken over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pda.maillog.events import (
    Attempt,
    EntryKey,
    Fact,
    HandedOn,
    Life,
    TakenOver,
)
from pda.maillog.outcome import is_internal, named_queue_id


def named_by(attempts: Iterable[Attempt]) -> list[tuple[str, bool]]:
    """Queue ids that replies give the message, and whether that is surely one of our own hosts'."""
    named = []
    for attempt in attempts:
        delivery = attempt.delivery
        if delivery.status == "sent" and (queue_id := named_queue_id(delivery.reason)):
            named.append((queue_id, is_internal(delivery.relay)))
    return named


def same_message(one: Life, other: Life) -> bool:
    """Whether two entries have the same Message-ID, and are not one."""
    if one is other or one.summary is None or other.summary is None:
        return False
    return bool(one.summary.message_id) and one.summary.message_id == other.summary.message_id


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
    at = child.summary.born
    return _note(parent, Fact(at, 0, "", handed_on)), _note(child, Fact(at, 0, "", taken_over))


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
