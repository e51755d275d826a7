"""What strays to the ports of the real service: counted, closed, and nothing else happens."""

from __future__ import annotations

import os
import socket
import ssl
from contextlib import suppress
from pathlib import Path

import pytest

from tests.running import Running, eventually
from tests.support import attempt

pytestmark = pytest.mark.e2e

MEGABYTE = b"x" * 1_000_000
ENDLESS = int(os.environ.get("PDA_TEST_ENDLESS_MB", "64"))
"""Megabytes without a line feed; a longer form asks for 1000."""


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def to_the_end(port: int, *pieces: bytes) -> bytes:
    """What the service answers to somebody who sends these until it is turned away."""
    with connected(port) as sock:
        with suppress(OSError):
            for piece in pieces:
                sock.sendall(piece)
            sock.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            return sock.recv(1000)
    return b""


def test_strangers_are_counted_and_closed(tmp_path: Path) -> None:
    listen = "tcp://127.0.0.1:0,relp://127.0.0.1:0,udp://127.0.0.1:0"
    with Running(tmp_path, PDA_RECEIVE_LISTEN=listen) as service:
        before = service.status()["sizes"]["resident memory octets"]
        ports = {protocol: service.port(protocol) for protocol in ("tcp", "relp")}
        hello = ssl.create_default_context()
        for port in ports.values():
            for _ in range(100):  # a port scan
                connected(port).close()
            for _ in range(20):
                assert to_the_end(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == b""
                with pytest.raises(OSError), connected(port) as sock:  # noqa: PT011 reset, or EOF
                    hello.wrap_socket(sock, server_hostname="localhost")
        to_the_end(ports["tcp"], *[MEGABYTE] * ENDLESS)
        to_the_end(ports["relp"], b"1 open 0\n2 syslog 999999999 ", *[MEGABYTE] * min(ENDLESS, 999))

        def counters() -> dict[str, dict[str, int]]:
            return {one["protocol"]: one["counters"] for one in service.status()["listeners"]}

        eventually(counters, lambda c: not any(one["connections_open"] for one in c.values()))
        found = counters()
        for protocol in ports:
            assert found[protocol]["connections"] == 141
        # And what does not end within 16 MiB is closed too.
        assert (found["tcp"]["bad_framing"], found["relp"]["bad_framing"]) == (41, 40)
        assert (found["tcp"]["oversize"], found["tcp"]["lines"]) == (1, 1)
        assert found["relp"]["lines"] == 0
        service.send([attempt()])  # and others are served as before
        eventually(service.attempts, lambda rows: len(rows) == 1)
        assert service.get("/api/v1/status")["healthy"]
        assert service.status()["sizes"]["resident memory octets"] < before + 40_000_000
        said = [line for line in service.log.read_text().splitlines() if "127.0.0.1" in line]
        assert len([line for line in said if "closed a connection" in line]) <= 2, said
        assert "Traceback" not in service.log.read_text()
