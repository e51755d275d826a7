"""The web as one application: its interfaces, who may come in, and what every answer carries.

Owns the order of a request: host name, log-in, interface, errors, headers. Knows no question and
no page. It is served by whoever wires the service.
"""

from __future__ import annotations

import logging
import time
from ipaddress import ip_address
from typing import Final

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, ASGISendEvent
from quart import Response, g, request
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection
from werkzeug.exceptions import HTTPException

from pda.web import (
    access_api,
    api,
    erasure_api,
    feed,
    lists,
    openapi,
    original_api,
    pages,
    rules_api,
)
from pda.web.asking import Asker, TooSlow
from pda.web.auth import LOCAL, Guard, is_loopback
from pda.web.editing import Editor
from pda.web.errors import Refused
from pda.web.pages.layout import error_page
from pda.web.ports import Site
from pda.web.problems import problem
from pda.web.routes import Router

log = logging.getLogger(__name__)

_FOR_GOOD: Final = "public, max-age=31536000, immutable"
_MOST_BODY: Final = 1024 * 1024
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self';"
        " frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def create_app(site: Site) -> QuartTrio:
    """The application; to be served with `include_server_header` switched off."""
    app = QuartTrio("pda.web")
    app.asgi_http_class = _Connection
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = _MOST_BODY
    app.config["PDA_VERSION"] = site.service.version
    asker = Asker(site.readers, site.settings.request_timeout)
    gate = _Gate(site, Guard(asker, site.service))
    app.before_request(gate.enter)
    app.after_request(_complete)
    app.register_error_handler(Exception, _failed)
    original_api.OriginalApi(site, asker).register(app)
    router = Router(app)
    router.add("Service", service_api := api.Api(site, asker))
    service_api.register(app)
    lists.Lists(asker).register(app)
    router.add("What changed", feed.Feed(site, asker))
    router.add("Bounce rules", rules_api.RulesApi(site, asker))
    router.add("Access", access_api.AccessApi(asker))
    router.add("Erasure", erasure_api.ErasureApi(asker, Editor(site.service)))
    openapi.Description(router, site.service.version).register()
    pages.register(app, site, asker)
    return app


class _Connection(TrioASGIHTTPConnection):
    """One request; sees to it that its end is not cancelled.

    With the last part of an answer hypercorn closes a connection that is not kept alive. It tells
    quart-trio first, which then cancels what is still being sent: the closing itself.
    """

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        async def send_to_the_end(message: ASGISendEvent) -> None:
            last = message["type"] == "http.response.body" and not message.get("more_body")
            with trio.CancelScope(shield=last):
                await send(message)

        await super().__call__(receive, send_to_the_end)


class _Gate:
    """What every request passes first."""

    def __init__(self, site: Site, guard: Guard) -> None:
        self._guard = guard
        self._hosts = {"localhost", *(name.lower() for name in site.settings.allowed_hosts)}

    async def enter(self) -> None:
        g.began = time.time()
        g.principal = None
        peer, forwarded = _peer(), _is_forwarded()
        g.peer = peer
        named = is_allowed_host(request.headers.get("Host", ""), self._hosts)
        local = is_loopback(peer) and not forwarded and named
        if request.path == "/healthz" or (request.path == "/metrics" and local):
            return
        authorization = request.headers.get("Authorization")
        g.principal = await self._guard.admit(peer, authorization, forwarded=forwarded)
        # Where a password is asked for, a browser has none for a stranger's name.
        if g.principal == LOCAL and not named:
            raise Refused(421, "this host name is not served here: [http] hosts")


def is_allowed_host(host: str, names: set[str]) -> bool:
    """Whether a Host header names this service by an address or one of these names.

    A stranger's page can make its own name point here (DNS rebinding), and so ask as if it were
    this machine; an address cannot be made to.
    """
    name = host.rpartition("]")[0].removeprefix("[") if host.startswith("[") else ""
    name = (name or host.partition(":")[0]).lower().removesuffix(".")
    if name in names:
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _peer() -> str | None:
    client = request.scope.get("client")
    return client[0] if client else None


def _is_forwarded() -> bool:
    return any(name in request.headers for name in ("Forwarded", "X-Forwarded-For", "Via"))


async def _complete(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.scheme == "https":
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    static = request.path.startswith("/static/") and response.status_code == 200
    response.headers["Cache-Control"] = _FOR_GOOD if static and "v" in request.args else "no-store"
    return response


async def _failed(error: Exception) -> Response:
    """The answer to a request that failed, in the words of the interface that was asked."""
    refused = _as_refused(error)
    if request.path.startswith("/agent-"):
        response = original_api.refusal(refused)
    elif request.path.startswith(("/api/", "/metrics")):
        response = problem(refused)
    else:
        response = await error_page(refused)
    response.headers.update(refused.headers)
    return response


def _asked() -> str:
    """The interface that was asked; what stands behind it may name a person."""
    return repr("/".join(request.path.split("/")[:2]) + "/…")


def _as_refused(error: Exception) -> Refused:
    if isinstance(error, Refused):
        return error
    if isinstance(error, TooSlow):
        log.warning("%s %s: no answer in time", request.method, _asked())
        late = 408 if request.path.startswith("/agent-") else 503
        return Refused(late, "the answer took too long: ask for less at a time")
    if isinstance(error, HTTPException) and error.code:
        kept = {k: v for k, v in error.get_headers() if k in ("Allow", "Location")}
        return Refused(error.code, error.description or error.name, kept)
    log.error("%s %s failed: %r", request.method, _asked(), error)
    log.debug("where it failed", exc_info=error)
    return Refused(500, "this request failed; the service's log says why")
