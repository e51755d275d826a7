"""`/api/v1/outcomes`, `attempts` and `messages`: what became of the mail, as lists.

Owns their parameters and members. A client principal's own id takes the place of any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from quart import Response, g, request
from quart.app import Quart

from pda.store import queries
from pda.store.database import Connection
from pda.store.queries import Filter
from pda.times import moment, rfc3339
from pda.web.asking import Asker
from pda.web.errors import Refused

_PARAMETERS = frozenset(["client", "recipient", "queue_id", "message_id", "from", "to", "limit"])
_TIMES = frozenset(["at", "first_at", "last_at", "born", "expired_at", "removed_at"])
_MOST = 10_000
_USUAL = 1_000


class Lists:
    """Lists for programs."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    def register(self, app: Quart) -> None:
        """Takes its paths."""
        app.add_url_rule("/api/v1/outcomes", "outcomes", self.outcomes)
        app.add_url_rule("/api/v1/attempts", "attempts", self.attempts)
        app.add_url_rule("/api/v1/messages", "messages", self.messages)

    async def outcomes(self) -> Response:
        """What became of recipients, by when they came into their state."""
        return await self._list("outcomes", queries.outcomes)

    async def attempts(self) -> Response:
        """Delivery attempts, oldest first."""
        return await self._list("attempts", queries.attempts)

    async def messages(self) -> Response:
        """Messages, oldest first."""
        return await self._list("messages", queries.messages)

    async def _list(
        self, name: str, question: Callable[[Connection, Filter], list[Any]]
    ) -> Response:
        wanted = _filter(request.args, g.principal.client_id)
        body = await self._asker.ask(_encoded, name, question, wanted)
        return Response(body, content_type="application/json")


def _encoded(
    connection: Connection,
    name: str,
    question: Callable[[Connection, Filter], list[Any]],
    wanted: Filter,
) -> bytes:
    rows = question(connection, wanted)
    return msgspec.json.encode({name: [_members(row) for row in rows]})


def _members(row: msgspec.Struct) -> dict[str, object]:
    """By name, times as RFC 3339, null where there is none."""
    return {
        name: (rfc3339(value) if value else None) if name in _TIMES else value
        for name, value in msgspec.structs.asdict(row).items()
    }


def _filter(parameters: Mapping[str, str], own_client: str | None) -> Filter:
    """The filter that the parameters describe. Raises `Refused` for what is not understood."""
    if unknown := sorted(parameters.keys() - _PARAMETERS):
        known = ", ".join(sorted(_PARAMETERS))
        raise Refused(400, f"there is no parameter {unknown[0]!r}; there are {known}")
    if own_client is not None and parameters.get("client", own_client) != own_client:
        return Filter(client=own_client, limit=0)  # as if there were no such client
    return Filter(
        client=own_client if own_client is not None else parameters.get("client"),
        recipient=parameters.get("recipient"),
        queue_id=parameters.get("queue_id"),
        message_id=parameters.get("message_id"),
        since=_moment(parameters, "from"),
        until=_moment(parameters, "to"),
        limit=_limit(parameters),
    )


def _moment(parameters: Mapping[str, str], name: str) -> int | None:
    text = parameters.get(name)
    try:
        return None if text is None else moment(text)
    except ValueError as error:
        raise Refused(400, f"parameter {name!r}: {error}") from None


def _limit(parameters: Mapping[str, str]) -> int:
    text = parameters.get("limit", str(_USUAL))
    if not (text.isdecimal() and len(text) <= 6 and 1 <= int(text) <= _MOST):
        raise Refused(400, f"parameter 'limit': {text!r} is not a number from 1 to {_MOST}")
    return int(text)
