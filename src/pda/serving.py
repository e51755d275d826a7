"""The service's HTTP or HTTPS server: Hypercorn, its socket and its certificate.

Owns how the application is served. Knows nothing of what it answers.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio import serve
from hypercorn.typing import Framework

from pda import config
from pda.tls import Certificates, TlsError, TlsFiles

log = logging.getLogger(__name__)

_GRACE_S = 3.0
"""For answers that are being given when the service stops."""


class Serving:
    """The HTTP server of one service. Raises `ConfigError` for a certificate that is no good."""

    def __init__(self, settings: config.HttpSettings) -> None:
        self._settings = settings
        self.certificates = _certificates(settings)
        self.addresses: Sequence[str] = ()
        """Where it serves, as URLs."""
        self._stop, self._ended = trio.Event(), trio.Event()

    async def start(self, nursery: trio.Nursery, app: Framework) -> None:
        """Serves until it is stopped. Raises `ConfigError` where it cannot listen."""
        hypercorn = _Config(self.certificates)
        with _bound(self._settings.bind) as sock:
            hypercorn.bind = [f"fd://{sock.detach()}"]
        self.addresses = list(await nursery.start(self._serve, app, hypercorn))
        log.info("serving %s", ", ".join(self.addresses))

    async def stop(self) -> None:
        """Lets answers that are being given end, within a few seconds."""
        self._stop.set()
        if self.addresses:
            with trio.move_on_after(_GRACE_S):
                await self._ended.wait()

    async def _serve(
        self,
        app: Framework,
        hypercorn: HypercornConfig,
        *,
        task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        stopped = self._stop.wait
        await partial(serve, app, hypercorn, shutdown_trigger=stopped, task_status=task_status)()
        self._ended.set()


class _Config(HypercornConfig):
    """Hypercorn's, but for certificates that are read again while it runs."""

    include_server_header = False
    graceful_timeout = 2
    accesslog = errorlog = None

    def __init__(self, certificates: Certificates | None) -> None:
        super().__init__()
        self._certificates = certificates

    @property
    def ssl_enabled(self) -> bool:
        return self._certificates is not None

    def create_ssl_context(self) -> ssl.SSLContext | None:
        if self._certificates is None:
            return None
        context = self._certificates.context
        context.set_alpn_protocols(self.alpn_protocols)
        return context


def _certificates(http: config.HttpSettings) -> Certificates | None:
    if not http.certificate:
        return None
    try:
        return Certificates(TlsFiles(Path(http.certificate), Path(http.key)))
    except TlsError as error:
        raise config.ConfigError(f"http.certificate: {error}") from error


def _bound(bind: str) -> socket.socket:
    """Bound here and not by hypercorn, for an error that says what to do."""
    address = config.parse_address(bind)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family)
    except OSError as error:
        raise config.ConfigError(
            f"http.bind: {bind} cannot be listened at: {error.strerror}"
        ) from error
