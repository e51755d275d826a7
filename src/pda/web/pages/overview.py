"""The first page: is mail being delivered, where is it not, why, and since when.

Owns what the page shows. It asks aggregates only, so it is as quick with a year of mail as with a
day of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
from quart import Response, g
from quart.app import Quart

from pda.store import queries
from pda.store.database import Connection
from pda.store.queries import FailureRow, StateCount, Totals
from pda.web.asking import Asker
from pda.web.pages.first import target
from pda.web.pages.layout import Layout
from pda.web.pages.outcomes import HOPS, KINDS, Tally, tally
from pda.web.ports import Site

_LATEST: Final = 15


class Client(msgspec.Struct, frozen=True):
    """One client's recipients."""

    client_id: str
    tally: Tally


class Overview(msgspec.Struct, frozen=True):
    """What the page shows of the store."""

    totals: Totals
    clients: list[Client]
    failures: list[FailureRow]

    @property
    def all(self) -> Tally:
        return Tally({
            kind.key: sum(one.tally.counts[kind.key] for one in self.clients) for kind in KINDS
        })  # fmt: skip


class OverviewPage:
    """Answers `/`."""

    def __init__(self, site: Site, asker: Asker, layout: Layout) -> None:
        self._site = site
        self._asker = asker
        self._layout = layout

    def register(self, app: Quart) -> None:
        """Takes its path."""
        app.add_url_rule("/", "overview", self.show)

    async def show(self) -> Response:
        """Is mail being delivered, and is its log being received?"""
        client = g.principal.client_id
        overview = await self._asker.ask(overview_of, client)
        service, settings = self._site.service, self._site.settings
        whole = client is None
        return await self._layout.page(
            "overview.html",
            self._layout.view(),
            overview=overview,
            listeners=service.listeners() if whole else [],
            imports=service.imports_running() if whole else [],
            rules=service.rules_status() if whole else None,
            log_file=settings.log_file,
            target=target(service),
        )


def overview_of(connection: Connection, client: str | None) -> Overview:
    """What there is to show, of all or of one client."""
    return Overview(
        totals=queries.totals(connection, client),
        clients=by_client(queries.states(connection, client)),
        failures=queries.latest_failures(connection, client, _LATEST),
    )


def by_client(counts: Iterable[StateCount]) -> list[Client]:
    """Recipients by kind for each client, the busiest first."""
    found: dict[str, dict[str, int]] = {}
    for count in counts:
        states = found.setdefault(count.client_id, {})
        if count.state not in HOPS:
            states[count.state] = states.get(count.state, 0) + count.recipients
    made = [Client(client, tally(states)) for client, states in found.items()]
    return sorted(made, key=lambda one: (-one.tally.total, one.client_id))
