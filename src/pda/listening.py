"""The service's listeners for syslog: from settings to running sockets, and what they count.

Owns which sockets there are, their counters and their certificates. What comes in goes to a
channel; nothing here knows what becomes of it.
"""

from __future__ import annotations

import logging
import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import cast

import trio

from pda import config, receive
from pda.tls import Certificates, TlsError, TlsFiles
from pda.web.ports import ListenerStatus

log = logging.getLogger(__name__)

_OTHER_DESCRIPTORS = 256
"""For HTTP, files and the database."""


def listener_of(settings: config.ListenerSettings) -> receive.Listener:
    """A listener's settings as the receiver takes them; raises `TlsError`."""
    address = config.parse_address(settings.listen)
    host = "127.0.0.1" if address.host == "localhost" else address.host
    return receive.Listener(
        cast(receive.Protocol, address.protocol),  # the listener itself looks at it
        host,
        address.port,
        settings.zone,
        settings.hostname,
        tuple(ip_network(network) for network in settings.allow),
        settings.max_connections,
        certificates=_certificates(settings) if address.protocol in receive.WITH_TLS else None,
    )


def _certificates(settings: config.ListenerSettings) -> Certificates:
    client_ca = Path(settings.client_ca) if settings.client_ca else None
    files = TlsFiles(Path(settings.certificate), Path(settings.key), client_ca, settings.peers)
    return Certificates(files)


class Listening:
    """All listeners of one service."""

    def __init__(self, settings: config.ReceiveSettings) -> None:
        self._settings = settings
        self._running: dict[str, tuple[receive.Listener, receive.Counters]] = {}

    @property
    def counters(self) -> Mapping[str, receive.Counters]:
        """By listener, as `tcp://127.0.0.1:5514`."""
        return {name: counters for name, (_, counters) in self._running.items()}

    @property
    def last_line_at(self) -> int:
        """When the last line came, at whatever listener; 0 where none has."""
        return max((one.last_line_at for one in self.counters.values()), default=0)

    def status(self) -> Sequence[ListenerStatus]:
        """Each socket with its counters."""
        return [_status(name, counters) for name, counters in self.counters.items()]

    async def start(
        self,
        nursery: trio.Nursery,
        send: trio.MemorySendChannel[receive.Lines],
        keep: trio.MemorySendChannel[receive.Lines],
        stop: trio.Event,
    ) -> None:
        """Listens until `stop`, then closes its part of the channels. Raises `ConfigError`.

        What is acknowledged goes to `keep`, all else to `send`.
        """
        async with send, keep:
            for settings in self._settings.listeners():
                counters = receive.Counters()
                try:
                    listener = listener_of(settings)
                    channel = keep if listener.protocol in receive.ACKNOWLEDGED else send
                    serve = partial(receive.serve, listener, channel.clone(), counters, stop)
                    host, port = await nursery.start(serve)
                except (OSError, TlsError) as error:
                    why = error.strerror if isinstance(error, OSError) else error
                    raise config.ConfigError(
                        f"receive: {settings.listen} cannot be listened at: {why}"
                    ) from error
                name = f"{listener.protocol}://{_address(host, port)}"
                self._running[name] = listener, counters
                log.info("receiving syslog at %s", name)

    def certificates(self) -> Iterator[tuple[str, Certificates]]:
        """Those in use, and by whom."""
        for name, (listener, _) in self._running.items():
            if listener.certificates is not None:
                yield name, listener.certificates


def _status(name: str, counters: receive.Counters) -> ListenerStatus:
    protocol, _, address = name.partition("://")
    values = asdict(counters)
    last = values.pop("last_line_at")
    return ListenerStatus(
        protocol=protocol,
        address=address,
        last_line_at=last,
        counters=values,
        dropped=counters.dropped,
    )


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def allow_descriptors(settings: config.ReceiveSettings) -> None:
    """Room for every connection that may be open: a shell's usual limit is 1024 for everything.

    Without, senders would keep users and the control socket from being answered.
    """
    streams = [one for one in settings.listeners() if not one.listen.startswith("udp:")]
    wanted = sum(one.max_connections for one in streams) + _OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not 0 <= soft < wanted:  # RLIM_INFINITY is negative
        return
    most = wanted if hard < 0 else min(wanted, hard)
    with suppress(OSError):  # a sandbox may forbid it
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    if soft < wanted:
        log.warning(
            "this process may open %d files, max_connections asks for %d: raise it (ulimit -n)",
            soft,
            wanted,
        )
