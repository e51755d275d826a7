"""Tells systemd how the service is: ready, stopping, alive (sd_notify(3)).

Owns the datagrams and where they go. Without systemd there is nobody to tell, and nothing happens.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress

import trio

log = logging.getLogger(__name__)

READY = "READY=1"
STOPPING = "STOPPING=1"
_ALIVE = "WATCHDOG=1"


class Supervisor:
    """The one who started this process, as its environment names it."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.patience = 0.0
        """Seconds after which it ends a service that says nothing; 0: it does not."""
        if environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
            with suppress(ValueError):
                self.patience = int(environment.get("WATCHDOG_USEC", "0")) / 1e6

    def tell(self, *said: str) -> None:
        """Says it; a supervisor that does not listen changes nothing."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.sendto("\n".join(said).encode(), self._address)
        except OSError as error:
            log.warning("systemd cannot be told how the service is: %s", error.strerror)

    async def keep_informed(self, progress: Callable[[], object]) -> None:
        """Says that the service is alive, while it has nothing to do (None) or gets on with it."""
        if not self.patience:
            return
        last: object = None
        while True:
            now = progress()
            if now is None or now != last:
                self.tell(_ALIVE)
            else:
                log.error("nothing was written for %.0f s though lines wait", self.patience / 3)
            last = now
            await trio.sleep(self.patience / 3)
