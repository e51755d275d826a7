"""The states of recipients as pages show them: which are shown as one, in which order and words.

Owns columns, shares and bars of outcomes. Knows no page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec


class Kind(msgspec.Struct, frozen=True):
    """A column: states that are shown as one."""

    key: str
    label: str
    states: tuple[str, ...]


KINDS: Final = (
    Kind("delivered", "Delivered", ("delivered",)),
    Kind("late", "Delivered late", ("finally-ok",)),
    Kind("pending", "Waiting", ("pending", "held")),
    Kind("soft", "Soft bounce", ("soft-bounce",)),
    Kind("hard", "Hard bounce", ("hard-bounce",)),
    Kind("unknown", "Undetermined", ("undetermined-bounce",)),
    Kind("expired", "Expired", ("expired",)),
    Kind("discarded", "Discarded", ("discarded",)),
)
KIND_OF: Final = {state: kind for kind in KINDS for state in kind.states}
HOPS: Final = frozenset({"handed-on"})
"""No outcomes: the same recipients are counted where the message went on to."""
HATCHED: Final = ("late", "soft", "unknown", "expired")
"""Told apart by a pattern too, not by colour alone."""

PROVIDERS: Final = {
    "google": "Google",
    "microsoft": "Microsoft",
    "yahoo": "Yahoo",
    "apple": "Apple",
    "amazon": "Amazon",
    "gmx": "GMX",
    "none": "no host reached",
    "local": "local delivery",
    "other": "other hosts",
    "": "unknown",
}
"""Providers, and what is none, in words."""


class Part(msgspec.Struct, frozen=True):
    """One kind's share of a bar, in percent."""

    key: str
    start: float
    width: float


class Tally(msgspec.Struct, frozen=True):
    """Recipients by kind."""

    counts: Mapping[str, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def delivered(self) -> int:
        return self.counts["delivered"] + self.counts["late"]

    @property
    def known(self) -> int:
        """Those whose outcome is known."""
        return self.total - self.counts["pending"]

    @property
    def failed(self) -> int:
        """Those that will not be reached."""
        return self.known - self.delivered - self.counts["discarded"]

    def share(self, key: str) -> float:
        """Percent of all recipients."""
        return 100 * self.counts[key] / self.total if self.total else 0.0

    @property
    def rate(self) -> float:
        """Percent delivered of those whose outcome is known."""
        return 100 * self.delivered / self.known if self.known else 0.0

    def bar(self) -> list[Part]:
        """The parts of a bar, from left to right."""
        parts, start = [], 0.0
        for kind in KINDS:
            if width := self.share(kind.key):
                parts.append(Part(kind.key, round(start, 2), round(width, 2)))
            start += width
        return parts


def tally(states: Mapping[str, int]) -> Tally:
    """Recipients by kind, of recipients by state."""
    counts = {kind.key: sum(states.get(s, 0) for s in kind.states) for kind in KINDS}
    return Tally(counts)
