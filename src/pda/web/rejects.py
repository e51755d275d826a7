"""`/api/v1/rejects`: what was refused, at the door and in the queue.

Owns its parameters and members. Whose mail that was is known by a network or a SASL user only: a
client sees what is surely its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from pda.store import rejects
from pda.store.database import Connection
from pda.store.rejects import RejectFilter
from pda.web.asking import Asker
from pda.web.auth import Principal
from pda.web.errors import Invalid, Mistake
from pda.web.routes import Operation
from pda.web.rules_api import encoded
from pda.web.values import Moment, Text, When, publisher

_MOST: Final = 10_000


class Reject(msgspec.Struct, frozen=True):
    """A message or recipient that was refused."""

    at: When
    host: Annotated[str, Meta(description="The mail host that refused.")]
    queue_id: Annotated[str, Meta(description="Empty at the door.")]
    client_id: Annotated[str, Meta(description="Whose mail it surely was; else empty.")]
    program: Annotated[str, Meta(description="`smtpd`, `postscreen`, `cleanup` …")]
    action: Annotated[str, Meta(description="`reject`, `milter-reject`, `proxy-reject` …")]
    stage: Annotated[str, Meta(description="`RCPT`, `END-OF-MESSAGE`, `header` …")]
    reply_code: str
    dsn: str
    reply: Annotated[str, Meta(description="As logged, up to 500 characters.")]
    client_host: Annotated[str, Meta(description="Who was refused, by name.")]
    client_ip: Annotated[str, Meta(description="Who was refused, by address.")]
    sender: Annotated[str | None, Meta(description="Empty: a notification; null: not named.")]
    recipient: str
    helo: str
    sasl_username: str


class Rejects(msgspec.Struct, frozen=True):
    """Some of them, latest first."""

    rejects: Sequence[Reject]
    next: Annotated[str | None, Meta(description="Goes on as `after`; null at the end.")]
    complete: Annotated[
        bool, Meta(description="False: as many were looked at as may be; `next` goes on.")
    ]


class RejectsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which. Filters are combined with "and"."""

    client: Annotated[Text | None, Meta(description="The client id; empty: of none.")] = None
    client_ip: Annotated[Text | None, Meta(description="Address of who was refused.")] = None
    sender: Annotated[Text | None, Meta(description="The envelope sender.")] = None
    recipient: Annotated[
        Text | None, Meta(description="The whole address, or `@` and its domain.")
    ] = None
    reply: Annotated[Text | None, Meta(description="Part of the reply, in any case.")] = None
    host: Annotated[Text | None, Meta(description="The mail host.")] = None
    queue_id: Annotated[Text | None, Meta(description="Postfix's queue id.")] = None
    since: Annotated[Moment | None, Meta(description="Not before; inclusive.")] = msgspec.field(
        default=None, name="from"
    )
    until: Annotated[Moment | None, Meta(description="Not after; inclusive.")] = msgspec.field(
        default=None, name="to"
    )
    after: Annotated[Text, Meta(description="The `next` of the page before.")] = ""
    limit: Annotated[int, Meta(ge=1, le=_MOST, description="Rejects at the most.")] = 100


_publish = publisher(Reject)


class RejectsApi:
    """What was refused, for programs."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    @Operation("GET", "/api/v1/rejects", answers=Rejects)
    async def rejects(self, query: RejectsQuery, principal: Principal) -> msgspec.Raw:
        """What was refused by smtpd, postscreen, cleanup and milters, latest first."""
        given = {name: getattr(query, name) for name in RejectFilter.__struct_fields__}
        given["client"] = principal.client_of(query.client)
        return await self._asker.ask(_page, RejectFilter(**given), query.after, query.limit)


def _page(connection: Connection, wanted: RejectFilter, after: str, limit: int) -> msgspec.Raw:
    try:
        page = rejects.page(connection, wanted, after, limit)
    except ValueError:
        raise Invalid([Mistake("query", "after", "is no cursor")]) from None
    return encoded(Rejects([_publish(one) for one in page.rows], page.next, page.complete))
