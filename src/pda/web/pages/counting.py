"""What pages ask of what was counted: for their period, and for the one before.

Owns these questions' periods: what is not counted by hour is asked for by day. Knows no page.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pda.store import queries
from pda.store.database import Connection
from pda.store.queries import Counts, Delays, Group, Point, Top, What
from pda.web.pages import figures
from pda.web.pages.figures import Period, Side
from pda.web.pages.view import DAY, HOUR, View

_MOST: Final = 200
"""So many groups are looked at for what they were before."""


class Share(msgspec.Struct, frozen=True):
    """A reason for failures, beside how often it was given before."""

    top: Top
    before: float
    """Scaled to a period as long."""


class Counting:
    """The questions of one page; `narrower` (domain, provider) holds for all of them."""

    def __init__(self, connection: Connection, view: View, **narrower: str) -> None:
        self._connection = connection
        self._view = view
        self._narrower = narrower
        alone = view.client is None and view.host is None
        of_provider = "provider" in narrower
        by_hour = view.host is None and "domain" not in narrower and (alone or not of_provider)
        self.time = figures.period(view, HOUR if by_hour else DAY)
        """As fine as is counted."""
        self.days = figures.period(view, DAY)
        self.of_providers = self.time if alone else self.days
        self._of_delays = self.days if of_provider else self.time

    def series(self, time: Period, group: Group = "") -> list[Point]:
        """What was counted in each bar."""
        scope = figures.scope(self._view, time, **self._narrower)
        return queries.series(self._connection, scope, time.kept, group)

    def top(self, what: What, limit: int, *, before: bool = False, **narrower: str) -> list[Top]:
        """The most frequent ones, of whole days."""
        time = self.days.before() if before else self.days
        scope = figures.scope(self._view, time, **{**self._narrower, **narrower})
        return queries.top(self._connection, scope, what, limit)

    def domains(self) -> list[Side]:
        """The busiest ones, beside what they were; by host they are not counted."""
        if self._view.host is not None:
            return []
        now, before = (
            {one.name: one.counts for one in self.top("domain", _MOST, before=earlier)}
            for earlier in (False, True)
        )
        return figures.sides(now, before, _MOST)

    def counted(self) -> tuple[Counts, Counts]:
        """All of the period, and of the one before."""
        now, before = (figures.total(self.series(time)) for time in (self.time, self.time.before()))
        return now, before

    def reasons(self, most: int) -> list[Share]:
        """Why attempts failed, most frequent first, of whole days."""
        before = {
            (one.category, one.name): one.counts.attempts
            for one in self.top("reason", _MOST, before=True)
        }
        weight = self.days.weight()
        return [
            Share(one, before.get((one.category, one.name), 0) * weight)
            for one in self.top("reason", most)
        ]

    def delays(self) -> tuple[Period, list[Delays], Delays | None]:
        """How long accepted attempts took: over that time, and altogether."""
        time = self._of_delays
        scope = figures.scope(self._view, time, **self._narrower)
        whole = queries.delays(self._connection, scope)
        return time, queries.delays(self._connection, scope, time.kept), next(iter(whole), None)
