"""A real HTTP receiver of webhooks on loopback, in a thread."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pda.posting import signature


@dataclass
class Receiver:
    """What came, and what is answered."""

    port: int = 0
    status: int = 200
    statuses: list[int] = field(default_factory=list)
    """Answered first, one after the other."""
    secret: str = ""
    deliveries: list[tuple[str, list[dict[str, Any]]]] = field(default_factory=list)
    """Id and changes of what was accepted."""
    bodies: list[Any] = field(default_factory=list)
    """All of what was accepted."""
    refused: list[str] = field(default_factory=list)
    came: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?x=1"

    @property
    def known(self) -> dict[str, str]:
        """The last state of each outcome, as somebody keeps it who is told."""
        found: dict[str, str] = {}
        for _, changes in self.deliveries:
            for change in changes:
                if change["state"] == "withdrawn":
                    found.pop(change["key"], None)
                else:
                    found[change["key"]] = change["state"]
        return found

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """The answer to a delivery."""
        status = self.statuses.pop(0) if self.statuses else self.status
        if self.secret:
            wanted = signature(self.secret, headers["Pda-Timestamp"], body)
            assert headers["Pda-Signature"] == wanted
        if status == 200:
            self.bodies.append(told := json.loads(body))
            self.deliveries.append((headers["Pda-Delivery"], told.get("changes", [])))
        else:
            self.refused.append(headers["Pda-Delivery"])
        self.came.set()
        return status


@contextmanager
def receiving(context: Any = None) -> Iterator[Receiver]:
    """A receiver; with a TLS context it speaks https."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(receiver.take(dict(self.headers), body))
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
