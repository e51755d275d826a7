"""The latest attempts at a recipient or a domain, where nothing is counted as finely.

Owns how many are looked at, and what they say together: why they failed, how long they took.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec

from pda.store import queries
from pda.store.database import Connection
from pda.store.queries import AttemptRow, Bounds, Filter

_MOST: Final = 300
_BOUNDS: Final = Bounds(entries=50_000, seconds=0.25)
"""For failures of a place that hardly has any."""


class Sample(msgspec.Struct, frozen=True):
    """Attempts, the latest first."""

    attempts: list[AttemptRow]

    @property
    def reasons(self) -> list[tuple[str, int, AttemptRow]]:
        """Category, number of attempts, and the last of them; most frequent first."""
        failed = [one for one in self.attempts if one.category]
        counts = Counter(one.category for one in failed)
        last = {one.category: one for one in reversed(failed)}
        return [(str(category), count, last[category]) for category, count in counts.most_common()]

    @property
    def delays(self) -> list[float]:
        """Seconds of those that were accepted, sorted."""
        return sorted(one.delay for one in self.attempts if one.status == "sent")

    def delay(self, percent: int) -> float:
        """So many of a hundred accepted ones took no longer; 0 where none was."""
        delays = self.delays
        return delays[min(len(delays) - 1, len(delays) * percent // 100)] if delays else 0.0


def sample(connection: Connection, wanted: Filter) -> Sample:
    """The latest ones that the filter chooses."""
    rows = queries.attempts_page(connection, wanted, limit=_MOST).rows
    return Sample(sorted(rows, key=lambda one: -one.at))


def latest_failures(connection: Connection, wanted: Filter, most: int) -> list[AttemptRow]:
    """The latest attempts that failed, as far as they are soon found."""
    found: list[AttemptRow] = []
    for status in ("deferred", "bounced"):
        narrowed = msgspec.structs.replace(wanted, status=status)
        found += queries.attempts_page(connection, narrowed, limit=most, bounds=_BOUNDS).rows
    return sorted(found, key=lambda row: -row.at)[:most]
