"""The real service with certificates: HTTPS and syslog by TLS, and files that are read again."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import urllib.request
from pathlib import Path

from tests.certificates import Authority
from tests.running import Running, eventually
from tests.support import attempt


def shown(context: ssl.SSLContext, port: int) -> object:
    """The certificate that a listener shows now."""
    with (
        socket.create_connection(("127.0.0.1", port)) as sock,
        context.wrap_socket(sock, server_hostname="127.0.0.1") as secured,
    ):
        return (secured.getpeercert() or {})["serialNumber"]


def test_certificates_are_read_again_at_sighup(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files, context = authority.files(), authority.context()
    certificate, key = str(files.certificate), str(files.key)
    environment = {"PDA_RECEIVE_LISTEN": "tls://127.0.0.1:0"}
    for section in ("HTTP", "RECEIVE"):
        environment |= {f"PDA_{section}_CERTIFICATE": certificate, f"PDA_{section}_KEY": key}
    with Running(tmp_path, **environment) as service:
        (address,) = service.status()["http"]
        assert address.startswith("https://127.0.0.1:")
        with urllib.request.urlopen(f"{address}/api/v1/status", context=context) as answer:
            assert json.load(answer)["healthy"]
        ports = [service.port("tls"), int(address.rpartition(":")[2])]
        before = [shown(context, port) for port in ports]
        files.key.write_bytes(b"no key")
        assert service.process is not None
        service.process.send_signal(signal.SIGHUP)
        eventually(service.log.read_text, lambda text: text.count("keeps its certificate") == 2)
        assert [shown(context, port) for port in ports] == before
        authority.files()
        service.process.send_signal(signal.SIGHUP)
        eventually(service.log.read_text, lambda text: text.count("certificate read again") == 2)
        after = [shown(context, port) for port in ports]
        assert after[0] == after[1] != before[0]
        with (
            socket.create_connection(("127.0.0.1", ports[0])) as sock,
            context.wrap_socket(sock, server_hostname="127.0.0.1") as secured,
        ):
            secured.sendall(attempt() + b"\n")
        eventually(service.attempts, lambda found: len(found) == 1)


def test_who_does_not_speak_tls_is_in_the_status(tmp_path: Path) -> None:
    files = Authority(tmp_path).files()
    environment = {
        "PDA_RECEIVE_LISTEN": "tls://127.0.0.1:0",
        "PDA_RECEIVE_CERTIFICATE": str(files.certificate),
        "PDA_RECEIVE_KEY": str(files.key),
    }
    with Running(tmp_path, **environment) as service:
        assert b" 0 lines; dropped or refused: none\n" in service.pda("status").stdout
        with socket.create_connection(("127.0.0.1", service.port("tls"))) as sock:
            sock.sendall(attempt() + b"\n")
            while sock.recv(1000):
                pass
        assert b" 0 lines; dropped or refused: 1 bad tls\n" in service.pda("status").stdout
        assert "1 bad tls" in service.text("/system")


def test_a_certificate_that_cannot_be_used_is_said_at_the_start(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("localhost")
    key.chmod(0o644)
    for variable in ("HTTP", "RECEIVE"):
        named = {f"PDA_{variable}_CERTIFICATE": str(certificate), f"PDA_{variable}_KEY": str(key)}
        service = Running(tmp_path, PDA_RECEIVE_LISTEN="tls://127.0.0.1:0", **named)
        if variable == "HTTP":
            service.environment["PDA_RECEIVE_LISTEN"] = "tcp://127.0.0.1:0"
        done = service.pda("serve")
        assert done.returncode == 1
        assert b"can be read by everybody: chmod 0600" in done.stderr
        assert b"Traceback" not in done.stderr
