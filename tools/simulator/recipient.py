"""One recipient: who it is, what lies before it, what has happened so far. Logs nothing."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable
from typing import Final, TypedDict

from tools.simulator.hosts import Host
from tools.simulator.providers import (
    ANY_BOUNCED,
    ANY_DEFERRED,
    CUMULATED_FATES,
    CUMULATED_PROVIDERS,
    FATES,
    HARD,
    NAMES,
    PROVIDERS,
    UNDETERMINED,
    Fate,
    Provider,
    Reply,
)

DELIVERED: Final = FATES[0]
GREYLISTED: Final = FATES[1]
COMPANY: Final = PROVIDERS[3]


class RecipientRow(TypedDict):
    """The truth about one recipient of a queue entry."""

    recipient: str
    outcome: str
    """A state as pda names them."""
    category: str
    """Of the last failure; empty where none is left."""
    attempts: int
    first_at: int | None
    """First attempt, µs since the epoch."""
    last_at: int | None


class Recipient:
    """One recipient, what lies before it and what has happened so far."""

    __slots__ = (
        "address", "attempts", "category", "fate", "first_at", "last_at", "left",
        "orig_to", "outcome", "provider", "relay", "variant",
    )  # fmt: skip

    def __init__(self, address: str, provider: Provider, relay: str, fate: Fate) -> None:
        self.address = address
        self.orig_to = ""
        self.provider = provider
        self.relay = relay
        self.fate = fate
        self.left = fate.deferrals
        self.variant = 0
        self.attempts = 0
        self.first_at: int | None = None
        self.last_at: int | None = None
        self.outcome = "pending"
        self.category = ""

    def next_reply(self) -> tuple[Reply, str, str]:
        """Reply, status and category of the next attempt."""
        status, category, common = "bounced", self.fate.bounced_for, ANY_BOUNCED
        if self.left:
            status, category, common = "deferred", self.fate.deferred_for, ANY_DEFERRED
            self.left -= 1
        if not category:
            return self.provider.accepted, "sent", ""
        replies = self.provider.replies.get(category) or common[category]
        return replies[self.variant % len(replies)], status, category

    def settle(self, status: str, category: str, at: int) -> None:
        """Take note of an attempt."""
        self.attempts += 1
        self.first_at = at if self.first_at is None else self.first_at
        self.last_at = at
        self.category = category
        if status == "sent":
            self.outcome = "finally-ok" if self.attempts > 1 else "delivered"
        elif status == "bounced":
            self.outcome = bounce(category)

    def row(self, otherwise: str) -> RecipientRow:
        """The truth; `otherwise` is what a recipient is that nothing became of yet."""
        return {
            "recipient": self.address,
            "outcome": otherwise if self.outcome == "pending" else self.outcome,
            "category": self.category,
            "attempts": self.attempts,
            "first_at": self.first_at,
            "last_at": self.last_at,
        }


def bounce(category: str) -> str:
    """What a final failure of this category is."""
    if category == UNDETERMINED:
        return "undetermined-bounce"
    return "hard-bounce" if category in HARD else "soft-bounce"


def draw_recipient(rand: Callable[[], float], host: Host) -> Recipient:
    """Someone to write to."""
    provider = PROVIDERS[bisect(CUMULATED_PROVIDERS, rand() * CUMULATED_PROVIDERS[-1])]
    number = str(1 + int(rand() * 250))
    address = (
        f"{NAMES[int(rand() * len(NAMES))]}{int(rand() * 100)}"
        f"@{provider.domain.replace('{n}', number)}"
    )
    relay = provider.relays[int(rand() * len(provider.relays))].replace("{n}", number)
    fate = FATES[bisect(CUMULATED_FATES, rand() * CUMULATED_FATES[-1])]
    if provider.program == "lmtp":
        relay, fate = relay.replace("{host}", host.fqdn), DELIVERED
    recipient = Recipient(address, provider, relay, fate)
    if fate is not DELIVERED:
        recipient.variant = int(rand() * 6)
        if recipient.left > 0:
            recipient.left = 1 + int(rand() * recipient.left)
    if rand() < 0.01:
        recipient.orig_to = f"all@{host.fqdn}"
    return recipient
