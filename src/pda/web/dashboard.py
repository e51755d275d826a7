"""The pages for people: the home page, and pages that say what went wrong.

Owns what a person sees and in which words. Everything from the log is hostile text: templates
escape it, and no page needs a script.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import msgspec
from quart import Response, g, render_template
from quart.app import Quart

from pda.store import queries
from pda.store.database import Connection
from pda.store.queries import FailureRow, StateCount, Totals
from pda.web.asking import Asker
from pda.web.errors import Refused
from pda.web.ports import Service, Site

_LATEST: Final = 15
_DROPS: Final = (
    "kernel_drops",
    "oversize",
    "incomplete",
    "bad_framing",
    "refused_senders",
    "refused_connections",
)


class Kind(msgspec.Struct, frozen=True):
    """A column: states that are shown as one."""

    key: str
    label: str
    states: tuple[str, ...]


KINDS: Final = (
    Kind("delivered", "Delivered", ("delivered",)),
    Kind("late", "Delivered late", ("finally-ok",)),
    Kind("pending", "Waiting", ("pending", "held")),
    Kind("soft", "Soft bounce", ("soft-bounce",)),
    Kind("hard", "Hard bounce", ("hard-bounce",)),
    Kind("unknown", "Undetermined", ("undetermined-bounce",)),
    Kind("expired", "Expired", ("expired",)),
    Kind("discarded", "Discarded", ("discarded",)),
)
_KIND_OF: Final = {state: kind for kind in KINDS for state in kind.states}
HOPS: Final = frozenset({"handed-on"})
"""No outcomes: the same recipients are counted where the message went on to."""


class Part(msgspec.Struct, frozen=True):
    """One kind's share of a bar, in percent."""

    key: str
    start: float
    width: float


class Tally(msgspec.Struct, frozen=True):
    """Recipients by kind, of one client or of all."""

    client_id: str
    counts: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def delivered(self) -> int:
        return self.counts["delivered"] + self.counts["late"]

    def share(self, key: str) -> float:
        """Percent of all recipients."""
        return 100 * self.counts[key] / self.total if self.total else 0.0

    @property
    def rate(self) -> float:
        """Percent delivered of those whose outcome is known."""
        known = self.total - self.counts["pending"]
        return 100 * self.delivered / known if known else 0.0

    def bar(self) -> list[Part]:
        """The parts of a bar, from left to right."""
        parts, start = [], 0.0
        for kind in KINDS:
            if width := self.share(kind.key):
                parts.append(Part(kind.key, round(start, 2), round(width, 2)))
            start += width
        return parts


class Overview(msgspec.Struct, frozen=True):
    """What the home page shows of the store."""

    totals: Totals
    clients: list[Tally]
    failures: list[FailureRow]

    @property
    def all(self) -> Tally:
        counts = {
            kind.key: sum(client.counts[kind.key] for client in self.clients) for kind in KINDS
        }
        return Tally("", counts)


class Dashboard:
    """Answers for people."""

    def __init__(self, site: Site, asker: Asker) -> None:
        self._site = site
        self._asker = asker

    def register(self, app: Quart) -> None:
        """Takes the home page, and gives the templates what they need."""
        app.add_url_rule("/", "home", self.home)
        app.jinja_env.filters.update(
            utc=utc, ago=ago, number=number, percent=percent, octets=octets, segment=segment
        )
        app.jinja_env.globals.update(version=self._site.service.version, kinds=KINDS)

    async def home(self) -> str:
        """Is mail being delivered, and is its log being received?"""
        client = g.principal.client_id
        overview = await self._asker.ask(overview_of, client)
        service = self._site.service
        return await render_template(
            "home.html",
            overview=overview,
            principal=g.principal,
            listeners=service.listeners() if client is None else [],
            imports=service.imports_running() if client is None else [],
            sizes=service.sizes() if client is None else {},
            rules=service.rules_status() if client is None else None,
            reception=reception(service),
            last_line_at=service.last_line_at,
            started_at=service.started_at,
            log_file=self._site.settings.log_file,
            target=_target(service),
            drops=_DROPS,
            kind_of=_KIND_OF,
            actions=g.principal.is_admin and self._site.settings.allow_actions,
        )


async def error_page(refused: Refused) -> Response:
    """A page that says why there is none."""
    title = HTTPStatus(refused.status).phrase
    page = await render_template("error.html", title=title, refused=refused)
    return Response(page, refused.status, content_type="text/html; charset=utf-8")


def overview_of(connection: Connection, client: str | None) -> Overview:
    """What there is to show, of all or of one client."""
    return Overview(
        totals=queries.totals(connection, client),
        clients=tallies(queries.states(connection, client)),
        failures=queries.latest_failures(connection, client, _LATEST),
    )


def tallies(counts: Iterable[StateCount]) -> list[Tally]:
    """Recipients by kind for each client, the busiest first."""
    found: dict[str, dict[str, int]] = {}
    for count in counts:
        kinds = found.setdefault(count.client_id, {kind.key: 0 for kind in KINDS})
        if count.state not in HOPS:
            kinds[_KIND_OF[count.state].key] += count.recipients
    made = [Tally(client, kinds) for client, kinds in found.items()]
    return sorted(made, key=lambda tally: (-tally.total, tally.client_id))


def reception(service: Service) -> tuple[str, str]:
    """How reception is: `good`, `quiet` or `bad`, and a sentence."""
    if problem := service.problem():
        return "bad", problem
    if service.imports_running():
        return "good", "Importing log files"
    if not service.last_line_at:
        return "quiet", "No line received since the start"
    return "good", f"Last line received {ago(service.last_line_at)}"


# --- Filters -----------------------------------------------------------------------------------


def utc(at: int) -> str:
    """µs since the epoch, to the second."""
    return f"{datetime.fromtimestamp(at // 1_000_000, UTC):%Y-%m-%d %H:%M:%S}"


def ago(at: int) -> str:
    """How long ago, in the largest unit that fits."""
    seconds = max(0, int(time.time() - at / 1_000_000))
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = seconds // length
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return f"{seconds} s ago"


def number(value: int) -> str:
    """With thin spaces between thousands."""
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def percent(value: float) -> str:
    """One digit after the point; never rounded up to all."""
    return f"{min(value, 99.9) if value < 100 else value:.1f}\N{NARROW NO-BREAK SPACE}%"


def octets(value: int) -> str:
    """In the unit that makes it short."""
    size = float(value)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def segment(text: str) -> str:
    """A text as one segment of a path."""
    return quote(text, safe="")


def _target(service: Service) -> tuple[str, str, str]:
    """Protocol, host and port of the listener to send to, TCP rather than UDP."""
    for listener in sorted(service.listeners(), key=lambda each: each.protocol != "tcp"):
        if listener.protocol in ("tcp", "udp"):
            host, _, port = listener.address.rpartition(":")
            host = host.strip("[]")
            shown = "ADDRESS-OF-THIS-HOST" if host in ("0.0.0.0", "::") else host  # noqa: S104
            return listener.protocol, shown, port
    return "tcp", "127.0.0.1", "5514"
