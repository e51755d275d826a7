"""Why mail fails: categories over time, and the replies that no rule knows.

Owns what is shown of failures as a whole. Unknown replies are of all clients, so a client sees the
categories only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from quart import Response, g
from quart.app import Quart

from pda.store import queries
from pda.store.database import Connection
from pda.store.queries import Point
from pda.web.asking import Asker
from pda.web.pages import figures
from pda.web.pages.charts import Chart
from pda.web.pages.counting import Counting, Share
from pda.web.pages.figures import Period
from pda.web.pages.holding import Held
from pda.web.pages.layout import Layout
from pda.web.pages.view import DAY, HOUR, View
from pda.web.ports import Site

_REASONS: Final = 40
_UNKNOWN: Final = 25
_LOOKED_THROUGH: Final = 8 * DAY
_OF_CLIENT: Final = 2 * DAY
"""Up to so long, failures are counted one by one: of all, or of a client."""


class Bounces(msgspec.Struct, frozen=True):
    """What the page shows of the store."""

    categories: Chart
    reasons: list[Share]
    is_fine: bool


class BouncesPage:
    """Answers `/bounces`."""

    def __init__(self, site: Site, asker: Asker, layout: Layout) -> None:
        self._service = site.service
        self._asker = asker
        self._layout = layout
        self._unknown = Held(self._ask_unknown)

    def register(self, app: Quart) -> None:
        """Takes its path."""
        app.add_url_rule("/bounces", "bounces_page", self.show)

    async def show(self) -> Response:
        """Categories over time, reasons, and what no rule knows."""
        view = self._layout.view()
        found = await self._asker.ask(bounces_of, view)
        unknown: Sequence[msgspec.Struct] = ()
        if g.principal.client_id is None:
            rules = self._service.rules_status()
            unknown = await self._unknown.of((rules.digest, rules.changed, rules.entries_left))
        return await self._layout.page("bounces.html", view, found=found, unknown=unknown)

    async def _ask_unknown(self, _: tuple[str, int, int]) -> Sequence[msgspec.Struct]:
        """As of a rule list, and how far history is judged by it."""
        return await self._asker.ask_much(self._service.rulebook.unclassified, _UNKNOWN)


def bounces_of(connection: Connection, view: View) -> Bounces:
    """What there is to show."""
    counting = Counting(connection, view)
    time, points = _categories(connection, counting, view)
    return Bounces(
        figures.groups_chart("categories", "Failed attempts by category", points, time),
        counting.reasons(_REASONS),
        counting.is_fine,
    )


def _categories(
    connection: Connection, counting: Counting, view: View
) -> tuple[Period, list[Point]]:
    """Over time: by day as they are counted; of few days finer, as each failure is looked at."""
    most = _LOOKED_THROUGH if view.client is None else _OF_CLIENT
    if counting.is_fine or view.host is not None or view.length > most:
        return counting.days, counting.series(counting.days, "category")
    time = figures.period(view, HOUR)
    return time, queries.failures(connection, figures.scope(view, time), time.step)
