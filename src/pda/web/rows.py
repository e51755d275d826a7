"""Attempts, outcomes and messages as `/api/v1` publishes them.

Owns their members and what is said about each. They mirror the rows of the store, member by member.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta

from pda.web.formats import Selectable
from pda.web.values import When, publisher

BounceType: TypeAlias = Literal["soft", "hard", "undetermined"]
State: TypeAlias = Literal[
    "pending", "delivered", "finally-ok", "soft-bounce", "hard-bounce", "undetermined-bounce",
    "expired", "held", "discarded", "handed-on",
]  # fmt: skip

_Id = Annotated[int, Meta(description="Of the message: `/api/v1/messages/{id}`.")]
_Host = Annotated[str, Meta(description="The mail host whose log says so.")]
_Client = Annotated[str, Meta(description="The application that sent it; empty: not known.")]
_MessageId = Annotated[str, Meta(description="As logged, with its brackets; empty: not known.")]
_MsgId = Annotated[str, Meta(description="The original's msgId, where there is one.")]
_Sender = Annotated[str | None, Meta(description="Of the envelope; null: not known.")]
_Origin = Annotated[
    str, Meta(description="`HOST/QUEUE_ID` by which the message came in, where that is another.")
]
_Category = Annotated[str | None, Meta(description="Why, in one word; null where none failed.")]
_Rule = Annotated[str | None, Meta(description="Id of the rule that decided; empty: none did.")]


class Attempt(Selectable, frozen=True):
    """A delivery attempt, with what is known of its message."""

    at: When
    host: _Host
    queue_id: str
    client_id: _Client
    message_id: _MessageId
    msg_id: _MsgId
    sender: _Sender
    recipient: Annotated[str, Meta(description="As logged.")]
    orig_to: Annotated[str | None, Meta(description="The address before aliases.")]
    relay: Annotated[str, Meta(description="As logged: host, address and port.")]
    delay: Annotated[float, Meta(description="Seconds since the message arrived.")]
    dsn: Annotated[str, Meta(description="Enhanced status code (RFC 3463).")]
    status: Annotated[str, Meta(description="Postfix's word.", examples=["sent", "deferred"])]
    reason: Annotated[str, Meta(description="The text in brackets: the reply as logged.")]
    bounce_type: Annotated[BounceType | None, Meta(description="Null where it did not fail.")]
    category: _Category
    rule: _Rule
    deferred_before: Annotated[bool, Meta(description="Sent, after an earlier attempt failed.")]
    id: _Id
    provider: Annotated[str, Meta(description="Who runs the relay; empty: not known.")]
    delays: Annotated[
        str,
        Meta(description="Seconds before the queue manager, in it, in set-up, in transmission."),
    ]


class Outcome(Selectable, frozen=True):
    """What became of one recipient of a message, as it is now."""

    first_at: Annotated[When, Meta(description="The first attempt.")]
    last_at: Annotated[When, Meta(description="When it came into its state.")]
    host: _Host
    queue_id: str
    origin: _Origin
    client_id: _Client
    message_id: _MessageId
    msg_id: _MsgId
    sender: _Sender
    recipient: str
    state: State
    attempts: int
    bounce_type: Annotated[BounceType | None, Meta(description="Null where none failed.")]
    category: _Category
    rule: _Rule
    change: Annotated[int, Meta(description="Grows with every change of any outcome.")]
    id: _Id


class Message(Selectable, frozen=True):
    """A message, and how many of its recipients are in which state."""

    born: Annotated[When | None, Meta(description="When it came in; null: not known.")]
    host: _Host
    queue_id: str
    client_id: _Client
    claimed_id: Annotated[str, Meta(description="A client id that was claimed from elsewhere.")]
    message_id: _MessageId
    msg_id: _MsgId
    sender: _Sender
    size: Annotated[int, Meta(description="Octets; 0: not known.")]
    nrcpt: Annotated[int, Meta(description="Recipients that Postfix counts; 0: not known.")]
    expired_at: When | None
    removed_at: Annotated[When | None, Meta(description="When it left the queue.")]
    recipients: Annotated[int, Meta(description="Recipients that were tried.")]
    attempts: int
    delivered: Annotated[int, Meta(description="Recipients that it was delivered to.")]
    bounced: Annotated[int, Meta(description="Recipients that it bounced for.")]
    id: _Id
    origin: _Origin


attempt: Final = publisher(Attempt)
outcome: Final = publisher(Outcome)
message: Final = publisher(Message)
