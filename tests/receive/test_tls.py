"""TLS on the receiving edge, over real loopback sockets."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio
import trio.testing

from pda.receive import Listener
from pda.tls import Certificates
from tests.certificates import Authority
from tests.receive.support import LINE, Edge, count, end_of, running, until
from tests.receive.test_relp import OPEN, answers, frames, store


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def tls(authority: Authority, *peers: str, ask: bool = False, protocol: str = "tls") -> Listener:
    certificates = Certificates(authority.files(*peers, client_ca=ask))
    return Listener(protocol, "127.0.0.1", 0, certificates=certificates)  # type: ignore[arg-type]


async def secured(edge: Edge, context: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
    stream = trio.SSLStream(
        await edge.connect(), context, server_hostname="127.0.0.1", https_compatible=True
    )
    await stream.do_handshake()
    return stream


@pytest.mark.parametrize("protocol", ["tcp", "tls", "relp", "relps"])
def test_a_certificate_belongs_to_tls_and_nowhere_else(protocol: str, authority: Authority) -> None:
    with_one = tls(authority).certificates
    wrong = None if protocol in {"tls", "relps"} else with_one
    with pytest.raises(ValueError, match="certificate"):
        Listener(protocol, "127.0.0.1", 0, certificates=wrong)  # type: ignore[arg-type]


async def test_lines_by_tls(authority: Authority) -> None:
    async with running(tls(authority)) as edge:
        stream = await secured(edge, authority.context())
        await stream.send_all(count(LINE) * 2000 + LINE + b"\n" + LINE[:20])
        await stream.aclose()
        assert await edge.lines(2002) == [LINE] * 2001 + [LINE[:20]]
        await until(lambda: edge.counters.connections_open == 0)
    assert (edge.counters.partial, edge.counters.bad_tls) == (1, 0)


async def test_relp_by_tls(authority: Authority) -> None:
    async with running(tls(authority, protocol="relps")) as edge:
        stream = await secured(edge, authority.context())
        await stream.send_all(OPEN + frames(2, LINE) + b"3 close 0\n")
        assert store(await edge.channel.receive()) == [LINE]
        found = b"".join([octets async for octets in stream])
        assert found.endswith(answers(2, 2) + b"3 rsp 0\n0 serverclose 0\n")


@pytest.mark.parametrize(
    ("name", "admitted"), [("mx1", True), ("mx2", False), ("", False)], ids=str
)
async def test_only_peers_with_a_permitted_certificate(
    authority: Authority, name: str, admitted: bool
) -> None:
    context = authority.context(*filter(None, [name]))
    async with running(tls(authority, "mx1", ask=True)) as edge:
        stream = await secured(edge, context)  # TLS 1.3: the client does not know yet
        try:
            await stream.send_all(count(LINE))
            got = [octets async for octets in stream] if not admitted else []
        except trio.BrokenResourceError:
            got = []
        assert got == []
        if admitted:
            assert await edge.lines(1) == [LINE]
        await until(lambda: edge.counters.bad_tls == (not admitted))
    assert edge.counters.lines == admitted


async def test_a_certificate_by_another_authority_is_refused(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    context = authority.context()
    context.load_cert_chain(*Authority(elsewhere).issue("mx1"))
    async with running(tls(authority, "mx1", ask=True)) as edge:
        await secured(edge, context)
        await until(lambda: edge.counters.bad_tls == 1)
    assert "TLS: CERTIFICATE_VERIFY_FAILED" in caplog.text


@pytest.mark.parametrize("greeting", [count(LINE), OPEN, b"GET / HTTP/1.1\r\n\r\n", b"\0" * 500])
async def test_what_is_not_tls_closes_only_its_connection(
    authority: Authority, greeting: bytes
) -> None:
    async with running(tls(authority)) as edge:
        good, stream = await secured(edge, authority.context()), await edge.connect()
        await stream.send_all(greeting)
        await end_of(stream)
        await good.send_all(count(LINE))
        assert await edge.lines(1) == [LINE]
    assert (edge.counters.bad_tls, edge.counters.lines) == (1, 1)


async def test_a_handshake_that_stalls_is_given_up(
    authority: Authority, autojump_clock: trio.testing.MockClock
) -> None:
    autojump_clock.autojump_threshold = 0.05
    async with running(tls(authority)) as edge:
        stream = await edge.connect()
        assert await end_of(stream) == b""
    assert edge.counters.bad_tls == 1


async def test_new_connections_use_the_certificate_that_was_read_again(
    authority: Authority,
) -> None:
    listener = tls(authority, ask=True)
    context = authority.context("mx1")
    async with running(listener) as edge:
        first = await secured(edge, context)
        authority.files()
        assert listener.certificates is not None
        listener.certificates.reload()
        second = await secured(edge, context)
        shown = [stream.getpeercert()["serialNumber"] for stream in (first, second)]
        assert shown[0] != shown[1]
        await first.send_all(count(b"<1>a"))  # goes on as it began
        assert await edge.lines(1) == [b"<1>a"]
        await second.send_all(count(b"<1>b"))
        assert await edge.lines(1) == [b"<1>b"]


@pytest.mark.parametrize("protocol", ["tls", "relps"])
async def test_a_stop_lets_the_sender_see_our_end(authority: Authority, protocol: str) -> None:
    """By the FIN alone, as an rsyslog sees it that looks before each batch without reading."""
    async with running(tls(authority, protocol=protocol)) as edge:
        stream = await secured(edge, authority.context())
        await until(lambda: edge.counters.connections_open == 1)
        edge.stop.set()
        peeked = stream.transport_stream.socket
        assert await peeked.recv(1, 2) == b""  # MSG_PEEK
        if protocol == "tls":
            await stream.send_all(count(LINE))
        peeked.close()
        assert await edge.rest() == ([LINE] if protocol == "tls" else [])
