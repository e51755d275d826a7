"""What the API answers, as values: the members that programs ask for.

Owns their types. What an answer has beside these is ignored, so a newer service is no mistake.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery attempt."""

    at: datetime
    host: str
    queue_id: str
    client_id: str
    message_id: str
    sender: str | None
    recipient: str
    relay: str
    delay: float
    dsn: str
    status: str
    reason: str
    bounce_type: str | None
    category: str | None
    rule: str | None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one recipient of a message."""

    host: str
    queue_id: str
    client_id: str
    message_id: str
    msg_id: str
    sender: str | None
    recipient: str
    state: str
    attempts: int
    first_at: datetime | None
    last_at: datetime | None
    bounce_type: str | None
    category: str | None
    rule: str | None
    change: int


class Change(Outcome, frozen=True, kw_only=True):
    """An outcome that has just changed; `withdrawn`: forget what was told of this `key`."""

    key: str
    id: int
    final: bool
    dsn: str | None
    reply: str | None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message, and how many of its recipients are in which state."""

    born: datetime | None
    host: str
    queue_id: str
    client_id: str
    message_id: str
    sender: str | None
    recipients: int
    attempts: int
    delivered: int
    bounced: int


class LookedUp(msgspec.Struct, frozen=True, kw_only=True):
    """What became of mail to an address, or of a message."""

    asked: str
    messages: int
    attempts: int
    delivered: int
    hard_bounces: int
    soft_bounces: int
    first_at: datetime | None
    last_at: datetime | None
    delivered_at: datetime | None
    latest: Change | None
    hard_bounce: Change | None
    suppressed: bool | None


class Lookup(msgspec.Struct, frozen=True):
    """In the order in which it was asked."""

    addresses: list[LookedUp]
    message_ids: list[LookedUp]


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """The failure that weighs most."""

    at: datetime
    id: int
    client_id: str
    message_id: str
    category: str
    rule: str
    dsn: str
    reply: str


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody said of an address."""

    mail: Literal["never", "allowed"]
    note: str
    who: str
    at: datetime
    client: str


class Suppression(msgspec.Struct, frozen=True, kw_only=True):
    """What is advised about an address."""

    recipient: str
    suppressed: bool
    hard_messages: int
    soft_messages: int
    soft_days: int
    delivered_at: datetime | None
    why: Why | None
    said: Said | None
