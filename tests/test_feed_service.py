"""Feed and stream of the real service, through kills and restarts."""

from __future__ import annotations

import http.client
import json
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pda.maillog.events import State
from tests.maillog.test_chain import THROUGH_A_FILTER
from tests.running import Running
from tests.support import attempt, message

LATER = "2026-03-10T10:05:00.000000+00:00"


def lines_of(n: int) -> list[bytes]:
    """A message that is deferred, and delivered or bounced later."""
    queue_id = f"4jXPlN1VQlzJb{n:02}"
    tail = attempt(at=LATER, delay="300", queue_id=queue_id)
    if n % 3 == 0:
        tail = attempt("bounced", at=LATER, delay="300", queue_id=queue_id, dsn="5.1.1")
    return message(
        queue_id,
        message_id=f"<98494.{n}.1@shop>",
        deliveries=[attempt("deferred", queue_id=queue_id, dsn="4.0.0", reason="later"), tail],
    )


class Reader:
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.cursor = "0"
        self.known: dict[str, str] = {}
        self.told: set[int] = set()
        """Numbers of changes."""

    def take(self, change: dict[str, Any]) -> None:
        self.told.add(change["change"])
        if change["state"] == "withdrawn":
            self.known.pop(change["key"], None)
        else:
            self.known[change["key"]] = change["state"]


def poll(service: Running, reader: Reader) -> None:
    more = True
    while more:
        answer = service.get(f"/api/v1/outcomes/changes?after={reader.cursor}&limit=7&wait=0.2")
        for change in answer["changes"]:
            reader.take(change)
        reader.cursor, more = answer["cursor"], answer["more"] or bool(answer["changes"])


def stream(service: Running, reader: Reader) -> None:
    """Until there is nothing for a moment."""
    host = service.status()["http"][0].removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=0.5)
    connection.request("GET", "/api/v1/stream", headers={"Last-Event-ID": reader.cursor})
    try:
        for name, value in fields(connection.getresponse()):
            if name == "data":
                reader.take(json.loads(value))
            elif name == "id":
                reader.cursor = value
    except TimeoutError:
        pass
    finally:
        connection.close()


def fields(answer: http.client.HTTPResponse) -> Iterator[tuple[str, str]]:
    """The cursor of an event counts once the event is whole."""
    waiting: list[tuple[str, str]] = []
    while line := answer.readline():
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            waiting.append((name, value))
        else:
            yield from sorted(waiting)
            waiting.clear()


@pytest.mark.parametrize("read", [poll, stream])
def test_a_reader_that_resumes_ends_with_what_is_stored(
    tmp_path: Path, read: Callable[[Running, Reader], None]
) -> None:
    chance = random.Random(7)
    lines = [*THROUGH_A_FILTER, *(line for n in range(12) for line in lines_of(n))]
    chance.shuffle(lines)
    reader, resumed = Reader(), 0
    with Running(tmp_path) as service:
        for number, sent in enumerate(range(0, len(lines), 15)):
            # Whoever was not acknowledged sends again. Each third time they are not waited for.
            service.send(lines[max(0, sent - 15) : sent + 15], read_to_end=number % 3 < 2)
            if number % 3 < 2:
                service.get(f"/api/v1/outcomes/changes?after={reader.cursor}&wait=10&limit=1")
            before = len(reader.told)
            read(service, reader)
            resumed += len(reader.told) > before > 0
            service.stop(chance.choice([signal.SIGKILL, signal.SIGTERM]))
            service.start()
        service.send(lines)
        service.stop()
        service.start()
        read(service, reader)
        stored = {f"{row.queue_id}:{row.recipient}": row.state for row in service.outcomes()}
        told = service.get("/api/v1/outcomes/changes?limit=1000")["changes"]
    assert resumed > 3
    assert {change["change"] for change in told} <= reader.told  # each at least once
    by_key = {change["key"]: f"{change['queue_id']}:{change['recipient']}" for change in told}
    assert {by_key[key]: state for key, state in reader.known.items()} == stored
    assert len(stored) == 14
    assert {State.HARD_BOUNCE.label, State.FINALLY_OK.label} <= set(stored.values())


def test_a_stop_does_not_wait_for_those_who_wait(tmp_path: Path) -> None:
    with Running(tmp_path) as service:
        host = service.status()["http"][0].removeprefix("http://")
        waiting = [http.client.HTTPConnection(host, timeout=20) for _ in range(2)]
        for connection, path in zip(
            waiting, ("/api/v1/stream", "/api/v1/outcomes/changes?wait=60"), strict=True
        ):
            connection.request("GET", path)
        answer = waiting[0].getresponse()
        assert answer.readline() == b"retry: 2000\n"
        assert service.stop() == 0
        assert answer.read() == b"\n"
        assert waiting[1].getresponse().status == 200
        for connection in waiting:
            connection.close()
