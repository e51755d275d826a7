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

from pda.store.database import Connection
from pda.web.asking import Asker
from pda.web.pages import figures
from pda.web.pages.charts import Chart
from pda.web.pages.counting import Counting, Share
from pda.web.pages.holding import Held
from pda.web.pages.layout import Layout
from pda.web.pages.view import View
from pda.web.ports import Site

_REASONS: Final = 40
_UNKNOWN: Final = 25


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
    """What there is to show; categories are counted by day."""
    counting = Counting(connection, view)
    points = counting.series(counting.days, "category")
    return Bounces(
        figures.groups_chart("categories", "Failed attempts by category", points, counting.days),
        counting.reasons(_REASONS),
        counting.is_fine,
    )
