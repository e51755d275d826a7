"""The real rsyslogd with our shipped rules forwards to our receiver: every line arrives, whole."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from pda.receive import Address, Counters, Lines, Listener, serve
from pda.receive import Protocol as ListenerProtocol
from pda.tls import Certificates
from tests.certificates import Authority
from tests.e2e.rsyslogd import (
    Framing,
    Protocol,
    by_tls,
    needs_omrelp,
    needs_rsyslogd,
    running_rsyslogd,
    shipped_rule,
)

pytestmark = [pytest.mark.e2e, needs_rsyslogd]

# Longer than the 32 characters at which rsyslog's own templates cut it.
TAG = "postfix-outbound/submission/smtpd[1234567]"
# The rules' template: PRI, RFC 3339 stamp with µs and offset, host, the whole tag, the text.
FORM = re.compile(
    rb"<22>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(?:Z|[+-]\d\d:\d\d) [^ ]+ "
    + re.escape(TAG).encode()
    + rb": (.*)",
    re.DOTALL,
)


needs_tls = pytest.mark.skipif(
    len([*Path("/usr/lib").glob("*/rsyslog/lmnsd_gtls.so")]) == 0, reason="no rsyslog-gnutls"
)


@dataclass
class Received:
    """What came so far, and a way to wait for it."""

    address: Address
    counters: Counters
    texts: list[str]
    more: trio.Event = field(default_factory=trio.Event)

    def add(self, batch: Lines) -> None:
        if batch.stored is not None:
            batch.stored()
        for line in batch.lines:
            match = FORM.fullmatch(line)
            assert match, line
            self.texts.append(match[1].decode())
        self.more.set()
        self.more = trio.Event()

    async def until(self, number: int) -> None:
        """Wait until so many different lines are here."""
        while len(set(self.texts)) < number:
            await self.more.wait()


@asynccontextmanager
async def receiving(
    protocol: ListenerProtocol,
    port: int = 0,
    texts: list[str] | None = None,
    certificates: Certificates | None = None,
) -> AsyncIterator[Received]:
    """A listener, and a task that adds what it hands on to `texts`."""
    sender, receiver = trio.open_memory_channel[Lines](100)
    counters, stop = Counters(), trio.Event()
    listener = Listener(protocol, "127.0.0.1", port, certificates=certificates)
    async with trio.open_nursery() as nursery:
        address = await nursery.start(serve, listener, sender, counters, stop)
        received = Received(address, counters, [] if texts is None else texts)

        async def take() -> None:
            async for batch in receiver:
                received.add(batch)

        nursery.start_soon(take)
        yield received
        stop.set()


@pytest.mark.parametrize(
    ("protocol", "framing"),
    [
        ("udp", "octet-counted"),
        ("tcp", "traditional"),
        ("tcp", "octet-counted"),
        pytest.param("relp", "octet-counted", marks=needs_omrelp),
    ],
    ids=["udp", "tcp-lf", "tcp-octet-counted", "relp"],
)
async def test_every_line_arrives(protocol: Protocol, framing: Framing) -> None:
    texts = [f"4XkABC{number}: to=<ü@example.com>, status=sent" for number in range(3000)]
    with trio.fail_after(30):
        async with receiving(protocol) as received:
            rule = shipped_rule(protocol, received.address[1], framing)
            async with running_rsyslogd(rule) as rsyslogd:
                await rsyslogd.write(TAG, texts)
                await received.until(len(texts))
    assert received.texts == texts
    assert received.counters.kernel_drops == 0


@needs_omrelp
@needs_tls
@pytest.mark.parametrize(("plain", "protocol"), [("relp", "relps"), ("tcp", "tls")])
async def test_every_line_arrives_by_tls(
    plain: Protocol, protocol: ListenerProtocol, tmp_path: Path
) -> None:
    """Each side asks for the other's certificate, and looks at the name in it."""
    authority = Authority(tmp_path)
    certificates = Certificates(authority.files("mx1", client_ca=True))
    texts = [f"4XkABC{number}: removed" for number in range(3000)]
    with trio.fail_after(30):
        async with receiving(protocol, certificates=certificates) as received:
            rule = shipped_rule(plain, received.address[1])
            rule = by_tls(rule, authority.file, *authority.issue("mx1"))
            async with running_rsyslogd(rule) as rsyslogd:
                await rsyslogd.write(TAG, texts)
                await received.until(len(texts))
    assert received.texts == texts
    assert received.counters.bad_tls == 0


async def test_a_graceful_stop_loses_nothing() -> None:
    """rsyslogd sees our end before its next batch, and keeps that for the next receiver."""
    texts = [f"4XkABC{number}: removed" for number in range(30_000)]
    found: list[str] = []
    async with receiving("tcp") as received:
        port = received.address[1]
    with trio.fail_after(120):  # rsyslogd pauses 5 s and more after each stop
        async with (
            running_rsyslogd(shipped_rule("tcp", port)) as rsyslogd,
            trio.open_nursery() as nursery,
        ):
            for start in (0, 10_000, 20_000):
                nursery.start_soon(rsyslogd.write, TAG, texts[start : start + 10_000])
                async with receiving("tcp", port, found) as received:
                    await received.until(start + 1000)  # and stop amid the rest
            async with receiving("tcp", port, found) as received:
                await received.until(len(texts))
    assert set(found) == set(texts)
