"""The vocabulary: what a log line can say, and what is known of a message.

Owns the values that travel from the socket to the answer. Imports nothing of ours and knows
neither bytes, sockets, clocks nor SQL. All times are microseconds since the epoch, UTC.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Literal, TypeAlias

import msgspec


class Grade(IntFlag):
    """How good a time stamp is; of two stamps for one event the greater grade wins."""

    ZONED = 1
    """The stamp carried its offset from UTC."""
    SUBSECOND = 2
    """The stamp carried a fraction of a second."""


class Header(msgspec.Struct, frozen=True, gc=False):
    """What stands in front of the text of a line (RFC 3164, RFC 5424 or a file's template)."""

    at: int
    """When, in µs since the epoch."""
    grade: int
    """A `Grade`."""
    hostname: str
    """As logged; empty where the header has none."""
    syslog_name: str
    """The tag without its last component: `postfix`, `postfix/submission`, `postfix-out`."""
    program: str
    """The last component of the tag: `smtp`; empty where the sender cut it (RFC 5424 APP-NAME)."""
    procid: int | None
    text: str
    """All after `tag[pid]: `."""
    repeat: int = 0
    """N of `message repeated N times: [ … ]`, else 0."""


# --- Records: one Postfix line each -----------------------------------------------------------
# The tag is the `kind` that `pda parse` prints.


class Record(
    msgspec.Struct, frozen=True, gc=False, tag_field="kind", omit_defaults=True, kw_only=True
):
    """One line about a queue entry. An empty `queue_id` stands for NOQUEUE."""

    queue_id: str = ""


class Delivery(Record, tag="delivery", frozen=True, gc=False, kw_only=True):
    """A try at one recipient (postfix global/log_adhoc.c)."""

    recipient: str
    orig_to: str = ""
    relay: str = ""
    conn_use: int = 0
    delay: float = 0.0
    """Seconds since the message arrived."""
    delays: tuple[float, ...] = ()
    """Seconds before the queue manager, in it, for connection set-up, for transmission."""
    tls: str = ""
    dsn: str = ""
    """Enhanced status code (RFC 3463); empty before Postfix 2.3."""
    status: str
    reason: str = ""
    """The text in brackets."""


class MessageId(Record, tag="message-id", frozen=True, gc=False, kw_only=True):
    """cleanup's `message-id=` or `resent-message-id=`."""

    message_id: str
    """Without the outer angle brackets where it has both."""
    message_id_raw: str
    resent: bool = False


class HeaderInfo(Record, tag="header-info", frozen=True, gc=False, kw_only=True):
    """A header logged by header_checks with INFO or WARN (cleanup/cleanup_message.c)."""

    action: str
    header_name: str
    header_value: str
    client_host: str = ""
    client_ip: str = ""
    sender: str | None = None
    recipient: str | None = None
    action_text: str = ""


class HeaderAction(Record, tag="header-action", frozen=True, gc=False, kw_only=True):
    """Any other header, body, content or milter action: hold, discard, redirect, reject …"""

    action: str
    content_class: str
    content: str
    header_name: str = ""
    header_value: str = ""
    client_host: str = ""
    client_ip: str = ""
    sender: str | None = None
    recipient: str | None = None
    action_text: str = ""


class QueueActive(Record, tag="qmgr-from", frozen=True, gc=False, kw_only=True):
    """qmgr's `from=<…>, size=…, nrcpt=… (queue active)`, written at every activation."""

    sender: str
    size: int
    nrcpt: int = 0


class Expired(Record, tag="expired", frozen=True, gc=False, kw_only=True):
    """qmgr gave up: every recipient still deferred is returned."""

    sender: str
    status: str
    """`expired` or `force-expired`."""


class Removed(Record, tag="removed", frozen=True, gc=False, kw_only=True):
    """The queue entry has gone."""

    detail: str = ""
    """`canceled` or `discarded` (cleanup, Postfix 3.10+)."""


class Notification(Record, tag="notification", frozen=True, gc=False, kw_only=True):
    """bounce wrote a notification about this entry as a message of its own."""

    notify: str
    """`sender` or `postmaster`."""
    notify_type: str
    """`non-delivery`, `delay`, `delivery status`."""
    notification_queue_id: str


class Connected(Record, tag="smtpd-client", frozen=True, gc=False, kw_only=True):
    """smtpd's or qmqpd's `client=`: who handed the message in."""

    client_host: str
    client_ip: str = ""
    sasl_method: str = ""
    sasl_username: str = ""
    sasl_sender: str = ""
    orig_queue_id: str = ""
    orig_client: str = ""


class Pickup(Record, tag="pickup", frozen=True, gc=False, kw_only=True):
    """pickup's `uid=… from=<…>`: handed in by sendmail(1)."""

    uid: int
    sender: str
    orig_id: str = ""


class Reject(Record, tag="reject", frozen=True, gc=False, kw_only=True):
    """smtpd, postscreen or a milter refused (or only warned, held …) at the door."""

    action: str
    where: str
    client_host: str = ""
    client_ip: str = ""
    reply_code: str = ""
    dsn: str = ""
    reason: str = ""
    sender: str | None = None
    recipient: str | None = None
    proto: str = ""
    helo: str = ""
    sasl_username: str = ""


class QueueOperation(Record, tag="queue-op", frozen=True, gc=False, kw_only=True):
    """postsuper: hold, release, requeue."""

    operation: str


class Ignored(Record, tag="ignored", frozen=True, gc=False, kw_only=True):
    """Known, and nothing about a message's way (connect, statistics, TLS …), or not Postfix's."""


class Unknown(Record, tag="unknown", frozen=True, gc=False, kw_only=True):
    """A line of Postfix's whose form is not known."""


AnyRecord: TypeAlias = (
    Delivery
    | MessageId
    | HeaderInfo
    | HeaderAction
    | QueueActive
    | Expired
    | Removed
    | Notification
    | Connected
    | Pickup
    | Reject
    | QueueOperation
    | Ignored
    | Unknown
)


# --- Verdicts ---------------------------------------------------------------------------------

BounceType: TypeAlias = Literal["soft", "hard", "undetermined"]


class Failure(msgspec.Struct, frozen=True, gc=False):
    """What a verdict is drawn from; nothing else may influence it."""

    reason: str
    """The text in the brackets of the status, as logged."""
    dsn: str
    status: str
    """`deferred`, `bounced`, `SOFTBOUNCE` …"""
    relay: str


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """Our judgement of a failed attempt."""

    bounce_type: BounceType
    category: str
    rule: str
    """Id of the rule that decided; empty when none did."""


# --- What is known of a queue entry ------------------------------------------------------------


class Fact(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One line about one queue entry, with its own time stamp."""

    at: int
    grade: int
    syslog_name: str
    program: str
    record: AnyRecord


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One delivery attempt: (queue entry, text, copy) is its identity."""

    digest: int
    """64-bit hash of the text after `QID: `."""
    copy: int
    at: int
    grade: int
    delivery: Delivery
    verdict: Verdict | None
    """None unless the attempt failed."""


class State(IntEnum):
    """The current state of one recipient of a message."""

    PENDING = 0
    DELIVERED = 1
    FINALLY_OK = 2
    """Delivered after at least one deferral."""
    SOFT_BOUNCE = 3
    HARD_BOUNCE = 4
    UNDETERMINED_BOUNCE = 5
    EXPIRED = 6
    HELD = 7
    DISCARDED = 8


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What became of one recipient of a queue entry."""

    recipient: str
    state: State
    first_at: int
    last_at: int
    attempts: int
    verdict: Verdict | None
    """Of the last failed attempt where the state is not a delivery."""
