"""What pages ask of what was counted: for their period, and for the one before.

Owns these questions' two periods and what narrows them. Knows no page.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pda.store import queries
from pda.store.database import Connection
from pda.store.queries import Counts, Delays, Group, Point, Top, What
from pda.web.pages import figures
from pda.web.pages.figures import Period, Side
from pda.web.pages.view import HOUR, View

_MOST: Final = 200
"""So many groups are looked at for what they were before."""


class Share(msgspec.Struct, frozen=True):
    """A reason for failures, beside how often it was given before."""

    top: Top
    before: int


class Counting:
    """The questions of one page; `narrower` (domain, provider) holds for all of them."""

    def __init__(
        self, connection: Connection, view: View, finest: int = HOUR, **narrower: str
    ) -> None:
        self._connection = connection
        self._view = view
        self._narrower = narrower
        self.time = figures.period(view, finest)
        self.before = self.time.before()

    def series(self, time: Period, group: Group = "") -> list[Point]:
        """What was counted in each bar."""
        scope = figures.scope(self._view, time, **self._narrower)
        return queries.series(self._connection, scope, self.time.kept, group)

    def top(self, time: Period, what: What, limit: int, **narrower: str) -> list[Top]:
        """The most frequent ones."""
        scope = figures.scope(self._view, time, **{**self._narrower, **narrower})
        return queries.top(self._connection, scope, what, limit)

    def sides(self, what: What, most: int) -> list[Side]:
        """The busiest groups, beside what they were."""
        now, before = (
            {one.name: one.counts for one in self.top(time, what, _MOST)}
            for time in (self.time, self.before)
        )
        return figures.sides(now, before, most)

    def counted(self) -> tuple[Counts, Counts]:
        """All of the period, and of the one before."""
        now, before = (figures.total(self.series(time)) for time in (self.time, self.before))
        return now, before

    def reasons(self, most: int) -> list[Share]:
        """Why attempts failed, most frequent first."""
        before = {
            (one.category, one.name): one.counts.attempts
            for one in self.top(self.before, "reason", _MOST)
        }
        return [
            Share(one, before.get((one.category, one.name), 0))
            for one in self.top(self.time, "reason", most)
        ]

    def delays(self) -> tuple[list[Delays], Delays | None]:
        """How long accepted attempts took: over time, and altogether."""
        scope = figures.scope(self._view, self.time, **self._narrower)
        whole = queries.delays(self._connection, scope)
        return queries.delays(self._connection, scope, self.time.kept), next(iter(whole), None)
