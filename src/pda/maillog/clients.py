"""Which application sent a message: its client id.

Owns the order of the places where a client id is looked for, and who may claim which. Knows
neither where the rules were configured nor what is done with the answer.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Literal, TypeAlias

import msgspec

from pda.maillog.events import Connected, HeaderInfo, MessageId, Pickup

_NOTIFIER = "double-bounce"
"""Of notifications to the postmaster (postconf(5), double_bounce_sender)."""

Place: TypeAlias = Literal["message-id", "header", "sasl", "sender-domain"]

# The original's form: 98494 is Java's hash of "cid".
MESSAGE_ID_PATTERN = r"<(?P<msg_id>98494\.[^@<>]+)@(?P<client>[^<>]+)>"


class Binding(msgspec.Struct, frozen=True):
    """Who may claim a client id."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    sasl_users: frozenset[str] = frozenset()
    local: bool = False
    """Handed in by sendmail(1) on the mail host itself."""


class ClientRules(msgspec.Struct, frozen=True):
    """Where a client id is looked for, in order, and who is bound to which."""

    places: tuple[Place, ...] = ("message-id", "header", "sasl", "sender-domain")
    pattern: re.Pattern[str] = re.compile(MESSAGE_ID_PATTERN)
    header: str = "client-id"
    bindings: dict[str, Binding] = {}


class Clues(msgspec.Struct):
    """What the facts of a queue entry offer to tell the client from."""

    message_id: MessageId | None = None
    headers: list[HeaderInfo] = []
    connected: Connected | None = None
    pickup: Pickup | None = None
    sender: str | None = None


class Client(msgspec.Struct, frozen=True):
    """The client id found, or the one claimed by somebody it is not bound to."""

    client_id: str = ""
    claimed_id: str = ""
    msg_id: str = ""


def identify(clues: Clues, rules: ClientRules) -> Client:
    """The client of a message, by the first place that names one."""
    msg_id, named = _named_by_message_id(clues.message_id, rules)
    for place in rules.places:
        name = named if place == "message-id" else _NAMED[place](clues, rules)
        if not name:
            continue
        if not may_claim(name, clues, rules):
            return Client(claimed_id=name, msg_id=msg_id)
        return Client(client_id=name, msg_id=msg_id)
    return Client(msg_id=msg_id)


def may_claim(client_id: str, clues: Clues, rules: ClientRules) -> bool:
    """Whether whoever handed the message in may speak for this client; unbound ids are free."""
    binding = rules.bindings.get(client_id)
    if binding is None:
        return True
    if clues.pickup is not None and binding.local:
        return True
    connected = clues.connected
    if connected is None:
        return False
    return connected.sasl_username in binding.sasl_users or _inside(
        connected.client_ip, binding.networks
    )


def at_the_door(client_ip: str, sasl_username: str, rules: ClientRules) -> str:
    """Whose mail was refused, as far as that is certain; empty where it is not.

    A sender's domain is anybody's claim at the door: only a network or a SASL user tells.
    """
    bound = [
        client_id
        for client_id, binding in rules.bindings.items()
        if sasl_username in binding.sasl_users or _inside(client_ip, binding.networks)
    ]
    if bound:
        return bound[0] if len(bound) == 1 else ""
    named = "sasl" in rules.places and sasl_username not in rules.bindings
    return sasl_username if named else ""


def _inside(address: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    return any(ip in network for network in networks)


def _named_by_message_id(record: MessageId | None, rules: ClientRules) -> tuple[str, str]:
    """`msgId` and client of a Message-ID of the agreed form."""
    found = rules.pattern.fullmatch(record.message_id_raw) if record else None
    if found is None:
        return "", ""
    groups = found.groupdict("")
    return groups.get("msg_id", ""), groups.get("client", "")


def _named_by_header(clues: Clues, rules: ClientRules) -> str:
    """In what has no sender, a notification, it is likely that of the message enclosed."""
    for header in clues.headers:
        name = header.header_name or ""
        if name.lower() == rules.header.lower() and header.header_value and header.sender != "":
            return header.header_value
    return ""


def _named_by_sasl(clues: Clues, _: ClientRules) -> str:
    return clues.connected.sasl_username if clues.connected else ""


def _named_by_sender_domain(clues: Clues, _: ClientRules) -> str:
    local, at, domain = (clues.sender or "").rpartition("@")
    return domain.lower() if at and local != _NOTIFIER else ""


_NAMED = {
    "header": _named_by_header,
    "sasl": _named_by_sasl,
    "sender-domain": _named_by_sender_domain,
}
