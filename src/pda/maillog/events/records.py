"""What one log line can say: its header, and its record.

Owns the words of Postfix's log. Knows nothing of other lines.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

# A stamp's grade is the sum of these; of two stamps for one event the greater grade wins.
ZONED = 1
"""The stamp carried its offset from UTC."""
SUBSECOND = 2
"""The stamp carried a fraction of a second."""


class Header(msgspec.Struct, frozen=True, gc=False):
    """What stands in front of the text of a line (RFC 3164, RFC 5424 or a file's template)."""

    at: int
    """When, in µs since the epoch."""
    grade: int
    """Sum of `ZONED` and `SUBSECOND`."""
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


class Record(msgspec.Struct, frozen=True, gc=False, tag_field="kind", array_like=True):
    """What one line says; about which queue entry stands beside it."""

    @classmethod
    def kind(cls) -> str:
        """What `pda parse` calls it."""
        return str(cls.__struct_config__.tag)


class Delivery(Record, tag="delivery", frozen=True, gc=False):
    """A try at one recipient (postfix global/log_adhoc.c)."""

    recipient: str
    relay: str
    delay: float
    """Seconds since the message arrived."""
    status: str
    reason: str
    """The text in brackets."""
    dsn: str = ""
    """Enhanced status code (RFC 3463); empty before Postfix 2.3."""
    delays: str = ""
    """Seconds before the queue manager, in it, for connection set-up, for transmission; as
    logged: `0.03/0/0.29/1.3`."""
    conn_use: int = 0
    orig_to: str = ""
    tls: str = ""


class MessageId(Record, tag="message-id", frozen=True, gc=False):
    """cleanup's `message-id=` or `resent-message-id=`."""

    message_id_raw: str
    resent: bool = False

    @property
    def message_id(self) -> str:
        """Without the outer angle brackets where it has both."""
        raw = self.message_id_raw
        return raw[1:].partition(">")[0] if raw.startswith("<") else raw


class HeaderAction(Record, tag="header-action", frozen=True, gc=False):
    """What header_checks, body_checks or a milter did: hold, discard, redirect, reject …"""

    action: str
    content_class: str
    """`header`, `body`, `content` or `mime-error`."""
    content: str
    client_host: str = ""
    client_ip: str = ""
    sender: str | None = None
    recipient: str | None = None
    action_text: str = ""

    @property
    def header_name(self) -> str | None:
        """None where it is about no header."""
        return self.content.partition(":")[0] if self._is_header else None

    @property
    def header_value(self) -> str | None:
        """As logged, without blanks around it."""
        return self.content.partition(":")[2].strip(" ") if self._is_header else None

    @property
    def _is_header(self) -> bool:
        return self.content_class == "header" and ":" in self.content


class HeaderInfo(HeaderAction, tag="header-info", frozen=True, gc=False):
    """A header that was only logged: INFO or WARN (cleanup/cleanup_message.c)."""


class QueueActive(Record, tag="qmgr-from", frozen=True, gc=False):
    """qmgr's `from=<…>, size=…, nrcpt=… (queue active)`, written at every activation."""

    sender: str
    size: int
    nrcpt: int = 0


class Expired(Record, tag="expired", frozen=True, gc=False):
    """qmgr gave up: every recipient still deferred is returned."""

    sender: str
    status: str
    """`expired` or `force-expired`."""


class Removed(Record, tag="removed", frozen=True, gc=False):
    """The queue entry has gone."""

    detail: str = ""
    """`canceled` or `discarded` (cleanup, Postfix 3.10+)."""
    agent: str = ""
    """The program, where it was not the queue manager: postsuper deletes what it likes."""


class Notification(Record, tag="notification", frozen=True, gc=False):
    """bounce wrote a notification about this entry as a message of its own."""

    notify: str
    """`sender` or `postmaster`."""
    notify_type: str
    """`non-delivery`, `delay`, `delivery status`."""
    notification_queue_id: str


class Connected(Record, tag="smtpd-client", frozen=True, gc=False):
    """smtpd's or qmqpd's `client=`: who handed the message in."""

    client_host: str
    client_ip: str = ""
    sasl_method: str = ""
    sasl_username: str = ""
    sasl_sender: str = ""
    orig_queue_id: str = ""
    orig_client: str = ""


class Pickup(Record, tag="pickup", frozen=True, gc=False):
    """pickup's `uid=… from=<…>`: handed in by sendmail(1)."""

    uid: int
    sender: str
    orig_id: str = ""


class Reject(Record, tag="reject", frozen=True, gc=False):
    """smtpd, postscreen or a milter refused at the door."""

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


class AccessAction(Reject, tag="access-action", frozen=True, gc=False):
    """smtpd did something else than refuse: warn, hold, discard, redirect, filter …"""


class QueueOperation(Record, tag="queue-op", frozen=True, gc=False):
    """postsuper: hold, release, requeue."""

    operation: str


class HandedOn(Record, tag="handed-on", frozen=True, gc=False):
    """Derived: the message of this entry goes on as another queue entry that is known here."""

    host: str
    to_queue_id: str
    requeued: bool = False
    """All that was still to be delivered went on (postsuper -r), not what one reply names."""

    @property
    def other(self) -> str:
        """The other entry: with a kind, what tells such facts apart."""
        return f"{self.host}/{self.to_queue_id}"


class TakenOver(Record, tag="taken-over", frozen=True, gc=False):
    """Derived: this entry goes on with the message of another one, and inherits its client."""

    host: str
    from_queue_id: str
    origin: str
    """`HOST/QUEUE_ID` of the entry that the message came in by."""
    client_id: str = ""
    msg_id: str = ""

    @property
    def other(self) -> str:
        """The other entry: with a kind, what tells such facts apart."""
        return f"{self.host}/{self.from_queue_id}"


class Ignored(Record, tag="ignored", frozen=True, gc=False):
    """Known, and nothing about a message's way (connect, statistics, TLS …), or not Postfix's."""


class LinesLost(Record, tag="lines-lost", frozen=True, gc=False):
    """A syslog daemon says how many lines it did not take, of whatever programs."""

    lines: int


class Unknown(Record, tag="unknown", frozen=True, gc=False):
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
    | AccessAction
    | QueueOperation
    | HandedOn
    | TakenOver
    | Ignored
    | LinesLost
    | Unknown
)


ONCE = frozenset([MessageId, HeaderInfo, Connected, Pickup, QueueActive, Removed, Notification])
"""Of these one life of an entry has each text once: no stamp is needed to know it again.

The queue manager says the same at every retry; that there was one is told by its attempts."""
LINKS = frozenset([HandedOn, TakenOver])
