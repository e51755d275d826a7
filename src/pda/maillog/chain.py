"""Queue entries that are one message: a content filter, a forward, a requeue, the next host.

Owns the question which entry goes on as which other one. Two things make a link: one side names
the other's queue id, and both have the same Message-ID, so that a remote reply alone can claim
nothing. A link is kept as a fact on both sides: that a message was handed on, and was taken over.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import ip_address

from pda.maillog.events import (
    Connected,
    EntryKey,
    Fact,
    HandedOn,
    Life,
    Pickup,
    TakenOver,
    is_reusable,
)
from pda.maillog.outcome import named_queue_id

_LOCAL_RELAYS = frozenset(["local", "none", "virtual"])


def named_by_replies(life: Life) -> Iterator[tuple[str, bool]]:
    """Queue ids that replies give the message, and whether that is surely one of our own hosts'."""
    for attempt in life.attempts.values():
        delivery = attempt.delivery
        if delivery.status == "sent" and (queue_id := named_queue_id(delivery.reason)):
            yield queue_id, is_internal(delivery.relay)


def named_as_origin(life: Life) -> Iterator[tuple[str, bool]]:
    """Queue ids of which this entry says that it continues them, and whether by a requeue."""
    for fact in life.facts.values():
        record = fact.record
        if isinstance(record, Connected) and record.orig_queue_id:
            yield record.orig_queue_id, False
        elif isinstance(record, Pickup) and record.orig_id:
            yield record.orig_id, True


def came_from_inside(life: Life) -> bool:
    """Whether another host or service of ours may have handed the message in."""
    return any(
        is_internal(f"[{fact.record.client_ip}]") or bool(fact.record.orig_queue_id)
        for fact in life.facts.values()
        if isinstance(fact.record, Connected)
    ) or any(requeued for _, requeued in named_as_origin(life))


@lru_cache(4096)
def is_internal(relay: str) -> bool:
    """Whether a relay `host[address]:port` is on this machine or in a private network."""
    if relay in _LOCAL_RELAYS:
        return True
    address = relay.partition("[")[2].partition("]")[0]
    try:
        return ip_address(address).is_private
    except ValueError:
        return address.startswith(("/", "private/"))  # LMTP over a unix socket


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
    if all(queue_id != parent.queue_id for queue_id, _ in named_by_replies(child)):
        return False
    first = (child.summary.born, child.host, child.queue_id)
    return first <= (parent.summary.born, parent.host, parent.queue_id)


def _note(life: Life, fact: Fact) -> bool:
    key = fact.key(reusable=is_reusable(life.queue_id))
    known = life.facts.get(key)
    if known is not None and known.record == fact.record:
        return False
    life.facts[key] = fact
    return True


def children(life: Life) -> Iterator[tuple[EntryKey, bool]]:
    """The entries as which this one's message goes on, and whether by a requeue."""
    for fact in life.facts.values():
        if isinstance(fact.record, HandedOn):
            yield (fact.record.host, fact.record.to_queue_id), fact.record.requeued
