"""What the receiver has to endure: a real rsyslogd sends, and the service is hurt meanwhile.

Each ordeal takes how long and how hard, and tells what was sent and what is stored. The tests
beside this module run short forms, `tools/torture` long ones.
"""

from __future__ import annotations

import json
import random
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import trio

from pda import orders
from pda.store.database import find_key, open_reader
from tests.e2e.rsyslogd import Protocol, Rsyslogd, running_rsyslogd, shipped_rule
from tests.running import Running

_T = TypeVar("_T")
_TAG = "postfix/smtp[4711]"
_RECIPIENTS = 10
"""Of a queue entry."""
_PATIENCE_S = 150.0
"""Without anything new in the store, after all was sent: between two tries to connect rsyslogd may
wait for a minute (`action.resumeIntervalMax`), and then has a window of messages still."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    sent: int
    rows: int
    recipients: int
    """Different ones, of as many as were sent."""

    @property
    def lost(self) -> int:
        return self.sent - self.recipients

    @property
    def doubled(self) -> int:
        return self.rows - self.recipients


def records(first: int, last: int) -> list[str]:
    """Numbered delivery records."""
    return [
        f"4jXP{number // _RECIPIENTS:011d}: to=<u{number}@example.net>,"
        " relay=mx.example.net[192.0.2.1]:25, delay=1.5, delays=0.1/0/0.4/1, dsn=2.0.0,"
        " status=sent (250 2.0.0 Ok)"
        for number in range(first, last)
    ]


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Of loopback; a service that is started again listens there again."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def in_thread(function: Callable[[], _T]) -> _T:
    """What waits for another process, beside the tasks."""
    return await trio.to_thread.run_sync(function)


def stored(folder: Path) -> tuple[int, int]:
    """Delivery attempts, and their different recipients."""
    database = folder / "pda.db"
    reader = open_reader(database, find_key(database, folder / "pda.db.key"))
    try:
        row = reader.execute("SELECT count(*), count(DISTINCT recipient) FROM attempt_told")
        rows, recipients = row.fetchall()[0]
    finally:
        reader.close()
    assert isinstance(rows, int)
    assert isinstance(recipients, int)
    return rows, recipients


async def all_stored(folder: Path, sent: int) -> Outcome:
    """Waits until all that was sent is stored, or nothing more comes."""
    most, since = -1, trio.current_time()
    while True:
        rows, recipients = await in_thread(partial(stored, folder))
        now = trio.current_time()
        if recipients > most:
            most, since = recipients, now
        if recipients >= sent or now - since > _PATIENCE_S:
            return Outcome(sent, rows, recipients)
        await trio.sleep(max(0.2, sent / 500_000))


async def send(rsyslogd: Rsyslogd, count: int, sent: trio.Event, rate: float = 0) -> None:
    """Logs numbered records, in pieces, at so many a second (0: as fast as rsyslogd takes them)."""
    begun, piece = trio.current_time(), 1000
    for first in range(0, count, piece):
        await rsyslogd.write(_TAG, records(first, min(first + piece, count)))
        if rate:
            await trio.sleep_until(begun + (first + piece) / rate)
    sent.set()


@dataclass(frozen=True, slots=True)
class Hurts:
    """How often the service is hurt, at random moments, and how."""

    kills: int = 0
    """With SIGKILL, and started again."""
    freezes: int = 0
    """With SIGSTOP, for longer than the sender waits for an acknowledgement."""
    restarts: int = 0
    """With SIGTERM, as by an operator."""
    pause_s: float = 1.0
    """Between two, in the mean."""


_FREEZE_S, _TIMEOUT_S = 5.0, 3


async def hurt(service: Running, hurts: Hurts) -> None:
    """Does all of it, in random order."""
    acts = ["kill"] * hurts.kills + ["freeze"] * hurts.freezes + ["restart"] * hurts.restarts
    random.shuffle(acts)
    for act in acts:
        await trio.sleep(random.uniform(0, 2 * hurts.pause_s))
        if act == "freeze":
            assert service.process is not None
            service.process.send_signal(signal.SIGSTOP)
            await trio.sleep(_FREEZE_S)
            service.process.send_signal(signal.SIGCONT)
        else:
            number = signal.SIGKILL if act == "kill" else signal.SIGTERM
            await in_thread(partial(service.stop, number))
            await in_thread(service.start)


@asynccontextmanager
async def served(
    protocol: Protocol,
    folder: Path,
    store: Path | None = None,
    patience_s: int = 90,
    more: str = "",
) -> AsyncIterator[tuple[Running, Rsyslogd]]:
    """A service, and an rsyslogd that forwards to it by a shipped rule, and does `more`."""
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    port = free_port(kind)
    service = Running(folder, PDA_RECEIVE_LISTEN=f"{protocol}://127.0.0.1:{port}")
    service.environment["PDA_STORE_PATH"] = str((store or folder) / "pda.db")
    await in_thread(service.start)
    try:
        async with running_rsyslogd(
            shipped_rule(protocol, port, timeout=patience_s) + more
        ) as rsyslogd:
            yield service, rsyslogd
    finally:
        with trio.CancelScope(shield=True):
            await in_thread(partial(service.stop, signal.SIGTERM))


async def over(
    protocol: Protocol, folder: Path, count: int, hurts: Hurts, rate: float = 0
) -> Outcome:
    """Records from rsyslogd's own socket over RELP or TCP, while the service is hurt."""
    patience_s = _TIMEOUT_S if hurts.freezes else 90
    async with (
        served(protocol, folder, patience_s=patience_s) as (service, rsyslogd),
        trio.open_nursery() as nursery,
    ):
        sent = trio.Event()
        nursery.start_soon(send, rsyslogd, count, sent, rate)
        await hurt(service, hurts)
        await sent.wait()
        return await all_stored(folder, count)


@dataclass(frozen=True, slots=True)
class Full:
    """What was seen while the disk was full."""

    problem: str
    healthz: int
    """HTTP status."""
    acknowledged: int
    stored: int
    kept: int
    """In the journal, and not stored yet."""


async def on_a_full_disk(folder: Path, disk: Path, count: int) -> tuple[Full, Outcome]:
    """Records over RELP to a store on `disk`, a small tmpfs that is enlarged once it is full."""
    async with served("relp", folder, disk) as (_, rsyslogd), trio.open_nursery() as nursery:
        service_status = partial(_status, disk)
        nursery.start_soon(send, rsyslogd, count, trio.Event())
        while not (await in_thread(service_status))["problem"]:  # noqa: ASYNC110 another process
            await trio.sleep(0.1)
        seen = await in_thread(service_status)
        (listener,) = seen["listeners"]
        rows, _ = await in_thread(partial(stored, disk))
        healthz = await in_thread(partial(_http_status, seen["http"][0] + "/healthz"))
        acknowledged, kept = listener["counters"]["acknowledged"], seen["journal"]["waiting"]
        full = Full(seen["problem"], healthz, acknowledged, rows, kept)
        await trio.run_process(["mount", "-o", "remount,size=512m", str(disk)])
        found = await all_stored(disk, count)
        assert not (await in_thread(service_status))["problem"]
        return full, found


async def beside_a_service_that_stands_still(
    protocol: Protocol, folder: Path, count: int
) -> tuple[int, Outcome]:
    """How many lines rsyslogd wrote to its own file meanwhile, and what is stored afterwards."""
    file = folder / "mail.log"
    more = f'action(type="omfile" file="{file}")\n'
    async with served(protocol, folder, more=more) as (service, rsyslogd):
        assert service.process is not None
        service.process.send_signal(signal.SIGSTOP)
        await send(rsyslogd, count, trio.Event())
        await _silence_of(rsyslogd)
        lines = (await trio.Path(file).read_bytes()).count(b"\n")
        service.process.send_signal(signal.SIGCONT)
        return lines, await all_stored(folder, count)


async def by_datagrams(folder: Path, count: int) -> tuple[Outcome, int]:
    """Records over UDP to a service that stands still meanwhile; and how many it says were lost."""
    async with served("udp", folder) as (service, rsyslogd):
        assert service.process is not None
        service.process.send_signal(signal.SIGSTOP)
        await send(rsyslogd, count, trio.Event())
        await _silence_of(rsyslogd)
        service.process.send_signal(signal.SIGCONT)
        counters: dict[str, int] = {}
        while counters.get("lines", 0) + counters.get("kernel_drops", 0) < count:
            await trio.sleep(0.2)
            (listener,) = (await in_thread(service.status))["listeners"]
            counters = listener["counters"]
        found = await all_stored(folder, counters["lines"])
        return Outcome(count, found.rows, found.recipients), counters["kernel_drops"]


async def _silence_of(rsyslogd: Rsyslogd) -> None:
    """Until it has forwarded all it has: it does nothing any more."""
    path, before = Path(f"/proc/{rsyslogd.pid}/stat"), -1
    while (now := sum(map(int, path.read_text().rpartition(")")[2].split()[11:13]))) != before:  # noqa: ASYNC240 memory
        before = now
        await trio.sleep(1)


def _status(store: Path) -> dict[str, Any]:
    sock = orders.running(store / "pda.db.sock")
    assert sock is not None
    (reply,) = orders.ask(sock, orders.GetStatus())
    found: dict[str, Any] = json.loads(bytes(reply.body))
    return found


def _http_status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
