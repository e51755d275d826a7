"""The parts that write, opened under the lock that only one process can hold.

Owns the way from settings to pipeline, rules, store and ingest, and the work that a command does
alone while no service runs: an import, a new user. Knows no socket, no signal and no page.
"""

from __future__ import annotations

import gc
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path

import trio

from pda import config
from pda.backfill import BackfillError, LogFile, newest_within, oldest_first, open_log
from pda.ingest import ImportState, Ingest
from pda.maillog.clients import Binding, ClientRules
from pda.maillog.correlate import Correlator
from pda.maillog.pipeline import Hosts, Pipeline
from pda.rulebook import RuleBook
from pda.store.database import WriteLock, find_key, open_writer
from pda.store.queries import UserRow
from pda.store.writer import Writer


class Rooms:
    """The parts that write, opened; used by the service and by an import without one."""

    def __init__(self, settings: config.Settings) -> None:
        self.settings = settings
        self.key = find_key(
            settings.database, settings.key_file, os.environ.get("PDA_STORE_KEY", "")
        )
        self.correlator = Correlator(client_rules(settings.clients), settings.writer.open_entries)
        self.writer = Writer(open_writer(settings.database, self.key), self.correlator)
        hosts = Hosts(settings.hosts.aliases, settings.hosts.full_names)
        self.rulebook = RuleBook(settings.rules, settings.rules_copy)
        self.pipeline = Pipeline(self.rulebook.rules, hosts)
        self.ingest = Ingest(self.pipeline, self.writer, config.zone, settings.writer.batch_lines)

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

    async def import_files(
        self, paths: Sequence[Path], report: Callable[[ImportState], None]
    ) -> list[ImportState]:
        """Imports files while `ingest.write` runs; one that cannot be opened is reported."""
        states = []
        for path in paths:
            try:
                file = await trio.to_thread.run_sync(open_log, path)
            except BackfillError as error:
                states.append(ImportState(str(path), 0, error=str(error)))
                report(states[-1])
                continue
            states.append(await self.import_file(file, report))
        return states

    async def import_file(
        self, file: LogFile, report: Callable[[ImportState], None]
    ) -> ImportState:
        """Imports one opened file and closes it."""
        receive_settings = self.settings.receive
        try:
            return await self.ingest.import_file(
                file, receive_settings.zone, receive_settings.hostname, report
            )
        finally:
            file.close()


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


def client_rules(settings: config.ClientSettings) -> ClientRules:
    """`[clients]` as the correlator takes it."""
    bindings = {
        name: Binding(
            tuple(ip_network(network) for network in one.networks),
            frozenset(one.sasl_users),
            one.local,
        )
        for name, one in settings.bindings.items()
    }
    pattern = re.compile(settings.message_id_pattern)
    return ClientRules(settings.order, pattern, settings.header, bindings)


def import_alone(
    settings: config.Settings, paths: Sequence[Path], report: Callable[[ImportState], None]
) -> list[ImportState]:
    """Imports files while no service runs. Raises `ConfigError` and `StoreError`."""

    async def main() -> list[ImportState]:
        with open_rooms(settings) as rooms:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(rooms.ingest.write)
                await rooms.judge_history()
                states = await rooms.import_files(paths, report)
                rooms.ingest.closing()
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


def configured_logs(settings: config.BackfillSettings) -> list[Path]:
    """The files of `[backfill]`, oldest first."""
    paths = oldest_first(Path(settings.directory).glob(settings.pattern))
    return newest_within(paths, settings.max_bytes) if settings.max_bytes else paths
