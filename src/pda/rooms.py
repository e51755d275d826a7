"""The parts that write, opened under the lock that only one process can hold.

Owns the way from settings to pipeline, rules, store, ingest and importer. Knows no socket, no
signal and no page.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import trio

from pda import config
from pda.apart import Task
from pda.bindings import client_rules
from pda.checkpoints import Checkpoints
from pda.housekeeping import Housekeeping
from pda.importing import Importer
from pda.ingest import Ingest
from pda.journal import Journal
from pda.maillog import postfix
from pda.maillog.correlate import Correlator
from pda.maillog.pipeline import Pipeline
from pda.reading import Wanted
from pda.rulebook import RuleBook
from pda.store.audit import Author
from pda.store.database import DatabaseError, StoreError, WriteLock, find_key, open_writer
from pda.store.edits import Edit, NotThereError, T
from pda.store.journal import secret
from pda.store.upkeep import finish_change_of_key
from pda.store.writer import Writer

_T = TypeVar("_T")


class Rooms:
    """The parts that write, opened; used by the service and by an import without one."""

    def __init__(self, settings: config.Settings, lock: WriteLock) -> None:
        self.settings = settings
        self._lock = lock
        self.key = find_key(
            settings.database, settings.key_file, os.environ.get("PDA_STORE_KEY", "")
        )
        self.correlator = Correlator(client_rules(settings.clients), settings.writer.open_entries)
        self.writer = Writer(open_writer(settings.database, self.key), self.correlator)
        self.rulebook = RuleBook(settings.rules, settings.rules_copy)
        self.pipeline = Pipeline(self.rulebook.rules, self._task().hosts)
        self.ingest = Ingest(self.pipeline, self.writer, config.zone, settings.writer.batch_lines)
        self.journal = Journal(settings.database, self.writer.do(secret))
        self.checkpoints = Checkpoints(self.ingest, self.writer, settings.database)
        self.housekeeping = Housekeeping(self.ingest, self.writer, settings.retention)
        self.importer = Importer(self.ingest, self.writer.find_imports, config.zone, self._task)

    def begin(self, at: str) -> str:
        """A service begins; when the one before did, where that has never come to its `end`."""
        return self._lock.note(at)

    def end(self) -> None:
        """The service has come to its end: nobody killed it, and nothing failed."""
        self._lock.note("")

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
        gc.collect()  # the list of before refers to itself, and has some megabytes

    async def judge_history(self) -> None:
        """Until all that is stored is judged by the rules in force, also if they change."""
        while not self.writer.is_judged_by((edition := self.rulebook.edition).digest):
            await self.ingest.rejudge(edition.rules.classify, edition.digest)

    async def make(self, edit: Edit[T], by: Author) -> T:
        """Makes an edit that somebody asked for, between two transactions of the live stream.

        Raises what it raises, and `DatabaseError`, at once where the disk refuses lines too: these
        wait for it, and who asks is told.
        """
        if refused := self.ingest.writer_state.refused:
            raise DatabaseError(refused)
        make = partial(self.writer.make, edit, by, time.time_ns() // 1000)
        made = await self.ingest.unless_refused(make)
        if self.writer.removal.is_erasing:
            postfix.forget()
            self.rulebook.rules.forget()
            self.housekeeping.wake()
        return made

    def _task(self) -> Task:
        """How lines are read, for another process."""
        return Task.of(self.settings, self.rulebook.edition.xml)

    def wanted(self) -> Wanted:
        """How files are read unless somebody says otherwise."""
        return Wanted(self.settings.receive.zone, self.settings.receive.hostname)


@contextmanager
def open_rooms(settings: config.Settings) -> Iterator[Rooms]:
    """The parts that write, under the lock that only one process can hold."""
    lock = WriteLock(settings.database)
    try:
        finish_change_of_key(settings.database, settings.key_file)
        rooms = Rooms(settings, lock)
        try:
            yield rooms
        finally:
            rooms.journal.close()
            rooms.writer.close()
    finally:
        lock.release()


def first_error(main: Callable[[], Awaitable[_T]]) -> _T:
    """Runs; of a group of errors the one that says what to do."""
    try:
        return trio.run(main)
    except BaseExceptionGroup as group:
        ours, _ = group.split((config.ConfigError, StoreError, DatabaseError, NotThereError))
        error: BaseException | None = ours
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if error is None:
            raise
        raise error from None
