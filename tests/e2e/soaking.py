"""A day of mail in minutes: does the service stay as small as it was, with retention at work?

A generated day is sent over TCP as fast as the service takes it, while the oldest messages are
removed, settings are read again and the API is asked. `test_soak` runs a short form, `tools/soak`
a whole day of a busy host.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.running import Running, eventually

ROOT = Path(__file__).resolve().parent.parent.parent
_EVERY_S = 2.0
_PATIENCE_S = 60.0
"""Without anything settled."""
_QUESTIONS = ("/api/v1/status", "/api/v1/outcomes?limit=100", "/api/v1/coverage")


@dataclass
class Course:
    """What was seen on the way."""

    memory: list[tuple[int, int]] = field(default_factory=list)
    """Lines that had their fate, and octets then."""
    wal: int = 0
    """The most octets of the write-ahead log."""
    looked_at: float = 0.0
    late: Counter[str] = field(default_factory=Counter)
    """Questions that were not answered in half a minute."""

    def look(self, service: Running) -> None:
        """Notes sizes, and lets the service do what it does now and then."""
        if time.monotonic() < self.looked_at:
            return
        status = service.status()
        sizes, fates = status["sizes"], status["fates"]
        self.memory.append((settled(fates), sizes["resident memory octets"]))
        self.wal = max(self.wal, sizes["write-ahead log octets"])
        for question in _QUESTIONS:
            try:
                service.get(question)
            except OSError:
                self.late[question] += 1
        assert service.process is not None
        service.process.send_signal(signal.SIGHUP)  # tidies up, reads settings and rules again
        self.looked_at = time.monotonic() + _EVERY_S

    def look_at_the_end(self, service: Running) -> None:
        """As long after the questions of the look before as at all others."""
        eventually(time.monotonic, lambda now: now >= self.looked_at, 2 * _EVERY_S)
        self.look(service)

    def memory_at(self, part: float) -> int:
        """The first that was seen from that part of the way on."""
        last = self.memory[-1][0]
        return next(octets for lines, octets in self.memory if lines >= part * last)


@dataclass(frozen=True, slots=True)
class Soaked:
    """What came of it."""

    course: Course
    sent: int
    """Lines."""
    seconds: float
    fates: dict[str, int]
    database: int
    """Octets in the end, with the room that is free."""
    removed: int
    """Queue entries, by retention."""
    damages: str
    """What `pda db check` finds."""


def settled(fates: dict[str, int]) -> int:
    """Lines that wait for nothing."""
    return sum(fates.values()) - fates["waiting"]


def generated(messages: int) -> subprocess.Popen[bytes]:
    """A day's log on standard output."""
    command = [sys.executable, "-m", "tools.simulator", "--messages", str(messages), "--days", "1"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def send(service: Running, messages: int, course: Course) -> int:
    """All lines; how many."""
    sent = 0
    with generated(messages) as log:
        assert log.stdout is not None
        with socket.create_connection(("127.0.0.1", service.port("tcp"))) as sock:
            while lines := log.stdout.readlines(256 * 1024):
                sock.sendall(b"".join(lines))
                sent += len(lines)
                course.look(service)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(1024):
                pass
    return sent


def all_settled(service: Running, course: Course) -> dict[str, int]:
    """Waits until no line waits, or none gets any further: a busy machine takes its time."""
    fates: dict[str, int] = service.status()["fates"]
    while fates["waiting"]:
        before = settled(fates)

        def gets_on(now: dict[str, int], before: int = before) -> bool:
            return settled(now) > before or not now["waiting"]

        fates = eventually(lambda: dict(service.status()["fates"]), gets_on, _PATIENCE_S)
        course.look(service)
    return fates


def soak(folder: Path, messages: int, max_bytes: int, open_entries: int) -> Soaked:
    """A day with so many messages; the database may have so many octets."""
    course = Course()
    service = Running(
        folder,
        PDA_RETENTION_MAX_BYTES=str(max_bytes),
        PDA_WRITER_OPEN_ENTRIES=str(open_entries),
    )
    with service:
        begun = time.monotonic()
        sent = send(service, messages, course)
        fates = all_settled(service, course)
        seconds = time.monotonic() - begun
        course.look_at_the_end(service)
        database = eventually(
            lambda: service.status()["sizes"]["database octets"],
            lambda octets: octets <= max_bytes, 120,
        )  # fmt: skip
        removed = int(_metric(service, "pda_removed_entries_total"))
        service.stop()
    check = service.pda("db", "check")
    damages = check.stdout.decode() if check.returncode else ""
    return Soaked(course, sent, seconds, fates, database, removed, damages)


def _metric(service: Running, name: str) -> float:
    """Of what Prometheus is told."""
    (line,) = [line for line in service.text("/metrics").splitlines() if line.startswith(name)]
    return float(line.split()[-1])
