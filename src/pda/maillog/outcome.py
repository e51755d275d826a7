"""What became of a recipient, and what a queue entry says about its message.

Owns the derivation of outcomes and summaries from the set of what is known of one life of a queue
entry. Order of arrival is no part of it: the same set gives the same answer.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

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
    Outcome,
    Pickup,
    QueueActive,
    QueueOperation,
    Removed,
    State,
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
_STOPPING = (HeaderAction, AccessAction)
_WITHOUT_VERDICT = frozenset([State.DELIVERED, State.FINALLY_OK, State.DISCARDED, State.HANDED_ON])
# smtpd.c `queued as`, local(8) `forwarded as`; a filter in between may quote it.
_NAMED = re.compile(r"\b(?:queued|forwarded) as ([0-9A-Za-z_]{6,255})\)?$")
_BOUNCED = {
    "soft": State.SOFT_BOUNCE,
    "hard": State.HARD_BOUNCE,
    "undetermined": State.UNDETERMINED_BOUNCE,
}


def summarise(life: Life, rules: ClientRules) -> Summary:
    """What all facts of a life say together."""
    clues, seen = Clues(headers=[]), _Seen()
    for fact in _in_order(life.facts.values()):
        match fact.record:
            case QueueActive() as record:
                seen.active = record
            case MessageId() as record:
                clues.message_id = _better_message_id(clues.message_id, record)
            case HeaderInfo() as record:
                clues.headers.append(record)
            case Connected() as record:
                clues.connected = clues.connected or record
            case Pickup() as record:
                clues.pickup = clues.pickup or record
            case TakenOver() as record:
                seen.taken_over = record
            case HandedOn() as record:
                seen.handed_on.append(record)
            case _:
                seen.note(fact)
    clues.sender = _sender(life, seen.active)
    return seen.summary(life, clues, identify(clues, rules))


class _Seen(msgspec.Struct):
    """What was seen on the way through the facts of a life, in the order of their stamps."""

    active: QueueActive | None = None
    taken_over: TakenOver | None = None
    handed_on: list[HandedOn] = []
    expired_at: int = 0
    removed_at: int = 0
    held_at: int = 0
    deleted: bool = False

    def note(self, fact: Fact) -> None:
        """Facts that end an entry, or stop it for a while."""
        match fact.record:
            case Expired():
                self.expired_at = self.expired_at or fact.at
            case Removed() as record:
                self.removed_at = fact.at
                self.deleted |= record.agent in _DELETERS
            case QueueOperation(operation="placed on hold"):
                self.held_at = fact.at
            case QueueOperation(operation="released from hold"):
                self.held_at = 0

    def summary(self, life: Life, clues: Clues, client: Client) -> Summary:
        """All of it; what was inherited comes before what the entry itself says."""
        inherited = self.taken_over
        if inherited is not None and inherited.client_id:
            client = Client(inherited.client_id, "", inherited.msg_id)
        return Summary(
            born=_born(life),
            client_id=client.client_id,
            claimed_id=client.claimed_id,
            message_id=clues.message_id.message_id_raw if clues.message_id else "",
            msg_id=client.msg_id,
            sender=clues.sender,
            size=self.active.size if self.active else 0,
            nrcpt=self.active.nrcpt if self.active else 0,
            expired_at=self.expired_at,
            removed_at=self.removed_at,
            origin=inherited.origin if inherited else "",
            deleted=self.deleted,
            held_at=self.held_at,
            handed_on=frozenset(r.to_queue_id for r in self.handed_on if not r.requeued),
            requeued=any(record.requeued for record in self.handed_on),
        )


def fate(summary: Summary) -> tuple[object, ...]:
    """The parts of a summary that outcomes depend on."""
    return (
        summary.expired_at,
        summary.deleted,
        summary.held_at,
        summary.handed_on,
        summary.requeued,
    )


def outcomes(attempts: Iterable[Attempt], summary: Summary) -> list[Outcome]:
    """The outcome of each recipient that these attempts name; all attempts of it are needed."""
    by_recipient: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        by_recipient.setdefault(address_key(attempt.delivery.recipient), []).append(attempt)
    return [_outcome(tries, summary) for tries in by_recipient.values()]


def outcomes_without_attempt(life: Life, summary: Summary) -> list[Outcome]:
    """Of recipients that never were tried: on hold, thrown away, or expired before we listened.

    A line that holds or discards a message names the last of its recipients only.
    """
    found: dict[str, Outcome] = {}
    stopping = [fact for fact in life.facts.values() if isinstance(fact.record, _STOPPING)]
    for fact in _in_order(stopping):
        record = fact.record
        assert isinstance(record, _STOPPING)
        if not record.recipient:
            continue
        state = _STOPPED.get(record.action.rpartition("-")[2])
        if state is not None:
            at = fact.at
            found[address_key(record.recipient)] = Outcome(record.recipient, state, at, at, 0, None)
    tried = {address_key(attempt.delivery.recipient) for attempt in life.attempts.values()}
    stopped = [outcome for key, outcome in found.items() if key not in tried]
    if summary.expired_at and not tried:
        at = summary.expired_at
        stopped.append(Outcome("", State.EXPIRED, at, at, 0, None))
    return stopped


def _outcome(tries: list[Attempt], summary: Summary) -> Outcome:
    tries.sort(key=lambda attempt: (attempt.at, attempt.digest, attempt.copy))
    last = tries[-1]
    state, at = _state(tries, last, summary), last.at
    if state is State.PENDING:
        state, at = _waiting(last, summary)
    verdict = None if state in _WITHOUT_VERDICT else _last_verdict(tries)
    return Outcome(last.delivery.recipient, state, tries[0].at, at, len(tries), verdict)


def _state(tries: list[Attempt], last: Attempt, summary: Summary) -> State:
    if last.delivery.status == "sent":
        # discard(8), and the queue manager for mail it throws away, have no relay.
        if last.delivery.relay == "none":
            return State.DISCARDED
        if summary.handed_on and named_queue_id(last.delivery.reason) in summary.handed_on:
            return State.HANDED_ON
        deferred = any(attempt.delivery.status != "sent" for attempt in tries)
        return State.FINALLY_OK if deferred else State.DELIVERED
    if last.delivery.status == "bounced" and last.verdict is not None:
        return _BOUNCED[last.verdict.bounce_type]
    return State.PENDING


def _waiting(last: Attempt, summary: Summary) -> tuple[State, int]:
    """What became of a recipient whose last attempt was deferred, and when."""
    if summary.expired_at + _SAME_SECOND > last.at:
        return State.EXPIRED, summary.expired_at
    if summary.requeued:
        return State.HANDED_ON, last.at
    if summary.deleted:
        return State.DISCARDED, summary.removed_at
    if summary.held_at + _SAME_SECOND > last.at:
        return State.HELD, summary.held_at
    return State.PENDING, last.at


def named_queue_id(reason: str) -> str:
    """The queue id that a reply gives the message at the next host, or empty."""
    at = reason.rfind(" as ")
    found = _NAMED.search(reason, max(at - len("forwarded"), 0)) if at >= 0 else None
    return found[1] if found else ""


def _last_verdict(tries: list[Attempt]) -> Verdict | None:
    return next((attempt.verdict for attempt in reversed(tries) if attempt.verdict), None)


def _in_order(facts: Collection[Fact]) -> list[Fact]:
    """By their seconds, the same for stamps with and without fractions.

    In one second only the order of equal kinds matters, and is that of their texts.
    """
    if len({(fact.at // 1_000_000, type(fact.record)) for fact in facts}) == len(facts):
        return sorted(facts, key=_stamp)
    return sorted(facts, key=_second_and_text)


def _stamp(fact: Fact) -> int:
    return fact.at


def _second_and_text(fact: Fact) -> tuple[int, str]:
    return fact.at // 1_000_000, str(fact.record)


def _better_message_id(known: MessageId | None, new: MessageId) -> MessageId:
    """The first one that is not a Resent-Message-ID and not empty."""
    if known is None or (known.resent and not new.resent):
        return new
    return new if not known.message_id and new.message_id else known


def _sender(life: Life, active: QueueActive | None) -> str | None:
    if active is not None:
        return active.sender
    for fact in life.facts.values():
        if isinstance(fact.record, Expired | Pickup):
            return fact.record.sender
    return None


def _born(life: Life) -> int:
    heads = [fact.at for fact in life.facts.values()]
    return min(heads + [arrived(attempt) for attempt in life.attempts.values()])


def arrived(attempt: Attempt) -> int:
    """When the message of an attempt arrived, as its `delay` tells."""
    return attempt.at - int(attempt.delivery.delay * 1_000_000)
