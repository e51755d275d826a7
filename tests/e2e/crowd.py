"""Many senders of one service, half of whom stall or send rubbish: what the others notice of it.

For `tools/torture`, which measures; what must hold whatever the speed is in `test_strangers`.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio

from tests.e2e.ordeals import free_port, in_thread, records
from tests.running import Running

_GOOD, _STALLING, _RUBBISH = 250, 125, 125
_HEADER = "<22>2026-11-26T12:00:00.000000+00:00 mx1 postfix/smtp[4711]: "


async def throughput(folder: Path, lines: int, rounds: int) -> tuple[float, float]:
    """Lines/s of the good senders, alone and beside the others: medians of so many rounds each."""
    port = free_port()
    service = Running(folder, PDA_RECEIVE_LISTEN=f"tcp://127.0.0.1:{port}")
    await in_thread(service.start)
    alone: list[float] = []
    beside: list[float] = []
    try:
        for number in range(rounds):
            first = 2 * number * lines
            alone.append(await _speed(service, port, first, lines))
            async with _others(port):
                beside.append(await _speed(service, port, first + lines, lines))
    finally:
        with trio.CancelScope(shield=True):
            await in_thread(service.stop)
    return statistics.median(alone), statistics.median(beside)


async def _speed(service: Running, port: int, first: int, lines: int) -> float:
    """Until the last of them is stored, from the first one on."""
    texts = [f"{_HEADER}{text}\n".encode() for text in records(first, first + lines)]
    before = service.status()["lines"]["events"]
    begun = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for number in range(_GOOD):
            nursery.start_soon(_send, port, b"".join(texts[number::_GOOD]))
    while service.status()["lines"]["events"] < before + lines:  # noqa: ASYNC110 another process
        await trio.sleep(0.02)
    return lines / (time.perf_counter() - begun)


async def _send(port: int, octets: bytes) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(octets)


@asynccontextmanager
async def _others(port: int) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        for _ in range(_STALLING):
            await nursery.start(_stall, port)
        for _ in range(_RUBBISH):
            nursery.start_soon(_send_rubbish, port)
        yield
        nursery.cancel_scope.cancel()


async def _stall(
    port: int, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(_HEADER.encode())
        task_status.started()
        await trio.sleep_forever()


async def _send_rubbish(port: int) -> None:
    """Connects again as soon as it is turned away, and a moment later."""
    while True:
        with suppress(OSError, trio.BrokenResourceError):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(random.randbytes(1000))
                await stream.receive_some()
        await trio.sleep(random.uniform(0, 2))
