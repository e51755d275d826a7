"""Where mail is not being delivered, since when: found in what was counted.

Owns when something is called a trouble. Pure. A trouble is a provider, domain or client at which
far more attempts fail than before; few attempts say nothing. Times are µs since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from pda.store.queries import Counts
from pda.web.pages.figures import Side, failing, summed

_FEWEST: Final = 20
"""Attempts that have to have been made, and as many have to be worth a word."""
_FEWEST_FAILED: Final = 20
_LEAST_SHARE: Final = 0.01
"""Of all attempts: what concerns fewer is told under what changed."""
_GRAVE_SHARE: Final = 0.05
_NOTABLE: Final = 20.0
"""Percent failing from which on a rise is told."""
_RISE: Final = 2.0
"""By which factor it has to have risen."""
_ALWAYS: Final = 60.0
"""Percent failing that is told whatever it was before."""
_GRAVE: Final = 50.0
_LATELY: Final = 4
"""The part of a time that is looked at by itself."""


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """A place where mail is not being delivered."""

    kind: str
    """`provider`, `domain`, `client` or `host`."""
    side: Side
    since: int
    """When the first bar began in which it was so; 0 where it was so all the time."""
    counts: Counts
    """Of the time since then."""
    is_grave: bool
    category: str = ""
    reason: str = ""
    """What is said there."""

    @property
    def failing(self) -> float:
        return failing(self.counts)


def is_grave(side: Side, attempts: int) -> bool:
    """Whether most of what goes there fails, and that is much of all."""
    return side.failing >= _GRAVE and failed(side.now) >= _GRAVE_SHARE * attempts


def is_trouble(side: Side, attempts: int) -> bool:
    """Whether there is something to say about it, in view of all `attempts`."""
    if side.now.attempts < _FEWEST or failed(side.now) < max(
        _FEWEST_FAILED, _LEAST_SHARE * attempts
    ):
        return False
    before = side.failing_before if side.before.attempts >= _FEWEST else 0.0
    risen = side.failing >= _NOTABLE and side.failing >= _RISE * before
    return risen or side.failing >= _ALWAYS


def told(side: Side, bars: Sequence[Counts], attempts: int) -> Side | None:
    """What is to be said: of all the time, or of its last quarter beside what was before that.

    None where there is nothing; what began lately is a small part of a long time. `attempts` are
    all of the time, at whatever place.
    """
    if is_trouble(side, attempts):
        return side
    last = len(bars) - max(1, len(bars) // _LATELY)
    lately = Side(
        name=side.name, now=summed(bars[last:]), before=summed([side.before, *bars[:last]])
    )
    return lately if is_trouble(lately, attempts // _LATELY) else None


def begun(bars: Sequence[Counts], side: Side) -> int:
    """The first bar of those that fail like that up to the end; 0 if all do, or none.

    Bars without attempts are passed over.
    """
    limit = (side.failing + min(side.failing_before, side.failing)) / 2
    first = len(bars)
    for number in range(len(bars) - 1, -1, -1):
        counts = bars[number]
        if not counts.attempts:
            continue
        if failing(counts) < limit * 0.8:
            break
        first = number
    return first % len(bars) if bars else 0


def worst(sides: Iterable[Side], attempts: int) -> list[Side]:
    """Those worth a word in view of all attempts, the most failed ones first."""
    found = [side for side in sides if is_trouble(side, attempts)]
    return sorted(found, key=lambda side: -failed(side.now))


def failed(counts: Counts) -> int:
    """Attempts that the next host did not accept."""
    return counts.deferred + counts.bounced
