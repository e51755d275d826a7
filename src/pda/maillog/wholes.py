"""Queue entries of which one part of a log tells all that is known so far.

Owns which ones these are. Whoever has read that part works them out without knowing what is
stored; whoever knows that only has to look whether they are new and stand by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from pda.maillog import chain
from pda.maillog.clients import ClientRules
from pda.maillog.correlate import begun
from pda.maillog.events import Connected, Life, MessageId, Pickup, Rest, Told, Whole, is_reusable
from pda.maillog.lives import life_starts, settle_zones

_BEGINNINGS = frozenset([Connected, MessageId, Pickup])
_encode = msgspec.msgpack.Encoder().encode


def worked_out(told: Iterable[Told], clients: ClientRules) -> tuple[list[Life], list[Told]]:
    """The lives of those that are surely about one message each, and all others as they are."""
    lives: list[Life] = []
    others: list[Told] = []
    for one in told:
        life = _alone(one, clients)
        if life is None:
            others.append(one)
        else:
            lives.append(life)
    return lives, others


def _alone(one: Told, clients: ClientRules) -> Life | None:
    """What says nothing of a beginning is likely about an entry that is known already.

    One that says whose message it continues is not alone.
    """
    if not any(type(fact.record) in _BEGINNINGS for fact in one.facts):
        return None
    if is_reusable(one.queue_id):
        settled = settle_zones(one.said)
        if len(life_starts(settled)) > 1 or any(
            now is not before for now, before in zip(settled, one.said, strict=True)
        ):
            return None
    life = begun(one, clients)
    assert life.summary is not None
    return None if life.summary.origins else life


def whole(life: Life) -> Whole:
    """What has to be known of such an entry besides its rows."""
    summary, attempts = life.summary, list(life.attempts.values())
    assert summary is not None
    return Whole(
        life.host,
        life.queue_id,
        len(life.facts) + len(attempts),
        chain.named_by(attempts),
        summary.message_id if summary.shares_message else "",
        summary.is_over,
        msgspec.Raw(_encode(Rest(life.facts.packed(), attempts))),
    )
