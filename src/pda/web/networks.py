"""Addresses and networks of those who ask.

Owns how they are read and compared: an IPv4 address that came in over IPv6 is that IPv4 address.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network


def address_of(text: str | None) -> Address | None:
    """An address, with or without zone; None for what is none."""
    try:
        address = ip_address((text or "").partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def networks_of(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks, or single addresses; raises ValueError."""
    return tuple(ip_network(text) for text in texts)


def within(address: Address | None, networks: Sequence[Network]) -> bool:
    """Whether an address belongs to one of the networks."""
    return address is not None and any(address in network for network in networks)


def is_loopback(peer: str | None) -> bool:
    """Whether an address is this machine's own; a peer without address is not known to be."""
    address = address_of(peer)
    return address is not None and address.is_loopback


def subscriber(peer: str) -> str:
    """Whoever holds one IPv6 address holds a /64 of them: the address that stands for all."""
    address = address_of(peer)
    if isinstance(address, IPv6Address):
        return str(IPv6Address(int(address) >> 64 << 64))
    return peer if address is None else str(address)
