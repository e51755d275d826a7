"""What is wrong now, and what was: each alert with what it rests on.

Owns how many are shown. A client sees what is wrong with its own mail.
"""

from __future__ import annotations

from typing import Final

from quart import Response, g
from quart.app import Quart

from pda.store import alerts
from pda.web.asking import Asker
from pda.web.pages.alarms import shown
from pda.web.pages.layout import Layout
from pda.web.ports import Service

_MOST: Final = 100


class AlertsPage:
    """Answers `/alerts`."""

    def __init__(self, service: Service, asker: Asker, layout: Layout) -> None:
        self._service = service
        self._asker = asker
        self._layout = layout

    def register(self, app: Quart) -> None:
        """Takes its path."""
        app.add_url_rule("/alerts", "alerts_page", self.show)

    async def show(self) -> Response:
        """The open ones, then the others, the latest first."""
        view = self._layout.view()
        found = await self._asker.ask(alerts.alerts, g.principal.client_id, _MOST)
        said = [shown(self._service, one, view) for one in found]
        return await self._layout.page(
            "alerts.html",
            view,
            open=[one for one in said if not one.alert.cleared_at],
            past=[one for one in said if one.alert.cleared_at],
            is_on=self._service.tells_alerts,
        )
