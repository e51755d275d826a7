"""What systemd is told: over real sockets, also abstract ones."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from pda.notify import READY, STOPPING, Supervisor
from tests.running import Running


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """Its address as in NOTIFY_SOCKET, and its end."""
    abstract = request.param == "abstract"
    address = f"@pda-{os.getpid()}-{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(address.replace("@", "\0", 1) if abstract else address)
        sock.settimeout(20)
        yield address, sock


def test_the_service_says_when_it_listens_and_when_it_stops(
    systemd: tuple[str, socket.socket], tmp_path: Path
) -> None:
    address, sock = systemd
    with Running(tmp_path, NOTIFY_SOCKET=address, WATCHDOG_USEC="30000000") as service:
        said = {sock.recv(100).decode() for _ in range(2)}
        assert said == {READY, "WATCHDOG=1"}
        service.stop()
        assert sock.recv(100).decode() == STOPPING


async def test_it_is_alive_only_while_it_gets_on(
    systemd: tuple[str, socket.socket],
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    address, sock = systemd
    sock.setblocking(False)
    supervisor = Supervisor({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000"})
    progress: list[object] = [None]

    def told() -> int:
        count = 0
        while True:
            try:
                assert sock.recv(100) == b"WATCHDOG=1"
            except BlockingIOError:
                return count
            count += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.keep_informed, lambda: progress[0])
        await trio.sleep(25)
        assert told() == 3  # nothing to do
        progress[0] = 1
        await trio.sleep(30)
        assert told() == 1  # the first look at it, and no progress since
        assert "nothing was written" in caplog.text
        progress[0] = 2
        await trio.sleep(10)
        assert told() == 1
        nursery.cancel_scope.cancel()


def test_nobody_to_tell(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    Supervisor({}).tell(READY)
    assert not caplog.records
    Supervisor({"NOTIFY_SOCKET": str(tmp_path / "gone")}).tell(READY)
    assert "cannot be told" in caplog.text


@pytest.mark.parametrize(
    ("environment", "patience"),
    [({}, 0), ({"WATCHDOG_USEC": "5000000"}, 5), ({"WATCHDOG_USEC": "x"}, 0),
     ({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"}, 0)],
)  # fmt: skip
def test_whose_watchdog_it_is(environment: dict[str, str], patience: float) -> None:
    assert Supervisor(environment).patience == patience
