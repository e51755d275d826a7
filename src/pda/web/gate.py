"""What every request passes first: host name, other sites, what is open to all, log-in.

Owns this order. Leaves in `g` who asks (`principal`) and where from (`peer`). Knows no question and
no page.
"""

from __future__ import annotations

import time
from ipaddress import ip_address
from typing import Final

from quart import g, request

from pda.web.auth import LOCAL, Guard
from pda.web.connection import BUSY
from pda.web.errors import Refused
from pda.web.networks import address_of, networks_of, within
from pda.web.origin import SAFE_METHODS, same_origin
from pda.web.ports import Settings
from pda.web.proxies import BELIEVED, is_forwarded

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

    async def enter(self) -> None:
        """Raises `Refused`."""
        g.began = time.time()
        g.principal = None
        g.peer = peer = _peer()
        forwarded = is_forwarded(request.headers)
        named = is_allowed_host(request.headers.get("Host", ""), self._hosts)
        if BUSY in request.scope:
            raise Refused(503, "too many requests at a time: try again", {"Retry-After": "1"})
        if request.path in {"/healthz", "/readyz"} and self._is_open(forwarded=forwarded):
            return
        if self._only_hosts and not named:
            raise _MISDIRECTED
        if request.method not in SAFE_METHODS and not same_origin(
            request.headers, request.host_url
        ):
            raise Refused(403, "this cannot be asked for from another site")
        if request.path.startswith(_FILES) or (named and self._is_open(forwarded=forwarded)):
            return
        authorization = request.headers.get("Authorization")
        g.principal = await self._guard.admit(peer, authorization, forwarded=forwarded)
        # Where a password is asked for, a browser has none for a stranger's name.
        if g.principal == LOCAL and not named:
            raise _MISDIRECTED

    def _is_open(self, *, forwarded: bool) -> bool:
        """Whether this path is open to whoever asks; behind an unnamed proxy that is not known."""
        if request.path not in self._open or (forwarded and BELIEVED not in request.scope):
            return False
        return within(address_of(_peer()), self._open[request.path])


_MISDIRECTED: Final = Refused(421, "this host name is not served here: [http] hosts")


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
