"""Where may something be sent to: addresses that a stranger names must not lead into this network.

Owns what is refused, and the name look-up behind it: what is connected to is the very address that
was looked at. By default https and public addresses only.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

import msgspec
import trio

_TUNNELS = [ip_network(one) for one in ("64:ff9b::/96", "2001::/32", "2002::/16")]
"""NAT64, Teredo and 6to4: behind a public address there may be a private one."""


class RefusedError(ValueError):
    """Nothing is sent there; a sentence that says why."""


class Destination(msgspec.Struct, frozen=True):
    """Where a URL leads to."""

    url: str
    """With the address in the place of the name."""
    host: str
    """The name, as the header Host has it."""
    name: str
    """The name alone, as a certificate has it."""


class Destinations:
    """What may be reached: public addresses by https, and whatever lies in private networks."""

    def __init__(self, private: Sequence[str] = ()) -> None:
        self._private = [ip_network(network) for network in private]

    async def resolve(self, url: str) -> Destination:
        """Where it leads to now; raises `RefusedError`."""
        parts = parsed(url)
        name, port = str(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80)
        try:
            found = await trio.socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise RefusedError(f"the name of the host is not found: {error.strerror}") from None
        addresses = [str(address[4][0]).partition("%")[0] for address in found]
        for address in addresses:
            self._check(address, parts.scheme)
        shown = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
        path = parts._replace(netloc=f"{shown}:{port}", fragment="").geturl()
        return Destination(path, parts.netloc, name)

    def _check(self, address: str, scheme: str) -> None:
        ip = ip_address(address)
        if isinstance(ip, IPv6Address):
            ip = ip.ipv4_mapped or ip
        if any(ip in network for network in self._private):
            return
        if not ip.is_global or ip.is_multicast or any(ip in network for network in _TUNNELS):
            raise RefusedError("the host is at a private address: [webhooks] allow_private")
        if scheme != "https":
            raise RefusedError("http:// is for networks in [webhooks] allow_private only")


def parsed(url: str) -> SplitResult:
    """A URL whose form can be used; raises `RefusedError`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise RefusedError("this is no URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise RefusedError("https://HOST/PATH is expected")
    if parts.username is not None or parts.password is not None:
        raise RefusedError("user name and password cannot stand in it: use the signature")
    if not url.isascii() or any(character <= " " for character in url):
        raise RefusedError("it holds characters that no URL has")
    return parts
