"""The lives of a queue id that is used again, told apart by what its lines say of time.

Owns when a life begins and which line belongs to which; and stamps without zone that are hours off.
A function of the set of lines: the order in which they came is no part of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import msgspec

from pda.maillog.events import (
    SUBSECOND,
    ZONED,
    Attempt,
    Connected,
    Fact,
    HeaderInfo,
    MessageId,
    Pickup,
    QueueActive,
    Removed,
)
from pda.maillog.outcome import arrived, began

_SECOND = 1_000_000
# A stamp of whole seconds and a delay of two digits tell an arrival to within 2 s.
_SLACK = 2 * _SECOND
_LONGEST_SESSION = 24 * 3600 * _SECOND
# Zones differ by multiples of a quarter of an hour, and by 26 hours at the most.
_QUARTER, _MOST_APART = 900 * _SECOND, 26 * 3600 * _SECOND


class Start(NamedTuple):
    """Where a life begins."""

    at: int
    opened: bool = False
    """By `client=` or pickup's line, until which the message may have been arriving for long."""


def life_starts(everything: Iterable[Fact | Attempt]) -> list[Start]:
    """When the lives of a queue id began, ascending, by what its lines say.

    `client=` and pickup's line stand at a beginning; an attempt tells its own arrival. What else
    a message begins with counts where no such line was seen since the entry was last removed, or
    for longer than a message may take to come in.
    """
    facts = sorted((s for s in everything if isinstance(s, Fact)), key=lambda fact: fact.at)
    opened = [fact.at for fact in facts if isinstance(fact.record, Connected | Pickup)]
    points = [_began(said, opened) for said in everything if isinstance(said, Attempt)]
    starts = _clusters(opened + points)
    removed = [fact.at for fact in facts if isinstance(fact.record, Removed)]
    for fact in facts:
        if not isinstance(fact.record, MessageId | QueueActive | HeaderInfo):
            continue
        last = max((s for s in starts if s <= fact.at + _SLACK), default=None)
        if last is None or _is_over(last, fact, removed):
            starts = sorted([*starts, fact.at])
    openings = {max(start for start in starts if start <= at) for at in opened}
    return [Start(at, at in openings) for at in starts or [facts[0].at]]


def _is_over(start: int, fact: Fact, removed: list[int]) -> bool:
    """Whether the life that began then has ended before this: removed, or that was never seen.

    cleanup names the Message-ID while the message comes in.
    """
    too_late = isinstance(fact.record, MessageId) and fact.at - start > _LONGEST_SESSION
    return too_late or any(start < end < fact.at - _SLACK for end in removed)


def _began(attempt: Attempt, opened: list[int]) -> int:
    """When the life began that this was an attempt of: when its queue file was opened.

    Delays count from MAIL FROM, from sendmail(1), or from what came in before it was requeued; the
    file is opened when the first recipient is accepted, or by pickup.
    """
    at = arrived(attempt)
    latest = began(attempt) if attempt.delivery.delays else attempt.at
    return max((o for o in opened if at < o <= latest + _SLACK), default=at)


def _clusters(points: list[int]) -> list[int]:
    points.sort()
    return points[:1] + [b for a, b in pairwise(points) if b - a > _SLACK]


def life_of(said: Fact | Attempt, starts: list[Start]) -> int:
    """The index of the life that holds this line's own time."""
    at = said.at
    if isinstance(said, Attempt):
        at = _began(said, [start.at for start in starts if start.opened])
    return max((n for n, start in enumerate(starts) if start.at <= at + _SLACK), default=0)


def settle_zones(everything: list[Fact | Attempt]) -> list[Fact | Attempt]:
    """The same lines, in their order, with stamps that were read in a wrong zone put right.

    A line without zone whose text is also there with one, whole quarters of an hour away, says how
    far off its source may be; what most of them say is so for all lines without zone.
    """
    zoned = [said for said in everything if said.grade & ZONED]
    if not zoned or len(zoned) == len(everything):
        return everything
    known: dict[object, list[int]] = {}
    for said in zoned:
        if (text := _text(said)) is not None:
            known.setdefault(text, []).append(said.at)
    votes = Counter(
        shift
        for said in everything
        if not said.grade & ZONED
        for shift in _shifts(said, known.get(_text(said), []))
    )
    shift = min(votes, key=lambda shift: (-votes[shift], abs(shift), shift), default=0)
    if not shift:
        return everything
    return [
        said if said.grade & ZONED else msgspec.structs.replace(said, at=said.at - shift)
        for said in everything
    ]


def _text(said: Fact | Attempt) -> object:
    """What two lines of one event share; None where many events say the same."""
    if isinstance(said, Attempt):
        return said.digest
    return said.record if isinstance(said.record, MessageId | Connected) else None


def _shifts(said: Fact | Attempt, moments: list[int]) -> set[int]:
    """How far, in µs, this stamp may be off these moments by its zone alone."""
    shifts = set()
    for moment in moments:
        apart = said.at - (moment if said.grade & SUBSECOND else moment // _SECOND * _SECOND)
        rounded = round(apart / _QUARTER) * _QUARTER
        if abs(apart - rounded) < 1000 and abs(apart) <= _MOST_APART:
            shifts.add(rounded)
    return shifts
