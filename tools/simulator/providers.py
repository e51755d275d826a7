"""Who receives mail, what they answer, and how often. Data only.

The providers are invented (RFC 2606 domains, RFC 5737 and RFC 3849 addresses); the forms of their
replies are those one meets. Categories are the words in which `pda` speaks of failures.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Final, NamedTuple


class Reply(NamedTuple):
    """One way to fail."""

    dsn: str
    text: str
    """The text in brackets; `{names}` are filled in by the message."""
    connected: bool = True
    """Whether a relay was reached at all."""
    seconds: float = 0.4
    """How long the try takes."""


class Provider(NamedTuple):
    """Where a share of the mail goes."""

    weight: float
    domain: str
    """`{n}` makes many domains of one kind."""
    relays: tuple[str, ...]
    accepted: Reply
    replies: Mapping[str, tuple[Reply, ...]]
    """Own wordings; where it has none for a category, `ANY` serves."""
    program: str = "smtp"


class Fate(NamedTuple):
    """What lies before one recipient."""

    weight: float
    deferred_for: str = ""
    """Category of the deferrals; empty: none."""
    deferrals: int = 0
    """At most so many; -1: for ever."""
    bounced_for: str = ""
    """Category of the bounce; empty: delivered in the end."""


def accepted(text: str) -> Reply:
    """A delivery is one more reply."""
    return Reply("2.0.0", text, seconds=0.1)


def said(reply: str, command: str = "RCPT TO") -> str:
    """What smtp(8) makes of a refusal."""
    return f"host {{relay}} said: {reply} (in reply to {command} command)"


UNDETERMINED: Final = "undetermined"
"""Bounced with words that no rule knows."""

FATES: Final = (
    Fate(0.844),
    Fate(0.030, "greylisted", 2),
    Fate(0.018, "rate-limited", 5),
    Fate(0.010, "no-answer", 7),
    Fate(0.006, "system-failure", 4),
    Fate(0.004, "bad-connection", 3),
    Fate(0.038, bounced_for="invalid-recipient"),
    Fate(0.006, bounced_for="inactive-mailbox"),
    Fate(0.006, bounced_for="bad-domain"),
    Fate(0.008, bounced_for="blocklisted"),
    Fate(0.006, bounced_for="spam-content"),
    Fate(0.004, bounced_for="mailbox-full"),
    Fate(0.002, bounced_for="message-too-large"),
    Fate(0.002, bounced_for=UNDETERMINED),
    Fate(0.002, "greylisted", 2, "invalid-recipient"),
    Fate(0.002, "rate-limited", 4, "blocklisted"),
    Fate(0.004, "mailbox-full", -1),
    Fate(0.005, "no-answer", -1),
    Fate(0.003, "dns-failure", -1),
)
CUMULATED_FATES: Final = tuple(accumulate(fate.weight for fate in FATES))

HARD: Final = frozenset({"invalid-recipient", "inactive-mailbox", "bad-domain"})
"""Bounced for one of these, an address is not to be tried again."""

ANY_DEFERRED: Final[Mapping[str, tuple[Reply, ...]]] = {
    "greylisted": (
        Reply("4.2.0", said("450 4.2.0 <{rcpt}>: Recipient address rejected: Greylisted")),
        Reply("4.7.1", said("451 4.7.1 Greylisting in action, please come back in 300 seconds")),
    ),
    "rate-limited": (
        Reply("4.7.0", said("421 4.7.0 {ip} sent too many messages, slow down", "MAIL FROM")),
        Reply("4.7.1", said("450 4.7.1 Too many connections from {ip}, rate limited")),
    ),
    "no-answer": (
        Reply("4.4.1", "connect to {relay}:25: Connection timed out", False, 30),
        Reply("4.4.1", "connect to {relay}:25: Connection refused", False, 0.1),
        Reply("4.4.1", "connect to {relay}:25: No route to host", False, 3),
    ),
    "bad-connection": (
        Reply("4.4.2", "lost connection with {relay} while sending end of data", seconds=8),
        Reply("4.4.2", "conversation with {relay} timed out while receiving the initial greeting"),
    ),
    "system-failure": (
        Reply("4.3.0", said("451 4.3.0 Temporary local problem, queue file error", "DATA")),
        Reply("4.3.2", "host {relay} refused to talk to me: 421 4.3.2 Service shutting down"),
    ),
    "mailbox-full": (
        Reply("4.2.2", said("452 4.2.2 <{rcpt}>: The mailbox is over its quota")),
        Reply("4.2.2", said("450 4.2.2 Mailbox full, no space left for {rcpt}")),
    ),
    "dns-failure": (
        Reply(
            "4.4.3",
            "Host or domain name not found. Name service error for name={domain} type=MX: "
            "Host not found, try again",
            False,
            5,
        ),
    ),
}

ANY_BOUNCED: Final[Mapping[str, tuple[Reply, ...]]] = {
    "invalid-recipient": (
        Reply("5.1.1", said("550 5.1.1 <{rcpt}>: User unknown in virtual mailbox table")),
        Reply("5.1.1", said("550 5.1.1 No such user here: {rcpt}")),
        Reply("5.0.0", said("550 there is no mailbox {rcpt} here")),
    ),
    "inactive-mailbox": (
        Reply("5.2.1", said("550 5.2.1 The mailbox of {rcpt} is disabled")),
        Reply("5.2.1", said("554 5.2.1 This account has been suspended ({token})")),
    ),
    "bad-domain": (
        Reply(
            "5.4.4",
            "Host or domain name not found. Name service error for name={domain} type=A: "
            "Host not found",
            False,
            0.2,
        ),
        Reply("5.1.10", "Domain {domain} does not accept mail (nullMX)", False, 0.2),
    ),
    "blocklisted": (
        Reply("5.7.1", said("554 5.7.1 Service unavailable; Client host [{ip}] blocked using bl")),
        Reply("5.7.1", said("550 5.7.1 {ip} is listed on our blacklist, ref {token}", "MAIL FROM")),
    ),
    "spam-content": (
        Reply("5.7.1", said("554 5.7.1 Message rejected as spam (score 17.3)", "end of DATA")),
        Reply("5.7.1", said("550 5.7.1 Looks like spam to us, {token}", "end of DATA")),
    ),
    "mailbox-full": (Reply("5.2.2", said("552 5.2.2 <{rcpt}>: Mailbox is full, quota exceeded")),),
    "message-too-large": (
        Reply("5.3.4", said("552 5.3.4 Message size exceeds fixed maximum message size")),
    ),
    UNDETERMINED: (
        Reply("5.0.0", said("554 the walrus and the carpenter have left, {token}")),
        Reply("5.0.0", said("550 vorpal error {number} on the jabberwock side", "end of DATA")),
    ),
}

PROVIDERS: Final = (
    Provider(
        0.34,
        "goomail.example",
        ("mx-in.goomail.example[192.0.2.26]", "alt1.mx-in.goomail.example[2001:db8:40::1a]"),
        accepted("250 2.0.0 OK  {epoch} {token}-{token}si{number}.{number} - gsmtp"),
        {
            "invalid-recipient": (
                Reply(
                    "5.1.1",
                    said(
                        "550-5.1.1 The account you wrote to could not be found. Look for a slip "
                        "of the 550-5.1.1 pen or a blank in the address. More about it: 550 5.1.1 "
                        " https://help.goomail.example/?p=NoSuchUser {token}.{number} - gsmtp"
                    ),
                ),
            ),
            "rate-limited": (
                Reply(
                    "4.7.28",
                    said(
                        "421-4.7.28 [{ip}] Mail comes from your address at an unusual rate. "
                        "421-4.7.28 It is limited for a while. 421 4.7.28 "
                        " https://help.goomail.example/?p=UnsolicitedRateLimit {token} - gsmtp",
                        "end of DATA",
                    ),
                ),
            ),
        },
    ),
    Provider(
        0.22,
        "outpost.example",
        ("outpost-example.mail.protection.outpost.example[198.51.100.33]",),
        accepted(
            "250 2.6.0 <{token}@outpost.example> [InternalId={number}, Hostname=AM0P{n}.prod."
            "outpost.example] {number} bytes in 0.1{n}, 96.{n} KB/sec Queued mail for delivery"
        ),
        {
            "invalid-recipient": (
                Reply(
                    "5.5.0",
                    said(
                        "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302). "
                        "[{token}.prod.outpost.example 2025-09-01T10:00:00.000Z {token}]"
                    ),
                ),
            ),
            "blocklisted": (
                Reply(
                    "5.7.1",
                    said(
                        "550 5.7.1 Messages from [{ip}] are not accepted: a part of their network "
                        "is on our block list (S3150). [{token}.prod.outpost.example]",
                        "MAIL FROM",
                    ),
                ),
            ),
        },
    ),
    Provider(
        0.12,
        "yodel.example",
        ("mta5.am0.yodeldns.example[203.0.113.72]", "mta7.am0.yodeldns.example[203.0.113.74]"),
        accepted("250 ok dirdel"),
        {
            "rate-limited": (
                Reply(
                    "4.7.0",
                    "host {relay} refused to talk to me: 421 4.7.0 [TSS04] Messages from {ip} "
                    "temporarily deferred due to unexpected volume - 4.16.55.1",
                ),
            ),
            "invalid-recipient": (
                Reply(
                    "5.0.0",
                    said("554 delivery error: dd This user doesn't have a yodel account ({rcpt})"),
                ),
            ),
        },
    ),
    Provider(
        0.22,
        "firm{n}.test",
        ("mail.firm{n}.test[203.0.113.{n}]", "mx2.firm{n}.test[2001:db8:90::{n}]"),
        accepted("250 2.0.0 Ok: queued as {number}{token}"),
        {},
    ),
    Provider(
        0.08,
        "club{n}.test",
        ("mx.club{n}.test[198.51.100.{n}]",),
        accepted("250 OK id=1{token}-00{n}"),
        {},
    ),
    Provider(
        0.02,
        "staff.example",
        ("{host}[private/dovecot-lmtp]",),
        accepted("250 2.0.0 <{rcpt}> Saved"),
        {},
        program="lmtp",
    ),
)
CUMULATED_PROVIDERS: Final = tuple(accumulate(provider.weight for provider in PROVIDERS))

NAMES: Final = tuple(
    f"{first}.{last}"
    for first in "anna bela carl dora emil fritz greta hugo ida jan karin leo mia nora otto".split()
    for last in "adler bauer cerny dvorak ebert fiala gruber horak indra jelinek kraus".split()
)
