"""What an entry can be found by: hashes of addresses, their domains, Message-IDs, notifications.

Owns the hash; where they are kept is in `pieces`. A hash may be that of something else too: whoever
looks one up has to compare the entry itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from hashlib import blake2b
from struct import Struct
from typing import Literal, TypeAlias

from pda.maillog.events import Summary

Kind: TypeAlias = Literal["recipient", "address", "domain", "message-id", "notification"]


def term(kind: Kind, text: str) -> int:
    """32 bits, signed."""
    octets = f"{kind}:{text}".encode("utf-8", "surrogatepass")
    return _as_signed(blake2b(octets, digest_size=4).digest())[0]


_as_signed: Callable[[bytes], tuple[int]] = Struct(">i").unpack
domain_term = lru_cache(8192)(partial(term, "domain"))
"""That of a domain: many addresses have the same."""


def terms_of(summary: Summary, recipients: Iterable[str]) -> list[int]:
    """All by which an entry with this summary and these recipients can be found."""
    found = [term("message-id", name) for name in {summary.message_id, summary.msg_id} - {""}]
    recipients = list(recipients)
    found += [term("recipient", recipient) for recipient in recipients]
    domains = {recipient.rpartition("@")[2] for recipient in recipients}
    return [*found, *map(domain_term, domains), *notification_terms(summary)]


def notification_terms(summary: Summary) -> list[int]:
    """Those of the notifications about it: so the message that one is about can be found.

    When it is removed they stay until all of their piece has gone: to unpack its facts for them
    would cost more than the few are worth, and whoever looks one up compares the entry.
    """
    return [term("notification", queue_id) for queue_id in summary.notifications]
