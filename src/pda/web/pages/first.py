"""What somebody does first: the rule to paste, the import, a message to try with.

Owns the advice for an empty database and the button that sends a message's lines to the service
itself. Knows no other page.
"""

from __future__ import annotations

from typing import Final

import trio
from quart import Response, request
from quart.app import Quart

from pda.store import feed
from pda.web.asking import Asker
from pda.web.editing import require_admin
from pda.web.errors import Refused
from pda.web.pages.view import link
from pda.web.ports import TEST_RECIPIENT, Service

_LONGEST_S: Final = 3.0
"""Until what was sent is stored."""


class TestMessage:
    """Answers `/test-message`."""

    def __init__(self, service: Service, asker: Asker) -> None:
        self._service = service
        self._asker = asker

    def register(self, app: Quart) -> None:
        """Takes its path."""
        app.add_url_rule("/test-message", "test_message", self.send, methods=["POST"])

    async def send(self) -> Response:
        """Sends it, waits for it, and shows it."""
        require_admin()
        before = await self._asker.ask(feed.last_change)
        if problem := await self._service.send_test_message():
            raise Refused(503, f"the test message could not be sent: {problem}")
        with trio.move_on_after(_LONGEST_S):
            await self._service.news.beyond(before, None)
        target = link("/messages", {"q": TEST_RECIPIENT})
        return Response("", 303, {"Location": request.root_path + target})


def target(service: Service) -> tuple[str, str, str]:
    """Protocol, host and port of the listener to send to, TCP rather than UDP."""
    for listener in sorted(service.listeners(), key=lambda each: each.protocol != "tcp"):
        if listener.protocol in ("tcp", "udp"):
            host, _, port = listener.address.rpartition(":")
            host = host.strip("[]")
            shown = "ADDRESS-OF-THIS-HOST" if host in ("0.0.0.0", "::") else host  # noqa: S104
            return listener.protocol, shown, port
    return "tcp", "127.0.0.1", "5514"
