"""What all pages have in common: navigation, filters, state of reception, words and files.

Owns the frame of a page and the page that says why there is none. Everything from the log is
hostile text: templates escape it, and no page needs a script to be read.
"""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec
from quart import Response, g, render_template, request
from quart.app import Quart

from pda.store import queries
from pda.store.alerts import Alert, in_force
from pda.store.database import Connection
from pda.web.asking import Asker
from pda.web.auth import Principal
from pda.web.errors import Refused
from pda.web.pages import charts, figures, wording
from pda.web.pages import view as views
from pda.web.pages.alarms import shown
from pda.web.pages.outcomes import HATCHED, KIND_OF, KINDS, PROVIDERS
from pda.web.pages.view import View
from pda.web.ports import Service, Site

_STATIC: Final = Path(__file__).parent.parent / "static"


class Place(msgspec.Struct, frozen=True):
    """An entry of the navigation."""

    path: str
    name: str
    whole: bool = False
    """Whether it is about the whole service, which a client does not see."""

    def is_here(self, path: str) -> bool:
        return path == self.path or (self.path != "/" and path.startswith(self.path + "/"))


PLACES: Final = (
    Place("/", "Overview"),
    Place("/messages", "Messages"),
    Place("/bounces", "Bounces"),
    Place("/rules/workbench", "Workbench", whole=True),
    Place("/rejects", "Rejects"),
    Place("/alerts", "Alerts"),
    Place("/system", "System", whole=True),
)


class Choices(msgspec.Struct, frozen=True):
    """What the filters offer."""

    clients: list[str]
    hosts: list[str]
    alerts: list[Alert]
    """Those in force."""


class Layout:
    """The frame of every page."""

    def __init__(self, site: Site, asker: Asker) -> None:
        self._service = site.service
        self._asker = asker

    def register(self, app: Quart) -> None:
        """Gives the templates what they need."""
        app.jinja_env.filters.update(wording.FILTERS, tick=_tick)
        app.jinja_env.globals.update(
            version=self._service.version,
            kinds=KINDS,
            kind_of=KIND_OF,
            hatched=HATCHED,
            providers=PROVIDERS,
            asset=asset,
            ranges=views.NAMES,
            search_path="/messages",
            places=PLACES,
            change=wording.change,
            points=wording.points,
            tally=figures.tally,
            line_of=charts.line_of,
        )
        app.context_processor(self._context)

    async def page(self, template: str, view: View, **what: Any) -> Response:
        """A page with filters."""
        choices = await self._asker.ask(choices_of, g.principal.client_id)
        g.view = view
        facets = {facet.name for facet in what.get("facets", ())}
        what["hidden"] = {k: v for k, v in what.get("kept", {}).items() if k not in facets}
        what["in_force"] = [shown(self._service, one, view) for one in choices.alerts]
        text = await render_template(template, choices=choices, **what)
        return Response(text, content_type="text/html; charset=utf-8")

    def back(self, view: View) -> Response:
        """After something was changed: the same page again."""
        return Response("", 303, {"Location": request.root_path + view.link(_here())})

    def view(self) -> View:
        """What the URL asks for. Raises `Refused`."""
        usual = views.usual_of(request.path)
        return views.read(request.args, now(), g.principal.client_id, usual)

    def _context(self) -> dict[str, Any]:
        principal: Principal | None = g.get("principal")
        view: View = g.get("view") or views.usual(now())
        whole = principal is not None and principal.client_id is None
        return {
            "principal": principal,
            "view": view,
            "link": view.link,
            "path": _here(),
            "usual": views.usual_of(request.path),
            "reception": reception(self._service) if whole else None,
        }


async def error_page(refused: Refused) -> Response:
    """A page that says why there is none."""
    title = HTTPStatus(refused.status).phrase
    page = await render_template("error.html", title=title, refused=refused)
    return Response(page, refused.status, content_type="text/html; charset=utf-8")


def choices_of(connection: Connection, client: str | None) -> Choices:
    """What there is to choose from; who sees one client has no choice of clients."""
    clients = queries.clients(connection) if client is None else []
    return Choices(clients, queries.hosts(connection), in_force(connection, client))


def _here() -> str:
    """The path of this page, as it stands in a link."""
    return quote(request.path, safe="/@:+,")


def now() -> int:
    """µs since the epoch."""
    return time.time_ns() // 1000


def reception(service: Service) -> tuple[str, str]:
    """How reception is: `good`, `quiet` or `bad`, and a sentence."""
    if problem := service.problem():
        return "bad", problem
    if service.imports_running():
        return "good", "Importing log files"
    if not service.last_line_at:
        return "quiet", "No line since the start"
    now = sum(one.pace.now for one in service.listeners())
    if now:
        return "good", f"{wording.rate(now)} lines a second"
    return "good", f"Last line {wording.ago(service.last_line_at)}"


@cache
def asset(name: str) -> str:
    """The path of a file of ours; another content has another path, so it is cached for good."""
    digest = hashlib.sha256((_STATIC / name).read_bytes()).hexdigest()
    return f"/static/{name}?v={digest[:12]}"


def _tick(at: int, day: bool) -> str:
    moment = datetime.fromtimestamp(at / 1_000_000, UTC)
    return f"{moment.day} {moment:%b}" if day else f"{moment:%H:%M}"
