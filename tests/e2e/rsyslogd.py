"""A real rsyslogd of our own: its own log socket, work directory and one of our shipped rules.

Needs no privileges and touches nothing of the system's rsyslogd. Started and stopped by its pid.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import trio

RULES = Path(__file__).parents[2] / "rsyslog"
RSYSLOGD = shutil.which("rsyslogd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
needs_rsyslogd = pytest.mark.skipif(RSYSLOGD is None, reason="rsyslogd is not installed")
needs_omrelp = pytest.mark.skipif(
    not list(Path("/usr/lib").glob("**/rsyslog/omrelp.so")), reason="rsyslog-relp is not installed"
)

Protocol = Literal["udp", "tcp", "relp"]
Framing = Literal["octet-counted", "traditional"]

# `workDirectory` first: a rule's queue wants it. No other input: the machine's own log is not ours.
_CONFIGURATION = """\
global(workDirectory="{directory}")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{directory}/log" {limit})
{rule}
"""


@dataclass(frozen=True)
class Rsyslogd:
    """A running rsyslogd."""

    pid: int
    log: Path
    """The socket that programs log to, as /dev/log."""

    async def write(self, tag: str, texts: list[str]) -> None:
        """Log the texts as a program with this tag (`postfix/smtp[123]`) does, facility mail."""
        with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            await sock.connect(str(self.log))
            for text in texts:
                await sock.send(f"<22>Nov 22 09:38:38 {tag}: {text}".encode())


def shipped_rule(
    protocol: Protocol, port: int, framing: Framing = "octet-counted", timeout: int = 90
) -> str:
    """One of our rules as an operator would adapt it, but with sooner retries and stops."""
    usual = 2514 if protocol == "relp" else 5514
    changes = {
        f'port="{usual}"': f'port="{port}"',
        'action.resumeInterval="5"': 'action.resumeInterval="1"',
        'queue.timeoutShutdown="10000"': 'queue.timeoutShutdown="1000"',
    }
    if protocol == "relp":
        changes[' timeout="90"'] = f' timeout="{timeout}"'
    if protocol == "tcp":
        changes['TCP_Framing="octet-counted"'] = f'TCP_Framing="{framing}"'
    rule = (RULES / f"pda-{protocol}.conf").read_text()
    for shipped, changed in changes.items():
        assert rule.count(shipped) == 1, f"{shipped} has gone from pda-{protocol}.conf"
        rule = rule.replace(shipped, changed)
    return rule


def by_tls(rule: str, authority: Path, certificate: Path, key: Path) -> str:
    """A shipped rule with its lines for TLS, to a server called 127.0.0.1."""
    rule = rule.replace('module(load="omrelp")\n', "")
    rule = re.sub(r"^( *)#(?=[a-zA-Z.]+[=(])(?!global)", r"\1", rule, flags=re.MULTILINE)
    for shipped, changed in (
        ("/etc/ssl/pda/ca.pem", authority),
        ("/etc/ssl/pda/mx1.pem", certificate),
        ("/etc/ssl/pda/mx1.key", key),
        ("pda.example.org", "localhost"),
    ):
        assert rule.count(f'"{shipped}"') == 1, f"{shipped} has gone from the rule"
        rule = rule.replace(f'"{shipped}"', f'"{changed}"')
    return rule


@asynccontextmanager
async def running_rsyslogd(
    rule: str, limit: str = 'RateLimit.Interval="0"'
) -> AsyncIterator[Rsyslogd]:
    """Run rsyslogd with this rule; at the end stop it orderly and remove its work directory."""
    assert RSYSLOGD, "mark the test with `needs_rsyslogd`"
    # A short path: the address of a unix socket has at most 107 octets.
    with tempfile.TemporaryDirectory(prefix="pda-rsyslogd-") as name:
        directory = Path(name)
        configuration = directory / "rsyslog.conf"
        configuration.write_text(_CONFIGURATION.format(directory=directory, rule=rule, limit=limit))
        command = [RSYSLOGD, "-n", "-f", str(configuration), "-i", str(directory / "pid")]
        process = await trio.lowlevel.open_process(command, stdin=subprocess.DEVNULL)
        try:
            await _listening(directory / "log", process)
            yield Rsyslogd(process.pid, directory / "log")
        finally:
            with trio.CancelScope(shield=True):
                process.terminate()
                with trio.move_on_after(20) as patience:
                    await process.wait()
                if patience.cancelled_caught:
                    process.kill()
                    await process.wait()


async def _listening(log: Path, process: trio.Process) -> None:
    """Wait for the socket: rsyslogd tells nobody else when it is ready."""
    with trio.fail_after(10):
        while not await trio.Path(log).exists():
            assert process.poll() is None, f"rsyslogd ended with status {process.returncode}"
            await trio.sleep(0.01)
