"""What pages ask of what was counted: for their period, and for the one before.

Owns these questions' periods: a short one is counted from its rows, to the minute and by whatever
one asks for; a longer one by the hour, and by the day what is not counted by the hour. Knows no
page.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pda.store import queries
from pda.store.database import Connection
from pda.store.queries import Counts, Delays, Group, Point, Top, What
from pda.web.pages import figures
from pda.web.pages.figures import Period, Side
from pda.web.pages.view import DAY, HOUR, MINUTE, View

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
        self._rows = self._read(connection, view) if view.is_short else None
        if self._rows is not None:
            self.time = self.days = self.of_providers = self._of_delays = _fine(view)
            return
        by_hour = view.host is None and "domain" not in narrower and (alone or not of_provider)
        self.time = figures.period(view, HOUR if by_hour else DAY)
        """As fine as is counted."""
        self.days = figures.period(view, DAY)
        self.of_providers = self.time if alone else self.days
        self._of_delays = self.days if of_provider else self.time

    @property
    def is_fine(self) -> bool:
        """Whether everything is of the very range, not of whole hours or days."""
        return self._rows is not None

    def _read(self, connection: Connection, view: View) -> queries.Rows | None:
        time = _fine(view)
        return queries.short(connection, view.client, time.before().since, time.until)

    def series(self, time: Period, group: Group = "") -> list[Point]:
        """What was counted in each bar."""
        scope = figures.scope(self._view, time, **self._narrower)
        if self._rows is not None:
            return self._rows.points(scope, time.step, group)
        return queries.series(self._connection, scope, time.kept, group)

    def whole(self, time: Period, group: Group = "") -> dict[str, Counts]:
        """What was counted of each group in all of a time."""
        if self._rows is not None:
            return figures.totals(self.series(time, group))
        scope = figures.scope(self._view, time, **self._narrower)
        points = queries.series(self._connection, scope, "whole", group)
        return {one.group: one.counts for one in points}

    def top(self, what: What, limit: int, *, before: bool = False, **narrower: str) -> list[Top]:
        """The most frequent ones; of whole days where it is not fine."""
        time = self.days.before() if before else self.days
        scope = figures.scope(self._view, time, **{**self._narrower, **narrower})
        if self._rows is not None:
            return self._rows.top(scope, what, limit)
        return queries.top(self._connection, scope, what, limit, examples=not before)

    def domains(self) -> list[Side]:
        """The busiest ones, beside what they were; days by host are not counted."""
        if self._view.host is not None and not self.is_fine:
            return []
        now, before = (
            {one.name: one.counts for one in self.top("domain", _MOST, before=earlier)}
            for earlier in (False, True)
        )
        return figures.sides(now, before, _MOST)

    def counted(self) -> tuple[Counts, Counts]:
        """All of the period, and of the one before."""
        now, before = (
            self.whole(time).get("", Counts()) for time in (self.time, self.time.before())
        )
        return now, before

    def reasons(self, most: int) -> list[Share]:
        """Why attempts failed, most frequent first; of whole days where it is not fine."""
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
        if self._rows is not None:
            rows = self._rows
            return time, rows.delays(scope, time.step), next(iter(rows.delays(scope)), None)
        whole = queries.delays(self._connection, scope)
        return time, queries.delays(self._connection, scope, time.kept), next(iter(whole), None)


def _fine(view: View) -> Period:
    return figures.period(view, MINUTE)
