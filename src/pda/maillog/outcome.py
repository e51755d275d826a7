"""What became of a recipient, and what a queue entry says about its message.

Owns the derivation of outcomes and summaries from the set of what is known of one life of a queue
entry. Order of arrival is no part of it: the same set gives the same answer.
"""

from __future__ import annotations

from collections.abc import Iterable

from pda.maillog.clients import ClientRules, Clues, identify
from pda.maillog.events import (
    Attempt,
    Connected,
    Expired,
    Fact,
    HeaderInfo,
    Life,
    MessageId,
    Outcome,
    Pickup,
    QueueActive,
    Removed,
    State,
    Summary,
    Verdict,
    address_key,
)

# Stamps of one second from two processes may stand in either order.
_SAME_SECOND = 1_000_000
_BOUNCED = {
    "soft": State.SOFT_BOUNCE,
    "hard": State.HARD_BOUNCE,
    "undetermined": State.UNDETERMINED_BOUNCE,
}


def summarise(life: Life, rules: ClientRules) -> Summary:
    """What all facts of a life say together."""
    clues, active, expired_at, removed_at = Clues(headers=[]), None, 0, 0
    for fact in sorted(life.facts.values(), key=_order):
        match fact.record:
            case QueueActive() as record:
                active = record
            case MessageId() as record:
                clues.message_id = _better_message_id(clues.message_id, record)
            case HeaderInfo() as record:
                clues.headers.append(record)
            case Connected() as record:
                clues.connected = clues.connected or record
            case Pickup() as record:
                clues.pickup = clues.pickup or record
            case Expired():
                expired_at = expired_at or fact.at
            case Removed():
                removed_at = fact.at
    clues.sender = _sender(life, active)
    client = identify(clues, rules)
    return Summary(
        born=_born(life),
        client_id=client.client_id,
        claimed_id=client.claimed_id,
        message_id=clues.message_id.message_id_raw if clues.message_id else "",
        msg_id=client.msg_id,
        sender=clues.sender,
        size=active.size if active else 0,
        nrcpt=active.nrcpt if active else 0,
        expired_at=expired_at,
        removed_at=removed_at,
    )


def outcomes(attempts: Iterable[Attempt], expired_at: int) -> list[Outcome]:
    """The outcome of each recipient that these attempts name; all attempts of it are needed."""
    by_recipient: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        by_recipient.setdefault(address_key(attempt.delivery.recipient), []).append(attempt)
    return [_outcome(tries, expired_at) for tries in by_recipient.values()]


def expired_unseen(expired_at: int) -> Outcome:
    """An expiry whose deferrals were never seen: nobody knows for whom."""
    return Outcome("", State.EXPIRED, expired_at, expired_at, 0, None)


def _outcome(tries: list[Attempt], expired_at: int) -> Outcome:
    tries.sort(key=lambda attempt: (attempt.at, attempt.digest, attempt.copy))
    last = tries[-1]
    state, at = _state(tries, last), last.at
    if state is State.PENDING and expired_at + _SAME_SECOND > last.at:
        state, at = State.EXPIRED, expired_at
    delivered = state in {State.DELIVERED, State.FINALLY_OK, State.DISCARDED}
    verdict = None if delivered else _last_verdict(tries)
    return Outcome(last.delivery.recipient, state, tries[0].at, at, len(tries), verdict)


def _state(tries: list[Attempt], last: Attempt) -> State:
    if last.delivery.status == "sent":
        # discard(8), and the queue manager for mail it throws away, have no relay.
        if last.delivery.relay == "none":
            return State.DISCARDED
        deferred = any(attempt.delivery.status != "sent" for attempt in tries)
        return State.FINALLY_OK if deferred else State.DELIVERED
    if last.delivery.status == "bounced" and last.verdict is not None:
        return _BOUNCED[last.verdict.bounce_type]
    return State.PENDING


def _last_verdict(tries: list[Attempt]) -> Verdict | None:
    return next((attempt.verdict for attempt in reversed(tries) if attempt.verdict), None)


def _order(fact: Fact) -> tuple[int, str]:
    """The same for stamps with and without fractions."""
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
