"""A message to try with: the log lines of one delivery, sent to the service's own listener.

Owns these lines and their way there, over the network as a mail host's would come. The address is
one that cannot exist (RFC 2606): no client and no real domain has it among its figures.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

import trio

from pda.web.ports import TEST_RECIPIENT, ListenerStatus

_HOST: Final = "pda-test"
_PATIENCE_S: Final = 3.0


def lines(now: datetime) -> list[bytes]:
    """What Postfix would log of a message that is delivered at once, in its order."""
    queue_id = secrets.token_hex(5).upper()
    sent = (
        f"to=<{TEST_RECIPIENT}>, relay=mx.pda-test.invalid[192.0.2.1]:25, delay=0.4,"
        " delays=0.1/0/0.2/0.1, dsn=2.0.0, status=sent (250 2.0.0 Ok: a test of pda)"
    )
    told = (
        ("pickup", "uid=0 from=<pda>"),
        ("cleanup", f"message-id=<{queue_id.lower()}@{_HOST}.invalid>"),
        ("qmgr", "from=<pda@pda-test.invalid>, size=420, nrcpt=1 (queue active)"),
        ("smtp", sent),
        ("qmgr", "removed"),
    )
    begun = now.astimezone(UTC) - timedelta(seconds=1)
    return [
        f"<22>{begun + timedelta(milliseconds=100 * n):%Y-%m-%dT%H:%M:%S.%f}+00:00 {_HOST}"
        f" postfix/{program}[1]: {queue_id}: {text}".encode()
        for n, (program, text) in enumerate(told)
    ]


async def send(listeners: Iterable[ListenerStatus], now: datetime) -> str:
    """Sends them to a listener without TLS; why they could not be sent, empty if they were."""
    plain = {one.protocol: one.address for one in listeners}
    for protocol in ("tcp", "udp"):
        if protocol in plain:
            host, _, port = plain[protocol].rpartition(":")
            host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host.strip("[]"), host.strip("[]"))  # noqa: S104
            try:
                with trio.fail_after(_PATIENCE_S):
                    await _SENDERS[protocol](host, int(port), lines(now))
            except (OSError, trio.TooSlowError) as error:
                return f"the listener at {plain[protocol]} does not take it: {error}"
            return ""
    return "no listener for plain TCP or UDP is configured: [receive] listen"


async def _over_tcp(host: str, port: int, told: list[bytes]) -> None:
    stream = await trio.open_tcp_stream(host, port)
    async with stream:
        await stream.send_all(b"".join(line + b"\n" for line in told))
        await stream.send_eof()
        while await stream.receive_some():
            pass


async def _over_udp(host: str, port: int, told: list[bytes]) -> None:
    family = trio.socket.AF_INET6 if ":" in host else trio.socket.AF_INET
    with trio.socket.socket(family, trio.socket.SOCK_DGRAM) as sock:
        for line in told:
            await sock.sendto(line, (host, port))


_SENDERS: Final = {"tcp": _over_tcp, "udp": _over_udp}
