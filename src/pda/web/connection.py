"""One HTTP request as the server hands it over: seen through proxies, counted, ended whole.

Owns what has to happen outside of the framework. Knows no path and no principal.
"""

from __future__ import annotations

from typing import Final

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, HTTPScope
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection

from pda.web.proxies import Proxies

BUSY: Final = "pda.busy"
"""Set in the scope of a request that comes while too many others are being answered."""


class Connections:
    """Makes a connection of each request, as the framework's `asgi_http_class`."""

    def __init__(self, proxies: Proxies, most: int) -> None:
        self.running = 0
        self._proxies = proxies
        self._most = most

    def __call__(self, app: QuartTrio, scope: HTTPScope) -> Connection:
        seen = self._proxies.seen(scope)
        if self.running >= self._most:
            seen = {**seen, BUSY: True}  # type: ignore[typeddict-unknown-key]
        return Connection(app, seen, self)


class Connection(TrioASGIHTTPConnection):
    """One request; sees to it that its end is not cancelled.

    With the last part of an answer hypercorn closes a connection that is not kept alive. It tells
    quart-trio first, which then cancels what is still being sent: the closing itself.
    """

    def __init__(self, app: QuartTrio, scope: HTTPScope, among: Connections) -> None:
        super().__init__(app, scope)
        self._among = among

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        async def send_to_the_end(message: ASGISendEvent) -> None:
            last = message["type"] == "http.response.body" and not message.get("more_body")
            with trio.CancelScope(shield=last):
                await send(message)

        self._among.running += 1
        try:
            await super().__call__(receive, send_to_the_end)
        finally:
            self._among.running -= 1
