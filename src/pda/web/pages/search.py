"""One search box: what somebody may mean by what they type.

Owns how a text is understood. Pure. An address, part of one, a domain, a queue id, a message id, a
client: what fits best is tried first.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Final

import msgspec

from pda.store.queries import Filter

MOST: Final = 500
"""Characters."""
_QUEUE_ID: Final = re.compile(r"[0-9A-F]{6,15}|[0-9A-Za-z]{12,20}")
_DOMAIN: Final = re.compile(r"@?(?=[^@]*\.)[\w-]+(\.[\w-]+)+\.?")
_ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s]+")
WORDS: Final = {
    "recipient": "recipient",
    "domain": "recipient domain",
    "queue_id": "queue id",
    "message_id": "message id",
    "client": "client",
    "sender": "sender",
    "text": "part of an address",
}


class Meaning(msgspec.Struct, frozen=True):
    """One way to understand a text."""

    member: str
    """Of the `Filter`."""
    value: str

    @property
    def word(self) -> str:
        return WORDS[self.member]

    def narrowed(self, wanted: Filter) -> Filter:
        """The filter with this in it; a client that was given before stays."""
        if self.member == "client" and wanted.client not in (None, self.value):
            return msgspec.structs.replace(wanted, limit=0)
        changes: dict[str, Any] = {self.member: self.value}
        return msgspec.structs.replace(wanted, **changes)


def meanings(text: str, clients: Collection[str]) -> list[Meaning]:
    """The ways to understand a text, the likeliest first; always that it is part of an address."""
    text = text.strip()[:MOST]
    if not text:
        return []
    found = []
    bare = text.removeprefix("<").removesuffix(">")
    if text.startswith("<"):
        found.append(Meaning("message_id", text))
    if text in clients:
        found.append(Meaning("client", text))
    if _ADDRESS.fullmatch(bare):
        found += [Meaning("recipient", bare), Meaning("message_id", bare), Meaning("sender", bare)]
    if _DOMAIN.fullmatch(text):
        found.append(Meaning("domain", text.removeprefix("@").removesuffix(".")))
    if _QUEUE_ID.fullmatch(text):
        found.append(Meaning("queue_id", text))
    found.append(Meaning("text", bare))
    return list(dict.fromkeys(found))
