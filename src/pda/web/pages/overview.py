"""The first page: is mail being delivered, where is it not, why, and since when.

Owns what the page shows. It asks for what is counted already, so it is as quick with a year of mail
as with a day of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Final

import msgspec
from quart import Response, g
from quart.app import Quart

from pda.store import queries
from pda.store.database import Connection
from pda.store.queries import Counts, Delays, Point
from pda.web.asking import Asker
from pda.web.pages import figures, trouble
from pda.web.pages.charts import Chart
from pda.web.pages.counting import Counting, Share
from pda.web.pages.figures import Side
from pda.web.pages.first import target
from pda.web.pages.layout import Layout
from pda.web.pages.outcomes import Tally
from pda.web.pages.trouble import Trouble
from pda.web.pages.view import View
from pda.web.ports import Site

_ROWS: Final = 8
_DOMAINS: Final = 200
"""So many are looked at for what changed; the busiest are shown."""
_REASONS: Final = 8
_TROUBLES: Final = 4


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows of the store."""

    is_empty: bool
    """Whether nothing was ever stored."""
    now: Counts
    before: Counts
    weight: float
    """Length of the period, in lengths of the one before."""
    outcomes: Chart
    troubles: list[Trouble]
    providers: list[Side]
    domains: list[Side]
    clients: list[tuple[str, Counts, Counts]]
    reasons: list[Share]
    changes: list[tuple[str, Side]]
    delays: Chart
    delay: Delays | None

    @property
    def tally(self) -> Tally:
        return figures.tally(self.now)

    @property
    def tally_before(self) -> Tally:
        return figures.tally(self.before)


class OverviewPage:
    """Answers `/`."""

    def __init__(self, site: Site, asker: Asker, layout: Layout) -> None:
        self._site = site
        self._asker = asker
        self._layout = layout

    def register(self, app: Quart) -> None:
        """Takes its path."""
        app.add_url_rule("/", "overview_page", self.show)

    async def show(self) -> Response:
        """Is mail being delivered, and is its log being received?"""
        view = self._layout.view()
        overview = await self._asker.ask(overview_of, view)
        service, whole = self._site.service, g.principal.client_id is None
        return await self._layout.page(
            "overview.html",
            view,
            overview=overview,
            listeners=service.listeners() if whole else [],
            imports=service.imports_running() if whole else [],
            rules=service.rules_status() if whole else None,
            log_file=self._site.settings.log_file,
            target=target(service),
        )


def overview_of(connection: Connection, view: View) -> Overview:
    """What there is to show."""
    asking = Counting(connection, view)
    points, before = asking.series(asking.time), asking.series(asking.before)
    of_providers = asking.series(asking.time, group="provider")
    providers = _providers(of_providers, asking)
    domains = asking.sides("domain", _DOMAINS)
    delays, delay = asking.delays()
    return Overview(
        is_empty=not points and queries.oldest(connection, view.client) is None,
        now=figures.total(points),
        before=figures.total(before),
        weight=asking.time.weight(),
        outcomes=figures.outcomes_chart(points, asking.time),
        troubles=_troubles(asking, providers, figures.by_group(of_providers), domains),
        providers=providers[:_ROWS],
        domains=domains[:_ROWS],
        clients=_clients(asking) if view.client is None else [],
        reasons=asking.reasons(_REASONS),
        changes=_changes(providers, domains),
        delays=figures.delays_chart(delays, asking.time),
        delay=delay,
    )


def _providers(points: Sequence[Point], asking: Counting) -> list[Side]:
    before = figures.totals(asking.series(asking.before, group="provider"))
    groups = figures.by_group(points)
    made = figures.sides(figures.totals(points), before, len(groups))
    return [
        msgspec.structs.replace(side, spark=figures.failing_line(groups[side.name], asking.time))
        for side in made
    ]


def _troubles(
    asking: Counting,
    providers: Sequence[Side],
    points: Mapping[str, Sequence[Point]],
    domains: Sequence[Side],
) -> list[Trouble]:
    """Where mail is not being delivered, and what is said there."""
    starts, attempts = asking.time.starts, sum(one.now.attempts for one in providers)
    found = [
        Trouble(
            kind="provider",
            side=side,
            since=trouble.begun(figures.bars(points[side.name], asking.time), starts, side),
            is_grave=trouble.is_grave(side, attempts),
        )
        for side in trouble.worst((p for p in providers if p.name not in _NOWHERE), attempts)
    ]
    found += [
        Trouble(kind="domain", side=side, since=0, is_grave=trouble.is_grave(side, attempts))
        for side in trouble.worst(domains, attempts)
    ]
    return [_explained(asking, one) for one in found[:_TROUBLES]]


_NOWHERE: Final = frozenset(("none", "local", "other", ""))
"""No provider: what is wrong there is told by domain."""


def _explained(asking: Counting, one: Trouble) -> Trouble:
    """With what is said there most often."""
    top = asking.top(asking.time, "reason", 1, **{one.kind: one.side.name})
    if not top:
        return one
    return msgspec.structs.replace(one, category=top[0].category, reason=top[0].example)


def _clients(asking: Counting) -> list[tuple[str, Counts, Counts]]:
    now, before = (
        figures.totals(asking.series(time, group="client")) for time in (asking.time, asking.before)
    )
    ranked = sorted(now, key=lambda name: (-now[name].attempts, name))[: 3 * _ROWS]
    return [(name, now[name], before.get(name, Counts())) for name in ranked]


def _changes(providers: Sequence[Side], domains: Sequence[Side]) -> list[tuple[str, Side]]:
    """Where the share that fails has moved most, either way, weighted by how many it concerns."""
    known = [("provider", side) for side in providers if side.name not in _NOWHERE]
    known += [("domain", side) for side in domains]
    telling = [
        (kind, side)
        for kind, side in known
        if min(side.now.attempts, side.before.attempts) >= _FEWEST
        and abs(side.failing - side.failing_before) >= _LEAST_POINTS
    ]

    def moved(item: tuple[str, Side]) -> float:
        side = item[1]
        return -abs(side.failing - side.failing_before) * sqrt(side.now.attempts)

    return sorted(telling, key=moved)[:6]


_FEWEST: Final = 20
_LEAST_POINTS: Final = 1.0
