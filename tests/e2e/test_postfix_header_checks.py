"""`conf/postfix` in a real Postfix: the header that tells the client is logged as `pda` reads it.

The instance has its own configuration, queue and log, listens on loopback only and delivers
nothing. Postfix itself insists on root for that.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC
from email.message import EmailMessage
from pathlib import Path
from typing import IO

import pytest

from pda.maillog import postfix
from pda.maillog.events import HeaderInfo
from pda.maillog.syslog import HeaderReader

CONF = Path(__file__).parents[2] / "conf/postfix"
PATIENCE = 30.0

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("postmap") is None, reason="Postfix is not installed"),
]

MAIN_CF = """
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
maillog_file_prefixes = /dev/stdout
maillog_file = /dev/stdout
myhostname = mx1.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
local_recipient_maps =
alias_maps =
default_transport = discard:swallowed by the test
header_checks = regexp:{home}/etc/header_checks
"""

MASTER_CF = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup    unix  n - n -     0 cleanup
qmgr       unix  n - n 300   1 qmgr
rewrite    unix  - - n -     - trivial-rewrite
bounce     unix  - - n -     0 bounce
defer      unix  - - n -     0 bounce
trace      unix  - - n -     0 bounce
proxymap   unix  - - n -     - proxymap
anvil      unix  - - n -     1 anvil
discard    unix  - - n -     - discard
error      unix  - - n -     - error
retry      unix  - - n -     - error
postlog    unix-dgram n - n - 1 postlogd
"""


LOGGED = ["client-id: shop", "Client-ID: shop", "client-id:shop"]
NOT_LOGGED = ["x-client-id: shop", "subject: client-id: shop", "client-identity: shop"]


def test_the_table_fires_for_the_header_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "main.cf").write_text("compatibility_level = 3.6\nmyhostname = mx1.example\n")
    done = subprocess.run(
        ["postmap", "-c", str(tmp_path), "-q", "-", f"regexp:{CONF / 'header_checks'}"],
        input="\n".join(LOGGED + NOT_LOGGED),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [f"{header}\tINFO" for header in LOGGED]


class Log:
    """What a Postfix in the foreground writes, line by line, each within a bounded time."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._rest = b""
        self.seen: list[str] = []

    def wait_for(self, words: str) -> str:
        """The next line that holds these words; fail with what was seen instead."""
        while words not in (line := self._next()):
            pass
        return line

    def _next(self) -> str:
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._stream], [], [], PATIENCE)
            more = os.read(self._stream.fileno(), 65_536) if ready else b""
            assert more, f"Postfix fell silent; it said: {self.seen}"
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        self.seen.append(line.decode())
        return self.seen[-1]


def free_port() -> int:
    """A port of loopback that nothing uses."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.fixture
def instance() -> Iterator[tuple[Log, int]]:
    """A running Postfix with the shipped settings: its log and its SMTP port."""
    if os.geteuid() != 0:
        pytest.skip("running a Postfix of one's own needs root")
    port = free_port()
    # Not tmp_path: Postfix's own user must be able to walk into it.
    with tempfile.TemporaryDirectory(prefix="pda-postfix-") as name:
        home = Path(name)
        home.chmod(0o755)
        for directory in ("etc", "queue", "data"):
            (home / directory).mkdir()
        shutil.chown(home / "data", "postfix")
        shutil.copy(CONF / "header_checks", home / "etc")
        shipped = (CONF / "main.cf").read_text()
        # header_checks is the one path that has to be another here.
        shipped = shipped.replace("header_checks = regexp:/etc/postfix/header_checks", "")
        (home / "etc/main.cf").write_text(shipped + MAIN_CF.format(home=home))
        (home / "etc/master.cf").write_text(MASTER_CF.format(port=port))
        with subprocess.Popen(
            ["postfix", "-c", str(home / "etc"), "start-fg"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as running:
            assert running.stdout is not None
            try:
                log = Log(running.stdout)
                log.wait_for("daemon started")
                yield log, port
            finally:
                # Quicker than `postfix stop`, which looks once a second.
                os.kill(int((home / "queue/pid/master.pid").read_text()), signal.SIGTERM)
                running.wait(PATIENCE)


def send(port: int, headers: dict[str, str]) -> None:
    """Hand in one message."""
    message = EmailMessage()
    message["From"] = "app@shop.example"
    message["To"] = "anna@far.example"
    message["Subject"] = "a test"
    for name, value in headers.items():
        message[name] = value
    message.set_content("Hello")
    with smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE) as smtp:
        smtp.send_message(message)


def test_postfix_logs_the_client_as_pda_reads_it(instance: tuple[Log, int]) -> None:
    log, port = instance
    send(port, {"X-Client-ID": "not this one"})
    log.wait_for(": removed")
    assert not [said for said in log.seen if "info: header" in said]
    send(port, {"Client-ID": "web shop 7"})
    line = log.wait_for(": info: header ")
    header = HeaderReader(UTC).read(line, 0)
    assert header is not None
    queue_id, record = postfix.read(header.text, header.program, header.syslog_name)
    assert isinstance(record, HeaderInfo)
    assert (record.header_name, record.header_value) == ("Client-ID", "web shop 7")
    assert record.sender == "app@shop.example"
    assert record.recipient == "anna@far.example"
    # enable_long_queue_ids: ten digits of time, a z, the inode.
    assert queue_id[10] == "z"
    log.wait_for(f"{queue_id}: removed")
    assert not [said for said in log.seen if "warning:" in said or "unused parameter" in said]


def test_postconf_knows_every_shipped_setting(tmp_path: Path) -> None:
    shutil.copy(CONF / "main.cf", tmp_path)
    (tmp_path / "master.cf").touch()
    done = subprocess.run(
        ["postconf", "-c", str(tmp_path), "-n"], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    known = [line for line in done.stdout.splitlines() if not line.startswith("config_directory")]
    assert known == [
        "enable_long_queue_ids = yes",
        "header_checks = regexp:/etc/postfix/header_checks",
        "maximal_backoff_time = 40h",
        "maximal_queue_lifetime = 6d",
        "minimal_backoff_time = 240s",
        "nested_header_checks =",
    ]
