"""Where mail goes: one recipient domain, or one provider.

Owns what is shown of a place: attempts over time by what it said, why it refused, how long it took.
Domains are counted by day, so a domain's bars are days.
"""

from __future__ import annotations

from typing import Final

import msgspec
from quart import Response
from quart.app import Quart

from pda.store import queries
from pda.store.database import Connection
from pda.store.queries import AttemptRow, Delays, Filter
from pda.web.asking import Asker
from pda.web.pages import figures
from pda.web.pages.charts import Chart
from pda.web.pages.counting import Counting, Share
from pda.web.pages.figures import Side
from pda.web.pages.layout import Layout
from pda.web.pages.view import DAY, HOUR, View

_REASONS: Final = 12
_LATEST: Final = 10


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows of the store."""

    side: Side
    weight: float
    attempts: Chart
    reasons: list[Share]
    delays: Chart
    delay: Delays | None
    latest: list[AttemptRow]
    """Attempts that failed, the latest first."""


class PlacesPage:
    """Answers `/domains/NAME` and `/providers/NAME`."""

    def __init__(self, asker: Asker, layout: Layout) -> None:
        self._asker = asker
        self._layout = layout

    def register(self, app: Quart) -> None:
        """Takes its paths."""
        app.add_url_rule("/domains/<path:name>", "domain_page", self.domain)
        app.add_url_rule("/providers/<path:name>", "provider_page", self.provider)

    async def domain(self, name: str) -> Response:
        """A recipient domain."""
        return await self._show("domain", name, DAY)

    async def provider(self, name: str) -> Response:
        """Who runs the hosts that mail is handed to."""
        return await self._show("provider", name, HOUR)

    async def _show(self, kind: str, name: str, finest: int) -> Response:
        view = self._layout.view()
        place = await self._asker.ask(place_of, view, kind, name, finest)
        return await self._layout.page("place.html", view, place=place, kind=kind, name=name)


def place_of(connection: Connection, view: View, kind: str, name: str, finest: int) -> Place:
    """What there is to show."""
    counting = Counting(connection, view, finest, **{kind: name})
    points = counting.series(counting.time)
    now, before = figures.total(points), figures.total(counting.series(counting.before))
    delays, delay = counting.delays()
    return Place(
        side=Side(name=name, now=now, before=before),
        weight=counting.time.weight(),
        attempts=figures.attempts_chart(points, counting.time),
        reasons=counting.reasons(_REASONS),
        delays=figures.delays_chart(delays, counting.time),
        delay=delay,
        latest=_latest(connection, view, **{kind: name}),
    )


def _latest(connection: Connection, view: View, **of: str) -> list[AttemptRow]:
    found: list[AttemptRow] = []
    for status in ("deferred", "bounced"):
        wanted = Filter(client=view.client, host=view.host, since=view.since, until=view.until,
                        status=status, **of)  # type: ignore[arg-type]  # fmt: skip
        found += queries.attempts_page(connection, wanted, limit=_LATEST).rows
    return sorted(found, key=lambda row: -row.at)[:_LATEST]
