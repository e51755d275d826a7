"""`/api/v1/messages/{id}`: the whole story of one message.

Owns its members. What belongs to a story is for the store to say; of links to messages of others a
client principal learns no more than its own log lines say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pda.maillog.events.shown import fields
from pda.store import queries
from pda.store.database import Connection
from pda.web import rows
from pda.web.asking import Asker
from pda.web.auth import Principal
from pda.web.errors import Refused
from pda.web.routes import Operation
from pda.web.rows import Attempt, Message, Outcome
from pda.web.rules_api import encoded
from pda.web.values import When, publisher, stamp


class Event(msgspec.Struct, frozen=True):
    """What one line of the log said."""

    at: When | None
    syslog_name: Annotated[str, Meta(description="As `postfix/submission`.")]
    kind: Annotated[str, Meta(description="What `pda parse` calls it.")]
    record: Annotated[Mapping[str, Any], Meta(description="What it said, as in `pda parse`.")]


class Recipient(msgspec.Struct, frozen=True):
    """What became of one recipient, and how."""

    recipient: Annotated[str, Meta(description="Empty: the log does not name it.")]
    outcome: Outcome
    attempts: Annotated[Sequence[Attempt], Meta(description="By time.")]


class Link(msgspec.Struct, frozen=True):
    """Another queue entry of the same matter."""

    relation: Annotated[
        Literal["continues-as", "continued-from", "notification", "notification-about"],
        Meta(
            description="A hop onwards, the hop before, the notification about this message; the"
            " message that this one is a notification about."
        ),
    ]
    host: str
    queue_id: str
    id: Annotated[int | None, Meta(description="Null where it is not known here.")]


class Story(msgspec.Struct, frozen=True):
    """One message: what is known of it, every line about it, its recipients, its hops."""

    message: Message
    events: Annotated[
        Sequence[Event], Meta(description="By time; deliveries stand with their recipients.")
    ]
    recipients: Sequence[Recipient]
    links: Sequence[Link]


_link = publisher(Link)


class Messages:
    """Single messages, for programs."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    @Operation(
        "GET",
        "/api/v1/messages/{number}",
        answers=Story,
        errors={404: "There is no such message, or it is not yours."},
    )
    async def message(
        self,
        number: Annotated[int, Meta(ge=0, le=2**63 - 1, description="The `id` of a row.")],
        principal: Principal,
    ) -> msgspec.Raw:
        """The whole story of a message.

        Every line about it in order, each recipient's attempts with the reply as logged, the
        verdict and its rule, hops through filters and other hosts, and its notification.
        """
        found = await self._asker.ask(_story, number, principal.client_id)
        if found is None:
            raise Refused(404, f"there is no message {number}")
        return found


def _story(connection: Connection, number: int, client: str | None) -> msgspec.Raw | None:
    found = queries.story(connection, number, client)
    return None if found is None else encoded(_published(found))


def _published(found: queries.Story) -> Story:
    return Story(
        message=rows.message(found.message),
        events=[
            Event(stamp(one.at), one.syslog_name, one.kind, fields(one.record))
            for one in found.events
        ],
        recipients=[
            Recipient(one.recipient, rows.outcome(one.outcome), [*map(rows.attempt, one.attempts)])
            for one in found.recipients
        ],
        links=[_link(one) for one in found.links],
    )
