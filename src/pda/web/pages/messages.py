"""What became of messages, recipient by recipient: looked for by one text and narrowed by facets.

Owns the parameters of `/messages` and what is offered to narrow it by. `/live` shows outcomes as
they become known; it reads the API's stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from quart import Response, g, request
from quart.app import Quart

from pda.maillog.events import State
from pda.store import queries
from pda.store.database import Connection
from pda.store.queries import CursorError, Filter, OutcomeRow, Page
from pda.times import rfc3339
from pda.web.asking import Asker
from pda.web.errors import Refused
from pda.web.pages import facets
from pda.web.pages.facets import FACETS, Facet
from pda.web.pages.layout import Layout
from pda.web.pages.search import MOST, Meaning, meanings
from pda.web.pages.view import View, link

_ROWS: Final = 50
_MORE: Final = ("domain", "sender", "rule", "dsn", "relay")
"""Parameters that only links set."""
STATES: Final = {state.name.lower().replace("_", "-"): state for state in State}


class Found(msgspec.Struct, frozen=True):
    """Recipients, and how the text was understood."""

    page: Page[OutcomeRow]
    meaning: Meaning | None
    others: list[Meaning]
    """Other ways to understand it."""


class MessagesPage:
    """Answers `/messages`."""

    def __init__(self, asker: Asker, layout: Layout) -> None:
        self._asker = asker
        self._layout = layout

    def register(self, app: Quart) -> None:
        """Takes its path."""
        app.add_url_rule("/messages", "messages_page", self.show)

    async def show(self) -> Response:
        """The recipients that were asked for, the latest first."""
        view = self._layout.view()
        asked = request.args.get("q", "").strip()[:MOST]
        wanted = filter_of(request.args, view)
        after = request.args.get("after", "")
        found = await self._asker.ask(found_of, wanted, asked, request.args.get("as"), after)
        kept = _kept(request.args)
        chosen = found.meaning.narrowed(wanted) if found.meaning else wanted
        total, offered = await self._asker.ask(facets_of, view, chosen, kept)
        return await self._layout.page(
            "messages.html",
            view,
            asked=asked,
            found=found,
            total=total,
            facets=offered,
            kept=kept,
            narrowed=[(name, kept[name]) for name in (*FACETS, *_MORE) if name in kept],
            export=_export(chosen),
            live=view.host is None and not kept and not after,
        )


def filter_of(parameters: Mapping[str, str], view: View) -> Filter:
    """What the facets and the view ask for. Raises `Refused`."""
    given = {name: parameters[name] for name in (*FACETS, *_MORE) if parameters.get(name)}
    state = given.pop("state", None)
    if state is not None and state not in STATES:
        raise Refused(400, f"there is no state {state!r}; there are {', '.join(STATES)}")
    named: dict[str, Any] = {
        "client": view.client,
        "host": view.host,
        "since": None if view.preset == "all" else view.since,
        "until": None if view.preset else view.until,
        "state": STATES[state] if state else None,
        **given,
    }
    return Filter(**named)


def found_of(
    connection: Connection, wanted: Filter, asked: str, as_: str | None, after: str
) -> Found:
    """Those that the text means: of its meanings the first that finds something.

    Raises `Refused` for a cursor that is none.
    """
    ways = meanings(asked, queries.clients(connection)) if asked else []
    chosen = [way for way in ways if way.member == as_] or ways
    for way in chosen:
        page = _page(connection, way.narrowed(wanted), after)
        if page.rows or way is chosen[-1]:
            return Found(page, way, [one for one in ways if one is not way])
    return Found(_page(connection, wanted, after), None, [])


def _page(connection: Connection, wanted: Filter, after: str) -> Page[OutcomeRow]:
    if wanted.limit == 0:
        return Page([], None)
    try:
        return queries.outcomes_page(connection, wanted, after, _ROWS)
    except CursorError as error:
        raise Refused(400, f"parameter 'after': {error}") from None


def facets_of(
    connection: Connection, view: View, wanted: Filter, narrowed: Mapping[str, str]
) -> tuple[facets.Number, list[Facet]]:
    """How many there are, and what they can be narrowed by."""
    every = facets.counted(connection, view)
    found = None
    if narrowed:
        found = facets.NONE if wanted.limit == 0 else facets.looked_at(connection, wanted)
    total = found.total if found is not None else every.total
    return total, facets.offered(every, found, narrowed)


def _kept(parameters: Mapping[str, str]) -> dict[str, str]:
    """What links and forms of this page keep beside the view."""
    names = ("q", "as", *FACETS, *_MORE)
    return {name: parameters[name] for name in names if parameters.get(name)}


def _export(wanted: Filter) -> str:
    """Where all of it is to be had as CSV."""
    given = {
        name: value
        for name, value in msgspec.structs.asdict(wanted).items()
        if value is not None and name not in ("limit", "since", "until", "state")
    }
    if wanted.state is not None:
        given["state"] = next(name for name, state in STATES.items() if state is wanted.state)
    for name, at in (("from", wanted.since), ("to", wanted.until)):
        if at is not None:
            given[name] = rfc3339(at)
    if wanted.client is not None and g.principal.client_id is not None:
        del given["client"]
    return link("/api/v1/outcomes", {**given, "format": "csv"})
