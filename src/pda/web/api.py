"""What programs ask about the service itself: status, health, metrics.

Owns `/api/v1/status`, `/healthz` and `/metrics`. Sizes are octets, durations seconds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta
from quart import Response, g
from quart.app import Quart

from pda.store import accounts, imports, queries
from pda.store.database import Connection
from pda.store.imports import Import
from pda.web.asking import Asker, TooSlow
from pda.web.auth import Principal
from pda.web.errors import Refused
from pda.web.ports import Pace, Site
from pda.web.routes import Operation
from pda.web.rules_api import RuleList, rule_list
from pda.web.values import When, publisher, stamp

log = logging.getLogger(__name__)

# What `Service.metrics` returns.
_PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"


class Listening(msgspec.Struct, frozen=True):
    """A socket that lines are received from."""

    protocol: Annotated[str, Meta(description="`udp`, `tcp` …")]
    address: Annotated[str, Meta(description="As bound, with the port.")]
    last_line_at: When | None
    counters: Annotated[
        Mapping[str, int], Meta(description="What came in and what was dropped; see the metrics.")
    ]
    dropped: Annotated[
        Mapping[str, int], Meta(description="Of these, what was not taken, or not whole.")
    ]
    pace: Annotated[Pace, Meta(description="Lines.")]


class Stored(msgspec.Struct, frozen=True):
    """How much is stored."""

    messages: int
    attempts: int
    recipients: int
    oldest_at: Annotated[When | None, Meta(description="The first attempt.")]


class Importing(msgspec.Struct, frozen=True):
    """A file that is being imported."""

    name: str
    octets: Annotated[int, Meta(description="Read so far, as they stand in the file.")]
    size: Annotated[int, Meta(description="Octets of the file; 0 where it is not known.")]
    lines: int
    pace: Annotated[Pace, Meta(description="Lines.")]


class Imported(msgspec.Struct, frozen=True):
    """A file that was imported."""

    name: str
    size: int
    lines: int
    complete: Annotated[bool, Meta(description="It was read to its end, as that was then.")]
    finished_at: When | None


class Status(msgspec.Struct, frozen=True):
    """How the service is; of what concerns others a client sees nothing."""

    version: str
    healthy: bool
    problem: Annotated[str, Meta(description="Why it cannot do its work; empty if it can.")]
    started_at: When | None
    uptime: Annotated[float, Meta(description="Seconds.")]
    last_line_at: When | None
    listeners: Sequence[Listening]
    stored: Stored
    imports_running: Sequence[Importing]
    imports: Annotated[Sequence[Imported], Meta(description="In the order of their last reading.")]
    rules: RuleList | None


_listening, importing = publisher(Listening), publisher(Importing)


class Api:
    """Answers for programs."""

    def __init__(self, site: Site, asker: Asker) -> None:
        self._site = site
        self._asker = asker

    def register(self, app: Quart) -> None:
        """Takes the paths that are no part of `/api/v1`."""
        app.add_url_rule("/healthz", "healthz", self.healthz)
        app.add_url_rule("/readyz", "readyz", self.readyz)
        app.add_url_rule("/metrics", "metrics", self.metrics)

    @Operation("GET", "/api/v1/status")
    async def status(self, principal: Principal) -> Status:
        """How the service is: listeners with their counters, totals, imports, rules."""
        whole = principal.client_id is None
        stored = await self._asker.ask(_stored, principal.client_id)
        files = await self._asker.ask(imports.all_files) if whole else []
        service = self._site.service
        return Status(
            version=service.version,
            healthy=not service.problem(),
            problem=service.problem() if whole else "",
            started_at=stamp(service.started_at),
            uptime=round(time.time() - service.started_at / 1e6, 3),
            last_line_at=stamp(service.last_line_at),
            listeners=[_listening(each) for each in service.listeners()] if whole else [],
            stored=stored,
            imports_running=[importing(one) for one in service.imports_running() if whole],
            imports=[imported(each) for each in files],
            rules=rule_list(service.rules_status()) if whole else None,
        )

    async def healthz(self) -> Response:
        """Whether all works; everybody may ask, so it says no more."""
        problem = self._site.service.problem()
        try:
            await self._asker.ask(accounts.users)
        except TooSlow:
            problem = problem or "the store does not answer"
        except Exception as error:  # noqa: BLE001 whatever it is, the service is not well
            problem = problem or repr(error)
        if problem:
            log.warning("not healthy: %s", problem)
        status, text = (503, "not ok\n") if problem else (200, "ok\n")
        return Response(text, status, content_type="text/plain; charset=utf-8")

    async def readyz(self) -> Response:
        """Whether lines are taken now; everybody may ask."""
        ready = self._site.service.is_ready
        status, text = (200, "ready\n") if ready else (503, "not ready\n")
        return Response(text, status, content_type="text/plain; charset=utf-8")

    async def metrics(self) -> Response:
        """For Prometheus."""
        if g.principal is not None and g.principal.client_id is not None:
            raise Refused(403, "metrics are about the whole service; your user sees one client")
        return Response(self._site.service.metrics(), content_type=_PROMETHEUS)


def _stored(connection: Connection, client: str | None) -> Stored:
    totals = queries.totals(connection, client)
    oldest = stamp(queries.oldest(connection, client))
    return Stored(totals.entries, totals.attempts, totals.outcomes, oldest)


def imported(file: Import) -> Imported:
    return Imported(file.name, file.size, file.lines, file.complete, stamp(file.read_at))
