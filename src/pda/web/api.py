"""What programs ask beside the original's interface: status, health, metrics; and its errors.

Owns `/api/v1`, `/healthz`, `/metrics` and the shape of every error there (RFC 9457). Times are
RFC 3339 in UTC, sizes octets, durations seconds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import msgspec
from quart import Response, g
from quart.app import Quart

from pda.store import imports, queries
from pda.store.database import Connection
from pda.web.asking import Asker, TooSlow
from pda.web.errors import Refused
from pda.web.ports import ListenerStatus, Site
from pda.web.rules_api import rules_members

log = logging.getLogger(__name__)

# What `Service.metrics` returns.
_PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"


class Listening(msgspec.Struct, frozen=True):
    """A socket that lines are received from."""

    protocol: str
    address: str
    last_line_at: str | None
    counters: Mapping[str, int]


class Stored(msgspec.Struct, frozen=True):
    """How much is stored."""

    messages: int
    attempts: int
    recipients: int
    oldest_at: str | None


class Importing(msgspec.Struct, frozen=True):
    """A file that is being imported."""

    name: str
    octets: int
    size: int
    lines: int


class Imported(msgspec.Struct, frozen=True):
    """A file that was imported."""

    name: str
    size: int
    lines: int
    complete: bool
    finished_at: str | None


class StatusAnswer(msgspec.Struct, frozen=True):
    """How the service is; of what concerns others a client sees nothing."""

    version: str
    healthy: bool
    problem: str
    started_at: str | None
    uptime: float
    last_line_at: str | None
    listeners: list[Listening]
    stored: Stored
    imports_running: list[Importing]
    imports: list[Imported]
    rules: dict[str, object] | None
    """See `ports.RulesStatus`."""


class Problem(msgspec.Struct, frozen=True):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


class Api:
    """Answers for programs."""

    def __init__(self, site: Site, asker: Asker) -> None:
        self._site = site
        self._asker = asker

    def register(self, app: Quart) -> None:
        """Takes its paths."""
        app.add_url_rule("/api/v1/status", "status", self.status)
        app.add_url_rule("/healthz", "healthz", self.healthz)
        app.add_url_rule("/metrics", "metrics", self.metrics)

    async def status(self) -> Response:
        """How the service is."""
        client = g.principal.client_id
        stored = await self._asker.ask(_stored, client)
        files = [] if client is not None else await self._asker.ask(imports.all_files)
        service = self._site.service
        whole = client is None
        answer = StatusAnswer(
            version=service.version,
            healthy=not service.problem(),
            problem=service.problem() if whole else "",
            started_at=stamp(service.started_at),
            uptime=round(time.time() - service.started_at / 1e6, 3),
            last_line_at=stamp(service.last_line_at),
            listeners=[_listening(each) for each in service.listeners()] if whole else [],
            stored=stored,
            imports_running=[
                Importing(each.name, each.octets, each.size, each.lines)
                for each in (service.imports_running() if whole else [])
            ],
            imports=[
                Imported(each.name, each.size, each.lines, each.complete, stamp(each.read_at))
                for each in files
            ],
            rules=rules_members(service.rules_status()) if whole else None,
        )
        return Response(msgspec.json.encode(answer), content_type="application/json")

    async def healthz(self) -> Response:
        """Whether all works; everybody may ask, so it says no more."""
        problem = self._site.service.problem()
        try:
            await self._asker.ask(queries.users)
        except TooSlow:
            problem = problem or "the store does not answer"
        except Exception as error:  # noqa: BLE001 whatever it is, the service is not well
            problem = problem or repr(error)
        if problem:
            log.warning("not healthy: %s", problem)
        status, text = (503, "not ok\n") if problem else (200, "ok\n")
        return Response(text, status, content_type="text/plain; charset=utf-8")

    async def metrics(self) -> Response:
        """For Prometheus."""
        if g.principal is not None and g.principal.client_id is not None:
            raise Refused(403, "metrics are about the whole service; your user sees one client")
        return Response(self._site.service.metrics(), content_type=_PROMETHEUS)


def problem(refused: Refused) -> Response:
    """An error as a problem document."""
    title = HTTPStatus(refused.status).phrase
    body = Problem("about:blank", title, refused.status, refused.sentence)
    return Response(
        msgspec.json.encode(body), refused.status, content_type="application/problem+json"
    )


def stamp(at: int | None) -> str | None:
    """µs since the epoch as RFC 3339 in UTC; None where there is none."""
    if not at:
        return None
    return datetime.fromtimestamp(at / 1e6, UTC).isoformat().replace("+00:00", "Z")


def _stored(connection: Connection, client: str | None) -> Stored:
    totals = queries.totals(connection, client)
    oldest = stamp(queries.oldest(connection, client))
    return Stored(totals.entries, totals.attempts, totals.outcomes, oldest)


def _listening(listener: ListenerStatus) -> Listening:
    return Listening(
        listener.protocol, listener.address, stamp(listener.last_line_at), listener.counters
    )
