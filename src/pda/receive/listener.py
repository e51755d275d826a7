"""What may be listened at, what is handed on, and what is counted.

Owns these values and the checks of a listener; opens no socket.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Literal, TypeAlias, get_args

from pda.maillog.framing import DEFAULT_LIMIT
from pda.tls import Certificates

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = tuple[str, int]
"""Host and port."""
Protocol: TypeAlias = Literal["udp", "tcp", "tls", "relp", "relps"]
WITH_TLS = frozenset(["tls", "relps"])
"""Syslog over TLS (RFC 5425), and RELP over TLS from its first octet on."""
ACKNOWLEDGED = frozenset(["relp", "relps"])
"""Those whose senders wait until their lines are durable."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One socket to receive from; checked when made.

    Raises ValueError, in one sentence, for what cannot work or is not safe.
    """

    protocol: Protocol
    host: str
    """An IPv4 or IPv6 address; `0.0.0.0` or `::` for all that the machine has of that kind."""
    port: int
    """0 lets the kernel choose."""
    zone: str = ""
    """For stamps without a zone: an IANA name; empty for the service's own default."""
    hostname: str = ""
    """Handed on with each line; empty where the line's header has it."""
    allow: tuple[Network, ...] = ()
    """Who may send; required beyond loopback."""
    max_connections: int = 1000
    limit: int = DEFAULT_LIMIT
    """Octets of one line; the rest of a longer one is cut off."""
    certificates: Certificates | None = None
    """For TLS, and only there."""

    def __post_init__(self) -> None:
        if self.protocol not in get_args(Protocol):
            raise ValueError(f"protocol {self.protocol!r} is none of {get_args(Protocol)}")
        try:
            address = ip_address(self.host)
        except ValueError:
            raise ValueError(
                f"host {self.host!r} is no IP address: write 127.0.0.1, ::1, 0.0.0.0 or ::"
            ) from None
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port {self.port} is not between 0 and 65535")
        if (self.certificates is not None) != (self.protocol in WITH_TLS):
            raise ValueError(f"{self.protocol} with a certificate where none belongs, or without")
        if self.max_connections < 1 or self.limit < 1:
            raise ValueError("max_connections and limit must be at least 1")
        if not address.is_loopback and not self.allow:
            raise ValueError(
                f"a listener on {self.host} can be reached from other machines: "
                "list the networks that may send to it in 'allow'"
            )

    def admits(self, host: str) -> bool:
        """Whether a sender of this address may send."""
        return not self.allow or any(ip_address(host) in network for network in self.allow)


@dataclass(frozen=True, slots=True)
class Lines:
    """What was read at once, in its order, without framing and trailers."""

    lines: list[bytes]
    received_at: int
    """µs since the epoch."""
    zone: str
    hostname: str
    octets: int
    """Of all of them."""
    partial: bool = False
    """The only line was cut by the end of its stream: to be taken only if it is complete."""
    stored: Callable[[], None] | None = None
    """To be called once all of them are durable, in the order of their reading; never if not."""
    kept: bool = False
    """They are durable elsewhere: `stored` is to be called too, but no sender waits for it."""


_DROPS = (
    "kernel_drops",
    "oversize",
    "incomplete",
    "bad_framing",
    "bad_tls",
    "refused_senders",
    "refused_connections",
)


@dataclass(slots=True)
class Counters:
    """What happened at one listener since it was started; nothing is dropped uncounted."""

    lines: int = 0
    octets: int = 0
    nul: int = 0
    """NUL octets seen; some senders end their frames with one."""
    oversize: int = 0
    """Lines cut at the limit."""
    partial: int = 0
    """Lines cut by the end of their stream, handed on as such."""
    incomplete: int = 0
    """Counted frames cut by the end of their stream, dropped."""
    bad_framing: int = 0
    """Connections closed because what they sent cannot be what is listened for."""
    bad_tls: int = 0
    """TLS handshakes that failed, and certificates of others that may not send."""
    acknowledged: int = 0
    """RELP messages whose sender was told that they are stored."""
    unacknowledged: int = 0
    """RELP messages handed on that are not stored yet."""
    refused_senders: int = 0
    """Datagrams and connections from addresses that may not send."""
    refused_connections: int = 0
    """Connections over the maximum."""
    connections: int = 0
    connections_open: int = 0
    connection_errors: int = 0
    """Connections that broke, or could not be accepted."""
    kernel_drops: int = 0
    """Datagrams that the kernel dropped because its buffer was full."""
    receive_buffer: int = 0
    """Octets of the kernel's buffer for datagrams."""
    last_line_at: int = 0
    """µs since the epoch."""

    @property
    def dropped(self) -> dict[str, int]:
        """Those that tell of lines that were not taken, or not whole; by name, but for zeros."""
        return {name: count for name in _DROPS if (count := getattr(self, name))}
