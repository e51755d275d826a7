"""The real service as a process of its own, on ports that the kernel chooses."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from pda import orders
from pda.store import queries
from pda.store.database import find_key, open_reader
from pda.store.queries import AttemptRow, Filter, OutcomeRow

_T = TypeVar("_T")
PDA = [sys.executable, "-m", "pda"]
SOURCE = Path(__file__).parent.parent / "src"


def eventually(question: Callable[[], _T], wanted: Callable[[_T], bool], seconds: float = 20) -> _T:
    """Asks until the answer is as wanted; fails with the last answer when time is up."""
    end = time.monotonic() + seconds
    pause = 0.005
    while True:
        answer = question()
        if wanted(answer):
            return answer
        assert time.monotonic() < end, f"after {seconds} s still {answer!r}"
        select_nothing(pause)
        pause = min(pause * 1.5, 0.1)


def select_nothing(seconds: float) -> None:
    """Another process has to do something first: there is no event to wait for."""
    time.sleep(seconds)


class Running:
    """One service with its own database; may be started again on it."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PDA_")},
            "PYTHONPATH": str(SOURCE),
            "PDA_STORE_PATH": str(folder / "pda.db"),
            "PDA_RECEIVE_LISTEN": "tcp://127.0.0.1:0,udp://127.0.0.1:0",
            "PDA_RECEIVE_ZONE": "Europe/Prague",
            "PDA_HTTP_BIND": "127.0.0.1:0",
            **environment,
        }
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Running:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.stop(signal.SIGKILL)

    def start(self) -> None:
        """Starts, and waits until it is ready."""
        with self.log.open("ab") as log:
            begun = log.tell()
            self.process = subprocess.Popen([*PDA, "serve"], env=self.environment, stderr=log)
        eventually(lambda: self._said(begun), lambda text: "is ready" in text, 60)

    def _said(self, begun: int) -> str:
        assert self.process is not None
        text = self.log.read_bytes()[begun:].decode()
        assert self.process.poll() is None, text
        return text

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal and waits for the end; the exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(30)
        self.process = None
        return status

    def pda(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Runs a command with the same settings."""
        return subprocess.run(
            [*PDA, *arguments], env=self.environment, input=stdin, capture_output=True, check=False
        )

    def status(self) -> dict[str, Any]:
        """What the service says of itself."""
        sock = orders.running(self.folder / "pda.db.sock")
        assert sock is not None, self.log.read_text()
        (reply,) = orders.ask(sock, orders.GetStatus())
        found: dict[str, Any] = json.loads(bytes(reply.body))
        return found

    def port(self, protocol: str) -> int:
        """Where it listens."""
        listeners = self.status()["listeners"]
        (address,) = [one["address"] for one in listeners if one["protocol"] == protocol]
        return int(address.rpartition(":")[2])

    def get(self, path: str) -> Any:
        """The JSON that a path answers."""
        with urllib.request.urlopen(self.status()["http"][0] + path, timeout=30) as answer:
            return json.load(answer)

    def text(self, path: str) -> str:
        """What a path answers."""
        with urllib.request.urlopen(self.status()["http"][0] + path, timeout=30) as answer:
            return str(answer.read().decode())

    def ask_http(self, method: str, path: str) -> Any:
        """The JSON that an action answers."""
        asked = urllib.request.Request(self.status()["http"][0] + path, method=method)
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return json.load(answer)

    def result(self, path: str) -> Any:
        """The `result` in the original's envelope."""
        return self.get(path)["result"]

    def ask(self, question: Callable[..., list[_T]], **wanted: Any) -> list[_T]:
        """The answer to a question of `queries`, from the database itself."""
        database = self.folder / "pda.db"
        connection = open_reader(database, find_key(database, self.folder / "pda.db.key"))
        try:
            return question(connection, Filter(**wanted))
        finally:
            connection.close()

    def attempts(self) -> list[AttemptRow]:
        """All attempts."""
        return self.ask(queries.attempts)

    def outcomes(self) -> list[OutcomeRow]:
        """All outcomes."""
        return self.ask(queries.outcomes)

    def send(self, lines: Iterable[bytes], *, read_to_end: bool = True) -> None:
        """Sends lines over TCP, and waits until the service has read them."""
        with socket.create_connection(("127.0.0.1", self.port("tcp"))) as sock:
            sock.sendall(b"".join(line + b"\n" for line in lines))
            if read_to_end:
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(1024):
                    pass


def unpacked(path: Path) -> list[bytes]:
    """The lines of a log, plain or gzip."""
    data = path.read_bytes()
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    return data.splitlines()
