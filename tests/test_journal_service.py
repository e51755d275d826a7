"""The real service: what was acknowledged over RELP is there after whatever happens to it."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pda.store.database import find_key, open_writer, roll_back
from tests.running import Running, eventually
from tests.support import attempt

OPEN = b"1 open 16 commands=syslog\n\n"
COUNT = 300


def relp(folder: Path) -> Running:
    return Running(folder, PDA_RECEIVE_LISTEN="relp://127.0.0.1:0,tcp://127.0.0.1:0")


def numbered(first: int, count: int = COUNT) -> list[bytes]:
    return [
        attempt(queue_id=f"4jXPlN1VQlz{n:04}", to=f"u{n}@example.org")
        for n in range(first, first + count)
    ]


def acknowledged(service: Running, lines: list[bytes]) -> None:
    """Sends, and waits until each one is acknowledged."""
    frames = b"".join(b"%d syslog %d %s\n" % (n, len(one), one) for n, one in enumerate(lines, 2))
    with socket.create_connection(("127.0.0.1", service.port("relp")), timeout=20) as sock:
        sock.sendall(OPEN + frames)
        found = b""
        while not found.endswith(b"%d rsp 6 200 OK\n" % (len(lines) + 1)):
            octets = sock.recv(65536)
            assert octets, found
            found += octets


@contextmanager
def locked(service: Running) -> Iterator[None]:
    """As by a foreign program: nothing can be committed."""
    database = service.folder / "pda.db"
    other = open_writer(database, find_key(database, service.folder / "pda.db.key"))
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        roll_back(other)
        other.close()


def journal(service: Running) -> dict[str, Any]:
    found: dict[str, Any] = service.status()["journal"]
    return found


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("pda.db.journal.*"))


def attempts(service: Running) -> int:
    return len(service.attempts())


def test_what_was_acknowledged_survives_kill_9_though_it_was_in_no_transaction(
    tmp_path: Path,
) -> None:
    with relp(tmp_path) as service:
        with locked(service):
            acknowledged(service, numbered(0))
            assert journal(service)["waiting"] == COUNT
            assert attempts(service) == 0
            service.stop(signal.SIGKILL)
        service.start()
        eventually(lambda: attempts(service), lambda n: n == COUNT)
        assert journal(service)["read_again"] == COUNT
        acknowledged(service, numbered(COUNT, 10))
        eventually(lambda: attempts(service), lambda n: n == COUNT + 10)
        eventually(lambda: journal(service)["waiting"], lambda n: n == 0)
        fates = service.status()["fates"]
        assert (fates["new"], sum(fates.values())) == (COUNT + 10, COUNT + 10)


def test_a_stop_leaves_no_journal(tmp_path: Path) -> None:
    with relp(tmp_path) as service:
        acknowledged(service, numbered(0))
        assert service.stop() == 0
        assert files(tmp_path) == []
        assert attempts(service) == COUNT


def test_what_nobody_waits_for_is_not_kept_twice(tmp_path: Path) -> None:
    with relp(tmp_path) as service:
        service.send(numbered(0))
        eventually(lambda: attempts(service), lambda n: n == COUNT)
        assert journal(service)["kept"] == 0
        assert files(tmp_path) == []


def test_what_was_known_is_known_again_after_kill_9(tmp_path: Path) -> None:
    """A journal that is there again, though all of it is in the database."""
    with relp(tmp_path) as service:
        with locked(service):
            acknowledged(service, numbered(0))
            kept = {file: file.read_bytes() for file in files(tmp_path)}
            assert kept
        eventually(lambda: attempts(service), lambda n: n == COUNT)
        service.stop(signal.SIGKILL)
        for file, octets in kept.items():
            file.write_bytes(octets)
        service.start()
        eventually(lambda: service.status()["fates"]["known"], lambda n: n == COUNT)
        assert attempts(service) == COUNT
        assert service.status()["fates"]["new"] == 0


def test_the_journal_outlasts_another_key_of_the_database(tmp_path: Path) -> None:
    with relp(tmp_path) as service:
        with locked(service):
            acknowledged(service, numbered(0))
            service.stop(signal.SIGKILL)
        assert service.pda("db", "rekey").returncode == 0
        service.start()
        eventually(lambda: attempts(service), lambda n: n == COUNT)


def test_the_journal_of_another_database_is_kept_aside(tmp_path: Path) -> None:
    with relp(tmp_path) as service:
        with locked(service):
            acknowledged(service, numbered(0))
            service.stop(signal.SIGKILL)
        for file in tmp_path.glob("pda.db*"):
            if ".journal." not in file.name:
                file.unlink()
        service.start()
        eventually(lambda: journal(service)["damaged"], lambda n: n == 1)
        assert [".unreadable-" in file.name for file in files(tmp_path)] == [True]
        acknowledged(service, numbered(0, 5))
        eventually(lambda: attempts(service), lambda n: n == 5)
