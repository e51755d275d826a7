"""The parts that write, opened under the lock that only one process can hold.

Owns the way from settings to pipeline, rules, store and ingest, and the work that a command does
alone while no service runs: an import, a new user. Knows no socket, no signal and no page.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import trio

from pda import config
from pda.apart import Task
from pda.backfill import LogFile
from pda.bindings import client_rules
from pda.importing import Importer, ImportState, Report
from pda.ingest import Ingest
from pda.maillog.correlate import Correlator
from pda.maillog.pipeline import Hosts, Pipeline
from pda.reading import Wanted
from pda.rulebook import RuleBook
from pda.store.database import WriteLock, find_key, open_writer
from pda.store.queries import UserRow
from pda.store.writer import Writer

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Rooms:
    """The parts that write, opened; used by the service and by an import without one."""

    def __init__(self, settings: config.Settings) -> None:
        self.settings = settings
        self.key = find_key(
            settings.database, settings.key_file, os.environ.get("PDA_STORE_KEY", "")
        )
        self.correlator = Correlator(client_rules(settings.clients), settings.writer.open_entries)
        self.writer = Writer(open_writer(settings.database, self.key), self.correlator)
        self._hosts = Hosts(settings.hosts.aliases, settings.hosts.full_names)
        self.rulebook = RuleBook(settings.rules, settings.rules_copy)
        self.pipeline = Pipeline(self.rulebook.rules, self._hosts)
        self.ingest = Ingest(self.pipeline, self.writer, config.zone, settings.writer.batch_lines)
        self.importer = Importer(self.ingest, self.writer.find_imports, config.zone, self._task)

    async def reload_rules(self) -> None:
        """Swaps the rules, not yet for history; bad ones change nothing: raises `ConfigError`."""
        read = self.rulebook.read
        try:
            edition = await trio.to_thread.run_sync(read, abandon_on_cancel=True)
        except config.ConfigError as error:
            self.rulebook.refuse(error)
            raise
        self.rulebook.adopt(edition)
        self.pipeline.rules = edition.rules

    async def judge_history(self) -> None:
        """Until all that is stored is judged by the rules in force, also if they change."""
        while not self.writer.is_judged_by((edition := self.rulebook.edition).digest):
            await self.ingest.rejudge(edition.rules.classify, edition.digest)

    def _task(self) -> Task:
        """How lines are read, for another process."""
        return Task(self.rulebook.edition.xml, self._hosts, self.settings.clients)

    def wanted(self) -> Wanted:
        """How files are read unless somebody says otherwise."""
        return Wanted(self.settings.receive.zone, self.settings.receive.hostname)


@contextmanager
def open_rooms(settings: config.Settings) -> Iterator[Rooms]:
    """The parts that write, under the lock that only one process can hold."""
    lock = WriteLock(settings.database)
    try:
        rooms = Rooms(settings)
        try:
            yield rooms
        finally:
            rooms.writer.close()
    finally:
        lock.release()


def import_alone(
    settings: config.Settings, files: Sequence[LogFile], wanted: Wanted, report: Report
) -> list[ImportState]:
    """Imports files while no service runs, until a signal. Raises `ConfigError`, `StoreError`."""

    async def main() -> list[ImportState]:
        with trio.open_signal_receiver(*_SIGNALS) as signals, open_rooms(settings) as rooms:
            interrupted = trio.Event()

            async def obey() -> None:
                async for _ in signals:
                    if interrupted.is_set():  # not that soon, then
                        raise KeyboardInterrupt
                    interrupted.set()

            async with trio.open_nursery() as nursery, trio.open_nursery() as writing:
                nursery.start_soon(obey)
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
    return trio.run(main)


def tune() -> None:
    """Settings of the interpreter for a process that reads many lines."""
    # Nothing of ours refers to itself; looking for such values was a tenth of the time.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    # The database driver lets go of Python's lock at each row, and by default has it back only
    # after 5 ms where another thread computes.
    sys.setswitchinterval(0.0005)


def add_user_alone(settings: config.Settings, user: UserRow) -> None:
    """Adds a user while no service runs. Raises `ConfigError` and `StoreError`."""
    with open_rooms(settings) as rooms:
        rooms.writer.add_user(user, time.time_ns() // 1000)
