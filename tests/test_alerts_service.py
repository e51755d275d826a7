"""Alerts of the real service, through a kill, a restart and a mail server that is away."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.alerts.test_room import mails
from tests.mailserver import Sink, free_port, taking_mail
from tests.running import Running, eventually


def service(folder: Path, port: int) -> Running:
    return Running(
        folder,
        PDA_ALERTS_RECIPIENTS="ops@example.org",
        PDA_ALERTS_SENDER="pda@example.net",
        PDA_ALERTS_SMTP=f"smtp://127.0.0.1:{port}",
        PDA_ALERTS_DISK_FREE_PERCENT="0",
        PDA_ALERTS_SILENCE_H="0",
    )


def titles(sink: Sink) -> list[str]:
    return [mail["Subject"].partition("] ")[2] for mail in sink.mails]


def told(sink: Sink) -> list[str]:
    """The heads of what the mails tell, the service's own faults first."""
    lines = [line for mail in sink.mails for line in mail.get_content().splitlines()]
    heads = [head for head, where in zip(lines, lines[2:], strict=False) if "Where: " in where]
    return sorted(heads, key=lambda head: not head.startswith("fault"))


def test_told_once_whatever_happens_in_between(tmp_path: Path) -> None:
    now = time.time_ns() // 1000
    port = free_port()
    with service(tmp_path, port) as running:
        running.send(
            [*mails(20, at=now - 60_000_000), *mails(80, "sent", at=now - 60_000_000, first=20)]
        )
        eventually(lambda: len(running.attempts()), lambda n: n == 100)
        running.stop(signal.SIGKILL)
        running.start()  # it looks for the first time, and the mail server is away
        eventually(lambda: running.get("/api/v1/alerts")["alerts"], lambda found: len(found) == 3)
        running.stop(signal.SIGKILL)
        with taking_mail(port=port) as sink:
            running.start()
            eventually(lambda: told(sink), lambda found: len(found) == 3, 60)
            done = running.pda("alerts", "test")
            assert (done.returncode, done.stdout) == (0, b"mail ops@example.org: sent\n")
            running.stop()
            running.start()
            assert len(running.get("/api/v1/alerts")["alerts"]) == 4
            running.stop(signal.SIGKILL)
    bounces = ["20 % bounces, client shop", "20 % bounces, domain example.org"]
    killed, *others = told(sink)
    assert killed == "fault: pda was killed, or failed; it had begun at…"
    assert others == [*bounces, "test of alerts", "pda stops"]


def test_a_stop_is_no_kill(tmp_path: Path) -> None:
    with Running(tmp_path) as running:
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
            running.stop(number)
            running.start()
        log = running.log.read_text()
    assert log.count("pda was killed, or failed") == 1


def test_what_is_said_where_nobody_is_told(tmp_path: Path) -> None:
    with Running(tmp_path) as running:
        done = running.pda("alerts", "test")
        assert (done.returncode, b"alerts are off" in done.stderr) == (1, True)
        running.stop()
        assert running.pda("alerts", "test").returncode == 3


@pytest.mark.parametrize("answer", ["550 5.1.1 nobody", "450 4.2.0 later"])
def test_a_test_that_does_not_arrive(tmp_path: Path, answer: str) -> None:
    with taking_mail() as sink, service(tmp_path, sink.port) as running:
        sink.answers = [answer]
        done = running.pda("alerts", "test")
        assert done.returncode == 1
        assert answer.encode() in done.stdout
