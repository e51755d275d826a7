"""What commands do themselves while no service runs: the one writer is then this process.

Owns how such a process runs and ends. Each function raises `ConfigError` and `StoreError`, also
where another process writes already.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial

import trio

from pda.apart import Process
from pda.backfill import LogFile
from pda.config import Settings
from pda.prospects import ImportState, Report
from pda.reading import Wanted
from pda.rooms import first_error, open_rooms
from pda.store.audit import Author
from pda.store.edits import Edit, T
from pda.tuning import tidy, tune


def import_alone(
    settings: Settings,
    files: Sequence[LogFile],
    wanted: Wanted,
    report: Report,
    process: Process | None,
) -> list[ImportState]:
    """Imports files while no service runs, until a signal; `process` reads the larger ones."""

    async def main() -> list[ImportState]:
        signals = trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT)
        with signals as received, open_rooms(settings) as rooms:
            rooms.importer.process = process
            interrupted = trio.Event()
            async with trio.open_nursery() as nursery, trio.open_nursery() as writing:
                nursery.start_soon(_obey, received, interrupted)
                nursery.start_soon(tidy)
                writing.start_soon(rooms.ingest.write)
                await rooms.judge_history()
                states = [
                    await rooms.importer.import_file(file, wanted, report, interrupted)
                    for file in files
                ]
                rooms.ingest.closing()
                nursery.cancel_scope.cancel()
            return states

    tune()
    try:
        return first_error(main)
    finally:
        if process is not None:
            process.end()


async def _obey(signals: AsyncIterator[int], interrupted: trio.Event) -> None:
    """The first one lets the import come to an end, a second one does not."""
    async for _ in signals:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()


def edit_alone(settings: Settings, edit: Edit[T]) -> T:
    """Makes an edit while no service runs."""
    with open_rooms(settings) as rooms:
        by = Author(f"uid {os.getuid()}")
        made = rooms.writer.make(edit, by, time.time_ns() // 1000)
        if rooms.writer.removal.is_erasing:
            first_error(partial(rooms.housekeeping.erase, rooms.writer.do, time.time_ns() // 1000))
        return made
