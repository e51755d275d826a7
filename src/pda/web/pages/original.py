"""One page with links to the original's views, and to what programs ask.

Owns that page only; the views are `original_api`'s.
"""

from __future__ import annotations

from quart import Response, g
from quart.app import Quart

from pda.web.pages.layout import Layout
from pda.web.ports import Site


class OriginalLinks:
    """Answers `/original`."""

    def __init__(self, site: Site, layout: Layout) -> None:
        self._allow_actions = site.settings.allow_actions
        self._layout = layout

    def register(self, app: Quart) -> None:
        """Takes its path."""
        app.add_url_rule("/original", "original_links", self.show)

    async def show(self) -> Response:
        """The links."""
        return await self._layout.page(
            "original.html",
            self._layout.view(),
            actions=g.principal.is_admin and self._allow_actions,
        )
