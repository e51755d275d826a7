"""What every request passes first: host name, other sites, what is open to all, log-in.

Owns this order. Leaves in `g` who asks (`principal`) and where from (`peer`). Knows no question and
no page.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from typing import Final
from urllib.parse import quote

from quart import Response, g, request

from pda.web import cookie
from pda.web.auth import BEARER, LOCAL, Asking, Guard
from pda.web.connection import BUSY
from pda.web.errors import Refused
from pda.web.networks import address_of, networks_of, within
from pda.web.origin import SAFE_METHODS, same_origin, says_origin
from pda.web.ports import Settings
from pda.web.proxies import BELIEVED, is_forwarded

LOGIN: Final = "/login"
_INTERFACES: Final = ("/api/", "/agent-", "/metrics", "/healthz", "/readyz", "/openapi.json")
_FILES: Final = "/static/"
"""Style sheets and the like: they say nothing, and the log-in page needs them."""


class Gate:
    """Lets requests in, each with its principal."""

    def __init__(self, settings: Settings, guard: Guard) -> None:
        self._guard = guard
        self._hosts = {"localhost", *(name.lower() for name in settings.allowed_hosts)}
        self._only_hosts = bool(settings.allowed_hosts)
        self._open = {
            "/metrics": networks_of(settings.metrics),
            "/healthz": networks_of(settings.healthz),
            "/readyz": networks_of(settings.healthz),
        }

    async def enter(self) -> Response | None:
        """None, or the way to the log-in; raises `Refused`."""
        g.began = time.time()
        g.principal = None
        g.session = False
        g.peer = peer()
        forwarded = is_forwarded(request.headers)
        named = is_allowed_host(request.headers.get("Host", ""), self._hosts)
        if request.path in {"/healthz", "/readyz"} and self._is_open(forwarded=forwarded):
            return (
                None  # also while there is much to do: who looks after the service is not told ill
            )
        if BUSY in request.scope:
            raise Refused(503, "too many requests at a time: try again", {"Retry-After": "1"})
        if self._only_hosts and not named:
            raise _MISDIRECTED
        session = cookie.session_id() if "Authorization" not in request.headers else ""
        _refuse_other_sites(with_cookie=bool(session))
        if _is_for_all() or (named and self._is_open(forwarded=forwarded)):
            return None
        asking = Asking(g.peer, forwarded, request.headers.get("Authorization"), session)
        try:
            g.principal = await self._guard.admit(asking)
        except Refused as refused:
            if refused.status != 401 or asking.authorization is not None:
                raise
            return _to_login(refused)
        g.again = partial(self._guard.admit, replace(asking, again=True))
        g.session = bool(session) and g.principal.kind == "user"
        # Where a password is asked for, a browser has none for a stranger's name.
        if g.principal == LOCAL and not named:
            raise _MISDIRECTED
        return None

    def _is_open(self, *, forwarded: bool) -> bool:
        """Whether this path is open to whoever asks; behind an unnamed proxy that is not known."""
        if request.path not in self._open or (forwarded and BELIEVED not in request.scope):
            return False
        return within(address_of(peer()), self._open[request.path])


_MISDIRECTED: Final = Refused(421, "this host name is not served here: [http] hosts")


def _is_for_all() -> bool:
    return request.path == LOGIN or request.path.startswith(_FILES)


def _refuse_other_sites(*, with_cookie: bool) -> None:
    """A program does not say where it asks, but a browser does; only browsers have cookies."""
    if request.method in SAFE_METHODS:
        return
    says = says_origin(request.headers) or not with_cookie
    if not (says and same_origin(request.headers, request.host_url)):
        raise Refused(403, "this cannot be asked for from another site")


def _to_login(refused: Refused) -> Response:
    """A page leads to the form; scripts get an answer at which no window of the browser's opens."""
    page = not request.path.startswith(_INTERFACES)
    if page and "text/html" in request.headers.get("Accept", ""):
        where = f"{request.root_path}{LOGIN}?next={quote(_asked(), safe='/')}"
        return Response("", 303, {"Location": where})
    if request.headers.get("Sec-Fetch-Mode", "navigate") != "navigate" or cookie.session_id():
        raise Refused(401, refused.sentence, {"WWW-Authenticate": BEARER})
    raise refused


def _asked() -> str:
    """Path and query as they were sent; the first page instead of what cannot be asked again."""
    if request.method not in SAFE_METHODS:
        return "/"
    raw, query = bytes(request.scope["raw_path"]), request.query_string
    return (raw + b"?" + query if query else raw).decode("latin-1")


def admission() -> Callable[[], Awaitable[bool]]:
    """Tells later whether who asks now would still be let in, as the same.

    For answers that go on: users and tokens are removed, and get other roles.
    """
    again, principal = g.again, g.principal

    async def is_admitted() -> bool:
        try:
            return bool(await again() == principal)
        except Refused:
            return False

    return is_admitted


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


def peer() -> str | None:
    """Where the current request comes from."""
    client = request.scope.get("client")
    return client[0] if client else None
