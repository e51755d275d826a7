"""The original's HTTP interface: `/agent-read/…`, `/agent-status/…` and its actions.

Owns paths, envelope and status codes, so that an existing client works unchanged; no member may be
added to an answer. What an entry is, and how entries are chosen, is in `entries`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Final, TypeAlias
from urllib.parse import unquote

import msgspec
from quart import Response, current_app, g, render_template, request
from quart.app import Quart

from pda.maillog.events import State
from pda.store import imports, queries
from pda.store.audit import Deed, Note
from pda.store.database import Connection
from pda.store.queries import Filter
from pda.web.asking import Asker
from pda.web.auth import Principal
from pda.web.editing import author
from pda.web.entries import (
    Entry,
    Query,
    UnknownQueryError,
    attempt_entry,
    expired_entry,
    in_order,
    read_query,
    select,
)
from pda.web.environment import environment
from pda.web.errors import Refused
from pda.web.origin import same_origin
from pda.web.ports import OriginalCategory, Site

CONTENT_TYPE: Final = "application/json;charset=utf-8"
_COMPACT_FOR: Final = "smtp-agent-http-client"
_MONTHS: Final = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_MOST_STATISTICS: Final = 1000


class Status(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """How a request went; the last two only for clients that name their version."""

    succeeded: bool
    message: str
    time_stamp: int
    version: str | None = None
    response_time: int | None = None


class Envelope(msgspec.Struct, frozen=True):
    """Every JSON answer."""

    result: msgspec.Raw
    status: Status


class Statistics(msgspec.Struct, frozen=True, rename="camel"):
    """How often a client id was asked about, since the start."""

    client_id: str
    client_version: str
    requests_count: int
    last_request_at: str


class Html(str):
    """An answer that is a page."""

    __slots__ = ()


_Result: TypeAlias = msgspec.Raw | Html
_View: TypeAlias = Callable[[Principal], Awaitable[_Result]]
_NULL: Final = msgspec.Raw(b"null")


class OriginalApi:
    """Answers everything under `/agent-…`."""

    def __init__(self, site: Site, asker: Asker) -> None:
        self._site = site
        self._asker = asker
        self._statistics: dict[str, Statistics] = {}
        self._views: dict[tuple[str, ...], _View] = {
            ("agent-read",): self._query_page,
            ("agent-status",): self._status,
            ("agent-status", "rcpt-address-counts"): self._address_counts,
            ("agent-status", "rcpt-addresses"): self._addresses,
            ("agent-status", "unknown-bounces"): self._unknown_bounces,
            ("agent-status", "index-age"): self._index_age,
            ("agent-status", "memory-usage"): self._memory_usage,
            ("agent-status", "index-memory-footprint"): self._footprint,
            ("agent-status", "indexed-log-files"): self._log_files,
            ("agent-status", "server-info"): self._server_info,
            ("agent-shutdown",): self._shutdown,
            ("agent-restart",): self._restart,
            ("agent-reindex",): self._reindex,
            ("agent-refresh-bouncelist",): self._refresh,
        }

    def register(self, app: Quart) -> None:
        """Takes every path that begins with `/agent-`."""
        methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        app.add_url_rule(
            "/agent-<path:rest>",
            "original",
            self.answer,
            methods=methods,
            provide_automatic_options=False,
        )

    async def answer(self, rest: str) -> Response:  # noqa: ARG002 taken undecoded from the request
        """The answer to the current request; raises `Refused` and `TooSlow`."""
        if request.method != "GET":
            raise not_implemented()
        segments = path_segments()
        view = self._views.get(tuple(segments)) or self._read_view(segments)
        result = await view(g.principal)
        if isinstance(result, Html):
            return Response(result, content_type="text/html;charset=utf-8")
        return respond(200, result, "OK")

    def _read_view(self, segments: list[str]) -> _View:
        if "" in segments:
            raise not_implemented()
        match segments:
            case ["agent-read", client]:
                wanted = Filter(client=client)
            case ["agent-read", client, "rcptEmail", address] if "@" in address:
                wanted = Filter(client=client, recipient=address)
            case ["agent-read", client, "queue", queue_id]:
                wanted = Filter(client=client, queue_id=queue_id)
            case ["agent-read", client, "message", msg_id]:
                wanted = Filter(client=client, message_id=msg_id)
            case _:
                raise not_implemented()
        return partial(self._read, wanted)

    # --- /agent-read ---------------------------------------------------------------------------

    async def _read(self, wanted: Filter, principal: Principal) -> _Result:
        try:
            query = read_query(request.args)
        except UnknownQueryError:
            raise not_implemented() from None
        client = wanted.client or ""
        if not principal.sees(client):
            return _encoded(select([], query))  # as for a client that is not known
        self._count(client)
        wanted = msgspec.structs.replace(wanted, since=query.since, until=query.until)
        return await self._asker.ask_much(_selection, wanted, query, self._site.original_category)

    def _count(self, client: str) -> None:
        before = self._statistics.pop(client, None)
        while len(self._statistics) >= _MOST_STATISTICS:
            del self._statistics[next(iter(self._statistics))]
        self._statistics[client] = Statistics(
            client_id=client,
            client_version=client_version()[:100],
            requests_count=before.requests_count + 1 if before else 1,
            last_request_at=date_text(time.time_ns() // 1000),
        )

    async def _query_page(self, principal: Principal) -> _Result:
        clients = await self._asker.ask(_clients, principal.client_id)
        return Html(await render_template("original_query.html", clients=clients))

    # --- /agent-status -------------------------------------------------------------------------

    async def _status(self, principal: Principal) -> _Result:
        totals = await self._asker.ask(queries.totals, principal.client_id)
        service = self._site.service
        return _encoded(
            {
                "Agent restarted at": date_text(service.restarted_at),
                "Agent started at": date_text(service.started_at),
                "Last line received at": date_text(service.last_line_at),
                "Count of indexed client-id log lines from backup": totals.with_header,
                "Count of indexed message-id log lines from backup": totals.with_message_id,
                "Count of indexed log entries (delivery attempts regardless of the status)"
                " from backup": totals.attempts,
                "Client statistics": {
                    client: counted
                    for client, counted in self._statistics.items()
                    if principal.sees(client)
                },
            }
        )

    async def _address_counts(self, principal: Principal) -> _Result:
        return await self._asker.ask_much(_address_counts, principal.client_id)

    async def _addresses(self, principal: Principal) -> _Result:
        return await self._asker.ask_much(_addresses, principal.client_id)

    async def _unknown_bounces(self, principal: Principal) -> _Result:
        return await self._asker.ask_much(
            _unknown_bounces, principal.client_id, self._site.original_category
        )

    async def _index_age(self, principal: Principal) -> _Result:
        oldest = await self._asker.ask(queries.oldest, principal.client_id)
        return _encoded((time.time_ns() // 1000 if oldest is None else oldest) // 1000)

    async def _memory_usage(self, principal: Principal) -> _Result:
        _not_for_clients(principal)
        return _encoded({"residentMemory": self._site.service.resident_memory()})

    async def _footprint(self, principal: Principal) -> _Result:
        _not_for_clients(principal)
        return _encoded(dict(self._site.service.sizes()))

    async def _log_files(self, principal: Principal) -> _Result:
        _not_for_clients(principal)
        return _encoded([file.name for file in await self._asker.ask(imports.all_files)])

    async def _server_info(self, principal: Principal) -> _Result:
        _not_for_clients(principal)
        shown = environment(self._site.service)
        return Html(await render_template("original_server_info.html", environment=shown))

    # --- Actions -------------------------------------------------------------------------------

    async def _shutdown(self, principal: Principal) -> _Result:
        self._may_act(principal)
        self._site.service.soon(Note(Deed("shut down")), author())
        self._site.service.stop(restart=False)
        return _encoded("shutting down")

    async def _restart(self, principal: Principal) -> _Result:
        self._may_act(principal)
        self._site.service.soon(Note(Deed("restart")), author())
        self._site.service.stop(restart=True)
        return _encoded("restarting")

    async def _reindex(self, principal: Principal) -> _Result:
        self._may_act(principal)
        return _encoded(await self._site.service.reindex(author()))

    async def _refresh(self, principal: Principal) -> _Result:
        self._may_act(principal)
        return _encoded(await self._site.service.reload_rules(author()))

    def _may_act(self, principal: Principal) -> None:
        if not self._site.settings.allow_actions:
            raise Refused(403, "actions are switched off: [http.original_api] allow_actions")
        if not principal.is_admin:
            raise Refused(403, "actions need the role admin")
        if not same_origin(request.headers, request.host_url):
            raise Refused(403, "actions cannot be asked for from another site")


# --- Envelope ----------------------------------------------------------------------------------


def respond(status: int, result: msgspec.Raw, message: str) -> Response:
    """A JSON answer in the envelope, readable unless the original's own client asks."""
    tells_version = client_version() != "unknown"
    now = time.time()
    envelope = Envelope(
        result,
        Status(
            succeeded=status == 200,
            message=message,
            time_stamp=int(now * 1000),
            version=current_app.config["PDA_VERSION"] if tells_version else None,
            response_time=int((now - g.get("began", now)) * 1000) if tells_version else None,
        ),
    )
    body = msgspec.json.encode(envelope)
    if request.headers.get("User-Agent") != _COMPACT_FOR:
        body = msgspec.json.format(body, indent=2)
    return Response(body, status, content_type=CONTENT_TYPE)


def refusal(refused: Refused) -> Response:
    """The answer to a request that is not served."""
    return respond(refused.status, _NULL, refused.sentence)


def not_implemented() -> Refused:
    """For a path or query that the interface does not have."""
    uri, query = request.path, request.query_string.decode("latin-1")
    return Refused(501, f"Invalid request uri {uri} or query string: {query}")


def client_version() -> str:
    """What the client says it is."""
    return request.headers.get("client-version") or "unknown"


def date_text(at: int) -> str:
    """A time in µs as `yyyy MMM dd HH:mm:ss.SSS`, local."""
    if not at:
        return "not yet"
    local = datetime.fromtimestamp(at // 1000 / 1000).astimezone()
    return f"{local:%Y} {_MONTHS[local.month - 1]} {local:%d %H:%M:%S}.{at // 1000 % 1000:03d}"


def path_segments() -> list[str]:
    """The path of the current request, each segment decoded by itself: an id may hold a slash."""
    raw = request.scope.get("raw_path") or b""
    path = raw.decode("latin-1")
    if not path.startswith("/"):  # the absolute form of a request target
        path = request.path
        return path.removeprefix("/").removesuffix("/").split("/")
    return [unquote(part) for part in path.removeprefix("/").removesuffix("/").split("/")]


# --- Questions: each runs in a thread and ends with its JSON ------------------------------------


def _selection(
    connection: Connection, wanted: Filter, query: Query, original_category: OriginalCategory
) -> msgspec.Raw:
    attempts = queries.attempts(connection, wanted, "not plainly sent")
    expired = queries.outcomes(connection, msgspec.structs.replace(wanted, state=State.EXPIRED))
    entries = [attempt_entry(row, original_category) for row in attempts]
    entries += [expired_entry(row) for row in expired]
    # The store also finds by the Message-ID that contains a msgId, and by the domain in any case.
    exact = [entry for entry in entries if _is_meant(entry, wanted)]
    return _encoded(select(in_order(exact), query))


def _is_meant(entry: Entry, wanted: Filter) -> bool:
    return wanted.recipient in (None, entry.rcpt_email) and wanted.message_id in (
        None,
        entry.msg_id,
    )


def _unknown_bounces(
    connection: Connection, client: str | None, original_category: OriginalCategory
) -> msgspec.Raw:
    rows = queries.attempts(connection, Filter(client=client), "undetermined")
    bounces: dict[str, list[Entry]] = {name: [] for name in _clients(connection, client)}
    for row in rows:
        if row.client_id:
            bounces.setdefault(row.client_id, []).append(attempt_entry(row, original_category))
    return _encoded({name: in_order(found) for name, found in bounces.items()})


def _address_counts(connection: Connection, client: str | None) -> msgspec.Raw:
    found = queries.recipients(connection, client)
    return _encoded({name: len(addresses) for name, addresses in found.items()})


def _addresses(connection: Connection, client: str | None) -> msgspec.Raw:
    return _encoded(queries.recipients(connection, client))


def _clients(connection: Connection, client: str | None) -> list[str]:
    return queries.clients(connection) if client is None else [client]


def _encoded(result: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(result))


def _not_for_clients(principal: Principal) -> None:
    if principal.client_id is not None:
        raise Refused(403, "this is about the whole service; your user sees one client only")
