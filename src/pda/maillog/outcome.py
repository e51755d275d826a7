"""What became of a recipient, and what a queue entry says about its message.

Owns the derivation of outcomes and summaries from the set of what is known of one life of a queue
entry. Order of arrival is no part of it: the same set gives the same answer.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from ipaddress import ip_address
from typing import TypeAlias, TypeVar

import msgspec

from pda.maillog.clients import Client, ClientRules, Clues, identify
from pda.maillog.events import (
    AccessAction,
    Attempt,
    Connected,
    Expired,
    Fact,
    HandedOn,
    HeaderAction,
    HeaderInfo,
    Life,
    MessageId,
    Notification,
    Outcome,
    Pickup,
    QueueActive,
    QueueOperation,
    Record,
    Reject,
    Removed,
    State,
    Stop,
    Summary,
    TakenOver,
    Verdict,
    address_key,
)

# Stamps of one second from two processes may stand in either order.
_SAME_SECOND = 1_000_000
# postsuper(1); or a service that the sender of RFC 5424 lines has cut from their tag.
_DELETERS = frozenset(["postsuper", "postfix"])
_STOPPED = {"hold": State.HELD, "discard": State.DISCARDED}
# A reject behind RCPT is of the whole message (smtpd/smtpd.c, cleanup/cleanup_milter.c).
_OF_ALL = frozenset(["DATA", "BDAT", "END-OF-MESSAGE", "mime-error"])
_WITHOUT_VERDICT = frozenset([State.DELIVERED, State.FINALLY_OK, State.DISCARDED, State.HANDED_ON])
# smtpd.c `queued as`, local(8) `forwarded as`; a filter in between may quote it.
_NAMED = re.compile(r"\b(?:queued|forwarded) as ([0-9A-Za-z_]{6,255})\)?$")
_BOUNCED = {
    "soft": State.SOFT_BOUNCE,
    "hard": State.HARD_BOUNCE,
    "undetermined": State.UNDETERMINED_BOUNCE,
}
_LOCAL_RELAYS = frozenset(["local", "none", "virtual"])
_Seen: TypeAlias = dict[type[Record], list[Fact]]
_R = TypeVar("_R", bound=Record)


def summarise(life: Life, rules: ClientRules) -> Summary:
    """What all facts of a life say together."""
    seen = _by_kind(life.facts.values())
    actives, message_ids = _said(seen, QueueActive), _said(seen, MessageId)
    connected, pickups = _said(seen, Connected), _said(seen, Pickup)
    handed_on, taken_over = _said(seen, HandedOn), _said(seen, TakenOver)[-1:]
    stopped = _stopped(seen)
    # Who hands in what continues another entry says nothing of who sent the message.
    came_in = [] if taken_over else connected
    submitted = [] if taken_over else [one for one in pickups if not one.orig_id]
    clues = Clues(
        message_id=_best_message_id(message_ids) if message_ids else None,
        headers=_said(seen, HeaderInfo),
        connected=came_in[0] if came_in else None,
        pickup=submitted[0] if submitted else None,
        sender=_sender(actives, seen),
    )
    client = identify(clues, rules)
    if taken_over and taken_over[0].client_id:
        # What was inherited comes before what the entry itself says.
        client = Client(taken_over[0].client_id, "", taken_over[0].msg_id)
    return Summary(
        born=_born(life),
        client_id=client.client_id,
        claimed_id=client.claimed_id,
        message_id=clues.message_id.message_id_raw if clues.message_id else "",
        msg_id=client.msg_id,
        sender=clues.sender,
        size=actives[-1].size if actives else 0,
        nrcpt=actives[-1].nrcpt if actives else 0,
        expired_at=seen[Expired][-1].at if Expired in seen else 0,
        removed_at=seen[Removed][-1].at if Removed in seen else 0,
        origin=taken_over[0].origin if taken_over else "",
        deleted=not _DELETERS.isdisjoint([record.agent for record in _said(seen, Removed)]),
        held_at=_held_at(stopped, seen.get(QueueOperation, ())),
        handed_on=frozenset([r.to_queue_id for r in handed_on if not r.requeued]),
        requeued=True in [record.requeued for record in handed_on],
        stopped=stopped,
        origins=_origins(connected, pickups),
        notifications=frozenset(one.notification_queue_id for one in _said(seen, Notification)),
        shares_message=_is_one_of_several(connected, pickups, seen),
    )


def _origins(
    connected: Sequence[Connected], pickups: Sequence[Pickup]
) -> tuple[tuple[str, bool], ...]:
    # Behind sasl_sender=, which is the word of any client, nothing can be told from it.
    told = [record for record in connected if record.orig_queue_id and not record.sasl_sender]
    passed = [(record.orig_queue_id, False) for record in told]
    return (*passed, *[(record.orig_id, True) for record in pickups if record.orig_id])


def _is_one_of_several(
    connected: Sequence[Connected], pickups: Sequence[Pickup], seen: _Seen
) -> bool:
    """Whether another entry of ours may have the same message."""
    for one in connected:
        if one.orig_queue_id or _is_internal_address(one.client_ip):
            return True
    operations = [one.operation for one in _said(seen, QueueOperation)]
    came_in = connected or pickups  # what local(8) forwards has neither
    return not came_in or "requeued" in operations or any(one.orig_id for one in pickups)


@lru_cache(4096)
def is_internal(relay: str) -> bool:
    """Whether a relay `host[address]:port` is on this machine or in a private network."""
    if relay in _LOCAL_RELAYS:
        return True
    address = relay.partition("[")[2].partition("]")[0]
    # LMTP over a unix socket, or an address
    return address.startswith(("/", "private/")) or _is_internal_address(address)


@lru_cache(4096)
def _is_internal_address(address: str) -> bool:
    try:
        return ip_address(address).is_private
    except ValueError:
        return False


def _by_kind(facts: Collection[Fact]) -> _Seen:
    """Facts of each kind, in the order of their seconds, and in one second of their texts.

    A stamp with a fraction and one without it have no more than that in common, and a log with
    either says the same.
    """
    seen: _Seen = {}
    for fact in facts:
        kind = type(fact.record)
        if kind in seen:
            seen[kind].append(fact)
        else:
            seen[kind] = [fact]
    if len(seen) < len(facts):
        for several in seen.values():
            apart = len({fact.at // _SAME_SECOND for fact in several}) == len(several)
            several.sort(key=_stamp if apart else _second_and_text)
    return seen


def _said(seen: _Seen, kind: type[_R]) -> list[_R]:
    if kind not in seen:
        return []
    return [fact.record for fact in seen[kind]]  # type: ignore[misc]  # that is its kind


def _stamp(fact: Fact) -> int:
    return fact.at


def _second_and_text(fact: Fact) -> tuple[int, str]:
    return fact.at // _SAME_SECOND, str(fact.record)


def _best_message_id(message_ids: Sequence[MessageId]) -> MessageId:
    """The first one that is not a Resent-Message-ID and not empty."""
    return min(message_ids, key=lambda record: (not record.message_id, record.resent))


def _sender(actives: Sequence[QueueActive], seen: _Seen) -> str | None:
    if actives:
        return actives[-1].sender
    expired, pickups = _said(seen, Expired), _said(seen, Pickup)
    if expired:
        return expired[0].sender
    return pickups[0].sender if pickups else None


def _held_at(stopped: Iterable[Stop], operations: Iterable[Fact]) -> int:
    """When it was put on hold, unless it was released since.

    A rule does so before the message is in the queue, and so before any operator.
    """
    held_at = max((stop.at for stop in stopped), default=0)
    for fact in operations:
        if isinstance(fact.record, QueueOperation):
            if fact.record.operation == "placed on hold":
                held_at = fact.at
            elif fact.record.operation == "released from hold":
                held_at = 0
    return held_at


def _stopped(seen: _Seen) -> tuple[Stop, ...]:
    """Recipients whom lines name that hold or throw away the message.

    Each does so for the whole message, and names the last of its recipients only.
    """
    if HeaderAction not in seen and AccessAction not in seen:
        return ()
    if _was_refused(seen):
        return ()
    found: dict[str, Stop] = {}
    for fact in (*seen.get(HeaderAction, ()), *seen.get(AccessAction, ())):
        record = fact.record
        if isinstance(record, HeaderAction | AccessAction) and record.recipient:
            state = _STOPPED.get(record.action.rpartition("-")[2])
            if state is not None:
                _keep_last(found, Stop(record.recipient, state, fact.at))
    if State.DISCARDED in [stop.state for stop in found.values()]:
        # Whatever holds it as well: nothing is left of it.
        found = {
            key: msgspec.structs.replace(stop, state=State.DISCARDED) for key, stop in found.items()
        }
    return tuple(found.values())


def _keep_last(found: dict[str, Stop], stop: Stop) -> None:
    key = address_key(stop.recipient)
    known = found.get(key)
    if known is None or (known.state, known.at) < (stop.state, stop.at):
        found[key] = stop


def _was_refused(seen: _Seen) -> bool:
    """Whether the whole message was refused after all, and so never queued."""
    return (
        any(one.action.endswith("reject") for one in _said(seen, HeaderAction))
        or any(one.where in _OF_ALL for one in _said(seen, Reject))
        or any(one.detail == "canceled" for one in _said(seen, Removed))
    )


def fate(summary: Summary) -> tuple[object, ...]:
    """The parts of a summary that outcomes depend on."""
    return (
        summary.expired_at,
        summary.deleted,
        summary.held_at,
        summary.handed_on,
        summary.requeued,
        summary.stopped,
    )


def outcomes(attempts: Collection[Attempt], summary: Summary) -> dict[str, Outcome]:
    """The outcome of each recipient that these attempts name; all attempts of it are needed."""
    if len(attempts) == 1:
        (attempt,) = attempts
        return {address_key(attempt.delivery.recipient): _outcome([attempt], summary)}
    by_recipient: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        by_recipient.setdefault(address_key(attempt.delivery.recipient), []).append(attempt)
    return {key: _outcome(tries, summary) for key, tries in by_recipient.items()}


def all_outcomes(life: Life, summary: Summary) -> dict[str, Outcome]:
    """Those of recipients too that never were tried: on hold, thrown away, or expired unseen."""
    found = outcomes(life.attempts.values(), summary)
    if found:
        return found  # nothing is tried that is on hold or thrown away
    for stop in summary.stopped:
        state, at = stop.state, stop.at
        if state is State.HELD:
            state, at = _waiting(at, at, summary)
        found[address_key(stop.recipient)] = Outcome(stop.recipient, state, at, at, 0, None, "")
    if summary.expired_at and not found:
        at = summary.expired_at
        found[""] = Outcome("", State.EXPIRED, at, at, 0, None, "")
    return found


def _outcome(tries: list[Attempt], summary: Summary) -> Outcome:
    if len(tries) > 1:
        tries.sort(key=_when)
    last = tries[-1]
    state, at = _state(tries, last, summary), last.at
    if state is State.PENDING:
        state, at = _waiting(at, began(last) if summary.held_at else at, summary)
    verdict = None if state in _WITHOUT_VERDICT else _last_verdict(tries)
    delivery = last.delivery
    first_at, relay = tries[0].at, delivery.relay
    return Outcome(delivery.recipient, state, first_at, at, len(tries), verdict, relay)


def _when(attempt: Attempt) -> tuple[int, float, int, bool, int, int]:
    """Attempts in their order: within a second their delays tell it, whatever the stamps.

    Who was reached or given up is not tried again.
    """
    at, delivery = attempt.at, attempt.delivery
    is_last = delivery.status != "deferred"
    return at // _SAME_SECOND, delivery.delay, at, is_last, attempt.digest, attempt.copy


def _state(tries: list[Attempt], last: Attempt, summary: Summary) -> State:
    delivery = last.delivery
    if delivery.status == "sent":
        # discard(8), and the queue manager for mail it throws away, have no relay.
        if delivery.relay == "none":
            return State.DISCARDED
        if summary.handed_on and named_queue_id(delivery.reason) in summary.handed_on:
            return State.HANDED_ON
        for attempt in tries:
            if attempt.delivery.status != "sent":
                return State.FINALLY_OK
        return State.DELIVERED
    if delivery.status == "bounced" and last.verdict is not None:
        return _BOUNCED[last.verdict.bounce_type]
    return State.PENDING


def _waiting(since: int, begin: int, summary: Summary) -> tuple[State, int]:
    """What became of a recipient who was to be tried again, and when.

    `since` when that was said, and `begin` when the attempt began: until its end Postfix goes on
    with what was put on hold.
    """
    if summary.requeued:
        return State.HANDED_ON, since
    if summary.expired_at + _SAME_SECOND > since:
        return State.EXPIRED, summary.expired_at
    if summary.deleted:
        return State.DISCARDED, summary.removed_at
    if summary.held_at + _SAME_SECOND > begin:
        return State.HELD, summary.held_at
    return State.PENDING, since


def named_queue_id(reason: str) -> str:
    """The queue id that a reply gives the message at the next host, or empty."""
    at = reason.rfind(" as ")
    found = _NAMED.search(reason, max(at - len("forwarded"), 0)) if at >= 0 else None
    return found[1] if found else ""


def _last_verdict(tries: list[Attempt]) -> Verdict | None:
    for attempt in reversed(tries):
        if attempt.verdict is not None:
            return attempt.verdict
    return None


def _born(life: Life) -> int:
    heads = [fact.at for fact in life.facts.values()]
    heads += map(arrived, life.attempts.values())
    return min(heads)


def arrived(attempt: Attempt) -> int:
    """When the message of an attempt arrived, as its `delay` tells."""
    return attempt.at - int(attempt.delivery.delay * 1_000_000)


def began(attempt: Attempt) -> int:
    """When an attempt began: with the set-up of its connection, as its `delays` tell."""
    parts = attempt.delivery.delays.split("/")
    if len(parts) != 4:
        return arrived(attempt)  # before Postfix 2.3: some time since then
    with suppress(ValueError):
        return attempt.at - int((float(parts[2]) + float(parts[3])) * 1_000_000)
    return arrived(attempt)
