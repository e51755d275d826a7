"""The web as one application: its interfaces, who may come in, and what every answer carries.

Owns which rooms there are, errors and headers; what a request passes first is in `gate`. Knows no
question and no page. It is served by whoever wires the service.
"""

from __future__ import annotations

import logging
from typing import Final

from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from pda.store.database import OperationalError
from pda.web import original_api, pages, sessions, v1
from pda.web.asking import Asker, TooSlow
from pda.web.auth import Guard
from pda.web.connection import Connections
from pda.web.errors import Refused
from pda.web.gate import Gate
from pda.web.pages.layout import error_page
from pda.web.ports import Site
from pda.web.problems import problem
from pda.web.proxies import Proxies, below

log = logging.getLogger(__name__)

_FOR_GOOD: Final = "public, max-age=31536000, immutable"
_MOST_BODY: Final = 1024 * 1024
_PROGRAMS: Final = ("/api/", "/metrics", "/healthz", "/readyz", "/openapi.json")
"""Paths whose errors are problem documents; the others are read by people."""
_SENTENCES: Final = {
    404: "there is nothing here: /api says what there is",
    405: "this cannot be done here: the header Allow says what can",
    408: "the request did not come whole in time",
    413: f"the body is larger than {_MOST_BODY} octets",
}
"""Of what the framework refuses."""
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self';"
        " frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # No other site learns the address of a page, which may name a person. With no-referrer browsers
    # would not say of our own forms either where they come from (Origin: null).
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def create_app(site: Site) -> QuartTrio:
    """The application; to be served with `include_server_header` switched off."""
    app = QuartTrio("pda.web")
    proxies = Proxies(site.settings.proxies, site.settings.prefix)
    connections = Connections(proxies, site.settings.most_requests)
    app.asgi_http_class = connections  # type: ignore[assignment]  # called as the class is
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = _MOST_BODY
    app.config["PDA_VERSION"] = site.service.version
    asker = Asker(site.readers, site.settings.request_timeout)
    guard = Guard(site, asker)
    app.before_request(Gate(site.settings, guard).enter)
    app.after_request(_complete)
    app.register_error_handler(Exception, _failed)
    original_api.OriginalApi(site, asker).register(app)
    v1.register(app, site, asker)
    sessions.Sessions(site, guard).register(app)
    pages.register(app, site, asker)
    return app


async def _complete(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.scheme == "https":
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    static = request.path.startswith("/static/") and response.status_code == 200
    response.headers["Cache-Control"] = _FOR_GOOD if static and "v" in request.args else "no-store"
    if request.root_path and response.mimetype == "text/html":
        response.set_data(below(request.root_path, await response.get_data(as_text=True)))
    return response


async def _failed(error: Exception) -> Response:
    """The answer to a request that failed, in the words of the interface that was asked."""
    refused = as_refused(error)
    if request.path.startswith("/agent-"):
        response = original_api.refusal(refused)
    elif request.path.startswith(_PROGRAMS):
        response = problem(refused)
    else:
        response = await error_page(refused)
    response.headers.update(refused.headers)
    return response


def _asked() -> str:
    """The interface that was asked; what stands behind it may name a person."""
    return repr("/".join(request.path.split("/")[:2]) + "/…")


def as_refused(error: Exception) -> Refused:
    """What is said to whoever asked, for whatever went wrong; what it was stands in the log."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, TooSlow):
        log.warning("%s %s: no answer in time", request.method, _asked())
        late = 408 if request.path.startswith("/agent-") else 503
        return Refused(late, "the answer took too long: ask for less at a time")
    if isinstance(error, OperationalError) and "locked" in str(error):
        return Refused(503, "the database is busy: try again", {"Retry-After": "1"})
    if isinstance(error, HTTPException) and error.code:
        kept = {k: v for k, v in error.get_headers() if k in ("Allow", "Location")}
        sentence = _SENTENCES.get(error.code) or error.description or error.name
        return Refused(error.code, sentence, kept)
    log.error("%s %s failed: %r", request.method, _asked(), error)
    log.debug("where it failed", exc_info=error)
    return Refused(500, "this request failed; the service's log says why")
