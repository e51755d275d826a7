"""The first page: is mail being delivered, where is it not, why, and since when.

Owns what the page shows. It asks for what is counted already, so it is as quick with a year of mail
as with a day of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any, Final

import msgspec
from quart import Response, g
from quart.app import Quart

from pda.store import queries
from pda.store.database import Connection
from pda.store.queries import Counts, Delays, Filter, Point
from pda.web.asking import Asker
from pda.web.pages import figures, trouble
from pda.web.pages.charts import Chart
from pda.web.pages.counting import Counting, Share
from pda.web.pages.figures import Side
from pda.web.pages.first import target
from pda.web.pages.layout import Layout
from pda.web.pages.missing import Completeness, missing
from pda.web.pages.outcomes import Tally
from pda.web.pages.sample import latest_failures
from pda.web.pages.trouble import Trouble
from pda.web.pages.view import View
from pda.web.ports import Site

_ROWS: Final = 8
_REASONS: Final = 8
_TROUBLES: Final = 4


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows of the store."""

    is_empty: bool
    """Whether nothing was ever stored."""
    is_fine: bool
    """Whether all of it is of the very range, not of whole hours or days."""
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

    def __init__(
        self, site: Site, asker: Asker, layout: Layout, completeness: Completeness
    ) -> None:
        self._site = site
        self._asker = asker
        self._layout = layout
        self._completeness = completeness

    def register(self, app: Quart) -> None:
        """Takes its path."""
        app.add_url_rule("/", "overview_page", self.show)

    async def show(self) -> Response:
        """Is mail being delivered, and is its log being received?"""
        view = self._layout.view()
        overview = await self._asker.ask(overview_of, view)
        service, whole = self._site.service, g.principal.client_id is None
        found = await self._completeness.of(g.principal.client_id)
        return await self._layout.page(
            "overview.html",
            view,
            overview=overview,
            listeners=service.listeners() if whole else [],
            imports=service.imports_running() if whole else [],
            missing=missing(found, service.reception() if whole else None),
            looked_at=found.entries,
            rules=service.rules_status() if whole else None,
            log_file=self._site.settings.log_file,
            target=target(service),
        )


def overview_of(connection: Connection, view: View) -> Overview:
    """What there is to show."""
    counting = Counting(connection, view)
    points = counting.series(counting.time)
    providers, of_providers = _providers(counting)
    domains = counting.domains()
    time_of_delays, delays, delay = counting.delays()
    return Overview(
        is_empty=not points and queries.oldest(connection, view.client) is None,
        is_fine=counting.is_fine,
        now=figures.total(points),
        before=counting.whole(counting.time.before()).get("", Counts()),
        weight=counting.time.weight(),
        outcomes=figures.outcomes_chart(points, counting.time),
        troubles=_told(connection, view, _troubles(counting, providers, of_providers, domains)),
        providers=providers[:_ROWS],
        domains=domains[:_ROWS],
        clients=_clients(counting) if view.client is None else [],
        reasons=counting.reasons(_REASONS),
        changes=_changes(providers, domains),
        delays=figures.delays_chart(delays, time_of_delays),
        delay=delay,
    )


def _providers(counting: Counting) -> tuple[list[Side], Mapping[str, Sequence[Point]]]:
    """The busiest first; and what was counted of each over time."""
    time = counting.of_providers
    groups = figures.by_group(counting.series(time, "provider"))
    now = {name: figures.total(points) for name, points in groups.items()}
    before = counting.whole(time.before(), "provider")
    sides = [
        msgspec.structs.replace(side, spark=figures.failing_line(groups[side.name], time))
        for side in figures.sides(now, before, len(groups))
        if side.now.attempts
    ]
    return sides, groups


def _troubles(
    counting: Counting,
    providers: Sequence[Side],
    points: Mapping[str, Sequence[Point]],
    domains: Sequence[Side],
) -> list[Trouble]:
    """Where mail is not being delivered."""
    time, attempts = counting.of_providers, sum(one.now.attempts for one in providers)
    found = []
    for one in providers:
        bars = figures.bars(points[one.name], time)
        side = None if one.name in _NOWHERE else trouble.told(one, bars, attempts)
        if side is None:
            continue
        first = trouble.begun(bars, side)
        found.append(
            Trouble(
                kind="provider",
                side=side,
                since=time.starts[first] if first else 0,
                counts=figures.summed(bars[first:]),
                is_grave=trouble.is_grave(side, attempts),
            )
        )
    found.sort(key=lambda one: -trouble.failed(one.counts))
    return found + [
        Trouble(
            kind="domain",
            side=side,
            since=0,
            counts=side.now,
            is_grave=trouble.is_grave(side, attempts),
        )
        for side in trouble.worst(domains, attempts)
    ]


_NOWHERE: Final = frozenset(("none", "local", "other", ""))
"""No provider: what is wrong there is told by domain."""


def _told(connection: Connection, view: View, found: Sequence[Trouble]) -> list[Trouble]:
    """The worst ones with what is said there.

    A domain where its provider says the same again tells nothing more.
    """
    explained = [_explained(connection, view, one) for one in found[: 2 * _TROUBLES]]
    once = {(one.category, one.reason): one for one in reversed(explained)}
    return [one for one in explained if once[one.category, one.reason] is one][:_TROUBLES]


def _explained(connection: Connection, view: View, one: Trouble) -> Trouble:
    """With what was said there last."""
    place: dict[str, Any] = {one.kind: one.side.name}
    wanted = Filter(client=view.client, host=view.host, since=view.since, **place)
    failed = latest_failures(connection, wanted, 1)
    if not failed:
        return one
    last = failed[0]
    return msgspec.structs.replace(one, category=last.category or "", reason=last.reason)


def _clients(counting: Counting) -> list[tuple[str, Counts, Counts]]:
    now, before = (
        counting.whole(time, "client") for time in (counting.time, counting.time.before())
    )
    ranked = sorted(now, key=lambda name: (-now[name].attempts, name))[: 3 * _ROWS]
    return [(name, now[name], before.get(name, Counts())) for name in ranked]


def _changes(providers: Sequence[Side], domains: Sequence[Side]) -> list[tuple[str, Side]]:
    """Where the share that fails has moved most, either way, weighted by how many it concerns."""
    known = [("provider", side) for side in providers if side.name not in _NOWHERE]
    known += [("domain", side) for side in domains]
    fewest = max(_FEWEST, _LEAST_SHARE * sum(side.now.attempts for side in providers))
    telling = [
        (kind, side)
        for kind, side in known
        if min(side.now.attempts, side.before.attempts) >= fewest
        and abs(side.failing - side.failing_before) >= _LEAST_POINTS
    ]

    def moved(item: tuple[str, Side]) -> float:
        side = item[1]
        return -abs(side.failing - side.failing_before) * sqrt(side.now.attempts)

    return sorted(telling, key=moved)[:6]


_FEWEST: Final = 20
_LEAST_SHARE: Final = 0.002
_LEAST_POINTS: Final = 1.0
