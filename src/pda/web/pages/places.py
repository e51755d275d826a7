"""Where mail goes: one recipient domain, or one provider.

Owns what is shown of a place: attempts over time by what it said, why it refused, how long it took.
Domains are counted by day, so a domain's bars are days but for a short time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from quart import Response
from quart.app import Quart

from pda.store.database import Connection
from pda.store.queries import AttemptRow, Counts, Delays, Filter
from pda.web.asking import Asker
from pda.web.pages import figures
from pda.web.pages.charts import Chart
from pda.web.pages.counting import Counting, Share
from pda.web.pages.figures import Side, failing
from pda.web.pages.layout import Layout
from pda.web.pages.sample import Sample, latest_failures, sample
from pda.web.pages.view import View

_REASONS: Final = 12
_LATEST: Final = 10


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows of the store."""

    side: Side
    weight: float
    attempts: Chart
    reasons: list[Share]
    delays: Chart | None
    delay: Delays | None
    sample: Sample | None
    """In the place of reasons and delays, where these are not counted."""
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
        """A recipient domain; of all hosts, as domains are counted."""
        view = msgspec.structs.replace(self._layout.view(), host=None)
        return await self._show("domain", name, view, domain_of)

    async def provider(self, name: str) -> Response:
        """Who runs the hosts that mail is handed to."""
        return await self._show("provider", name, self._layout.view(), provider_of)

    async def _show(
        self, kind: str, name: str, view: View, question: Callable[[Connection, View, str], Place]
    ) -> Response:
        place = await self._asker.ask(question, view, name)
        return await self._layout.page("place.html", view, place=place, kind=kind, name=name)


def domain_of(connection: Connection, view: View, name: str) -> Place:
    """What there is to show of a domain."""
    counting = Counting(connection, view, domain=name)
    wanted = Filter(client=view.client, domain=name, since=view.since, until=view.until)
    if counting.is_fine:
        return _counted(connection, counting, wanted)
    return _place(connection, counting, wanted, sample=sample(connection, wanted))


def provider_of(connection: Connection, view: View, name: str) -> Place:
    """What there is to show of a provider."""
    counting = Counting(connection, view, provider=name)
    wanted = Filter(
        client=view.client, host=view.host, provider=name, since=view.since, until=view.until
    )
    return _counted(connection, counting, wanted)


def _counted(connection: Connection, counting: Counting, wanted: Filter) -> Place:
    """With reasons and delays of all that is counted."""
    time, delays, delay = counting.delays()
    return _place(
        connection,
        counting,
        wanted,
        reasons=counting.reasons(_REASONS),
        delays=figures.delays_chart(delays, time),
        delay=delay,
    )


def _place(connection: Connection, counting: Counting, wanted: Filter, **more: Any) -> Place:
    points = counting.series(counting.time)
    now, before = figures.total(points), counting.whole(counting.time.before()).get("", Counts())
    found: dict[str, Any] = {"reasons": [], "delays": None, "delay": None, "sample": None, **more}
    return Place(
        side=Side(name=wanted.domain or wanted.provider or "", now=now, before=before),
        weight=counting.time.weight(),
        attempts=figures.attempts_chart(points, counting.time),
        latest=latest_failures(connection, wanted, _LATEST) if failing(now) else [],
        **found,
    )
