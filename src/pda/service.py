"""Wiring: which room is connected to which, in what order they start, and how all of it stops.

Owns the nursery, the signals and the way from settings to running parts; the only module besides
the command line that sees every room. Knows no line, no SQL and no page.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import msgspec
import trio
from quart_trio import QuartTrio

from pda import config, control, logs, receive, trying
from pda.alerts import Alerts
from pda.alerts.wording import words
from pda.backfill import LogFile
from pda.catchup import CatchUp, configured_logs
from pda.control import Caller
from pda.destinations import Destinations
from pda.listening import Listening, allow_descriptors
from pda.maillog import bounce
from pda.metrics import Metrics
from pda.news import News
from pda.notify import READY, STOPPING, Supervisor
from pda.orders import GetStatus, ImportFile, MakeEdit, Order, ReloadRules, Reply, TestAlerts
from pda.outgoing import Outgoing
from pda.paces import Paces
from pda.prospects import ImportState
from pda.reading import Wanted
from pda.reload import reread
from pda.rooms import Rooms, first_error, open_rooms
from pda.rulebook import RuleBook
from pda.serving import Serving
from pda.store.accounts import users
from pda.store.alerts import Finding
from pda.store.audit import Author, Deed, Note
from pda.store.database import UPKEEPS_CACHE, DatabaseError
from pda.store.edits import Edit, NotThereError, T
from pda.store.queries import Bounds
from pda.store.readers import Readers
from pda.store.suppressions import Thresholds
from pda.times import rfc3339
from pda.tls import TlsError
from pda.tuning import tidy, tune
from pda.web.app import create_app
from pda.web.ports import (
    AlertWords,
    ListenerStatus,
    Reception,
    RulesStatus,
    RunningImport,
    Site,
    Writing,
)
from pda.web.ports import Settings as WebSettings

log = logging.getLogger(__name__)
_T = TypeVar("_T")

RESTART = 75
"""Exit status that asks the supervisor to start the service again (EX_TEMPFAIL)."""
_QUEUED_READS = 64
_AGAIN_S = 60.0
"""After which is tried again what failed: to read history, to have a rule list."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def web_settings(settings: config.Settings) -> WebSettings:
    """`[http]` as the web takes it."""
    return WebSettings(
        allow_actions=settings.http.original_api.allow_actions,
        request_timeout=settings.http.timeout_s,
        allowed_hosts=settings.http.hosts,
        proxies=settings.http.proxies,
        prefix=settings.http.prefix,
        metrics=settings.http.metrics,
        healthz=settings.http.healthz,
        session_idle=settings.http.session_idle_s,
        session_longest=settings.http.session_s,
        most_requests=settings.http.max_requests,
        page=Bounds(settings.http.page_entries, settings.http.page_s),
        suppressions=Thresholds(*msgspec.structs.astuple(settings.suppressions)),
        log_file=Path(settings.backfill.directory) / "mail.log",
    )


class Service:
    """The running service; what the web and the control socket may ask of it."""

    def __init__(self, rooms: Rooms, read: Callable[[], config.Settings] | None = None) -> None:
        """`read` gives the settings as they are in their file now."""
        self.version = version("pda")
        self.started_at = self.restarted_at = time.time_ns() // 1000
        self.exit_status = 0
        self._rooms = rooms
        self._stop = trio.Event()
        self._catch_up = CatchUp(
            rooms.importer, rooms.settings.backfill, rooms.wanted(), self._stop
        )
        self._listening = Listening(rooms.settings.receive)
        self._serving = Serving(rooms.settings.http)
        self._paces = Paces(rooms, self._listening)
        self._nursery: trio.Nursery | None = None
        self._outgoing: Outgoing | None = None
        self._alerts: Alerts | None = None
        self._reloading = trio.Lock()
        self._reloaded = trio.Event()
        self._read = read
        self._supervisor = Supervisor()
        self._is_listening = False

    # --- what others may ask ------------------------------------------------------------------

    @property
    def last_line_at(self) -> int:
        """When the last line came, at whatever listener."""
        return self._listening.last_line_at

    @property
    def oldest_unstored(self) -> int:
        """When the oldest of the live lines came that are not stored yet; 0 if all are."""
        return self._rooms.ingest.oldest_unstored

    def listeners(self) -> Sequence[ListenerStatus]:
        """Each socket with its counters."""
        return self._paces.listeners()

    def imports_running(self) -> Sequence[RunningImport]:
        """Files that are being imported."""
        return self._paces.imports_running()

    def reception(self) -> Reception:
        """What became of all lines, and what never came."""
        drops = sum(one.kernel_drops for one in self._listening.counters.values())
        lost = self._rooms.pipeline.tally.lost_before
        return Reception(self._rooms.ingest.fates(), drops, dict(lost))

    def writing(self) -> Writing:
        """How writing goes, and what is kept."""
        return self._paces.writing()

    @property
    def tells_alerts(self) -> bool:
        """Whether anybody is to be told what is wrong."""
        return self._alerts is not None and bool(self._alerts.sending.destinations())

    def alert_words(self, finding: Finding) -> AlertWords:
        """What is told of what was found wrong."""
        return words(finding)

    def problem(self) -> str:
        """Why the service cannot do its work now."""
        refused = self._rooms.ingest.writer_state.refused
        return f"the database cannot be written: {refused}" if refused else ""

    @property
    def is_ready(self) -> bool:
        """Whether lines are taken now."""
        return self._is_listening and not self._stop.is_set() and not self.problem()

    def _progress(self) -> object:
        """None where nothing waits to be written; else what changes while something is."""
        state = self._rooms.ingest.writer_state
        busy = self._rooms.ingest.is_busy
        return (state.works, state.commits, state.failures) if busy else None

    def resident_memory(self) -> int:
        """Octets."""
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def sizes(self) -> Mapping[str, int]:
        """Of what grows."""
        database = self._rooms.settings.database
        wal = database.with_name(database.name + "-wal")
        return {
            "database octets": _size(database),
            "write-ahead log octets": _size(wal),
            "open entries": len(self._rooms.correlator),
            "resident memory octets": self.resident_memory(),
        }

    def metrics(self) -> bytes:
        """In Prometheus' text format."""
        sizes = {name.replace("-", " "): size for name, size in self.sizes().items()}
        sizes["alerts open"] = self._alerts.open if self._alerts is not None else 0
        counters, ingest = self._listening.counters, self._rooms.ingest
        kept, journal = self._rooms.housekeeping.kept, self._rooms.journal.state
        return Metrics(counters, ingest, sizes, self.rules_status(), kept, journal).text()

    def stop(self, *, restart: bool) -> None:
        """Begins the graceful stop."""
        self.exit_status = RESTART if restart else 0
        self._stop.set()

    @property
    def news(self) -> News:
        """Tells of commits whoever waits for changes."""
        return self._rooms.ingest.news

    @property
    def rulebook(self) -> RuleBook:
        """The rules in force and what can be asked of them."""
        return self._rooms.rulebook

    def rules_status(self) -> RulesStatus:
        """Which rules are in force, why others are not, and how far history was judged by them."""
        writer = self._rooms.writer
        return self._rooms.rulebook.status(writer.judging, writer.last_entry)

    async def reload_rules(self, by: Author | None = None) -> str:
        """Reads the rule list again; a bad one leaves the old one in force.

        Who has asked for it stands in the audit; None where nobody has.
        """
        async with self._reloading:
            try:
                await self._rooms.reload_rules()
            except config.ConfigError as error:
                self._note("reload rules", "refused", by)
                return f"the rules in force stay: {error}"
        self._reloaded.set()
        count = len(self._rooms.rulebook.rules.rules)
        self._note("reload rules", f"{count} rules", by)
        log.info("%d rules are in force; history is being judged by them", count)
        return f"{count} rules are in force; history is being judged by them"

    def _note(self, action: str, detail: str, by: Author | None) -> None:
        if by is not None:
            self.soon(Note(Deed(action, "", detail)), by)

    async def _fetch_rules(self) -> None:
        """A list that could not be had at the start is asked for until it is in force."""
        while self._rooms.rulebook.is_substitute:
            await trio.sleep(_AGAIN_S)
            await self.reload_rules()

    async def _keep_judged(self) -> None:
        """Judges history at the start and after every reload: where that ended, it goes on."""
        while True:
            self._reloaded = trio.Event()
            try:
                await self._rooms.judge_history()
            except DatabaseError as error:
                log.error("history cannot be judged now by the rules in force: %s", error)
                with trio.move_on_after(_AGAIN_S):
                    await self._reloaded.wait()
            else:
                await self._reloaded.wait()

    async def send_test_message(self) -> str:
        """Why it could not be sent, if it could not."""
        return await trying.send(self.listeners(), datetime.now(UTC))

    async def reindex(self, by: Author) -> str:
        """Reloads the rules and imports what the configured logs have beyond what is known."""
        answer = await self.reload_rules(by)
        assert self._nursery is not None
        paths = configured_logs(self._rooms.settings.backfill)
        self.restarted_at = time.time_ns() // 1000
        self._nursery.start_soon(self._catch_up.read, paths)
        return f"{answer}; {len(paths)} log files are being caught up"

    # --- life -----------------------------------------------------------------------------------

    async def run(self, signals: AsyncIterator[int]) -> int:
        """Serves until it is stopped, then drains, commits and closes; the exit status."""
        settings, rooms = self._rooms.settings, self._rooms
        unended = rooms.begin(rfc3339(self.started_at))
        readers = Readers(settings.database, rooms.key, settings.store.readers)
        upkeeps = Readers(settings.database, rooms.key, 1, cache=UPKEEPS_CACHE)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._obey, nursery, signals)
            self._start_upkeep(nursery, upkeeps)
            nursery.start_soon(self._paces.run)
            nursery.start_soon(tidy)
            nursery.start_soon(self._supervisor.keep_informed, self._progress)
            self._outgoing = Outgoing(readers, rooms.make, settings)
            nursery.start_soon(self._outgoing.run, self.news)
            self._alerts = Alerts(self._outgoing, self, lambda: rooms.settings)
            await nursery.start(self._alerts.run)
            if unended:
                log.error("pda was killed, or failed; it had begun at %s", unended)
                self._alerts.wake()
            await nursery.start(control.serve, settings.control_socket, self._order)
            if not await trio.to_thread.run_sync(readers.call, users):
                log.warning("there is no user: HTTP serves this machine only (pda user add NAME)")
            if settings.http.bind:
                await self._serving.start(nursery, self._application(readers))
            async with trio.open_nursery() as ingest:
                ingest.start_soon(rooms.ingest.write)
                await self._catch_up.before_listening()
                if not self._stop.is_set():
                    await self._start_listeners(ingest)
                    nursery.start_soon(self._catch_up.while_listening)
                    log.info("pda %s is ready", self.version)
                    self._is_listening = True
                    self._supervisor.tell(READY)
                await self._stop.wait()
                self._supervisor.tell(STOPPING)
                log.info("stopping: what was received is being stored")
                rooms.ingest.closing()
            self.news.close()
            await self._alerts.farewell()
            await self._serving.stop()
            nursery.cancel_scope.cancel()
        readers.close()
        upkeeps.close()
        if lost := rooms.ingest.writer_state.lost_events:
            # Those of RELP are still in the journal or with their senders.
            log.error("stopped with %d events lost: the database refused them", lost)
            return 1
        rooms.end()
        return self.exit_status

    def _start_upkeep(self, nursery: trio.Nursery, readers: Readers) -> None:
        """What looks after rules and database."""
        rooms = self._rooms
        nursery.start_soon(rooms.ingest.until_stopping, self._keep_judged)
        nursery.start_soon(self._fetch_rules)
        nursery.start_soon(rooms.ingest.until_stopping, rooms.housekeeping.run, readers.call)
        nursery.start_soon(rooms.checkpoints.run)

    async def _start_listeners(self, nursery: trio.Nursery) -> None:
        """A full channel slows TCP senders down; it closes when the last listener has stopped."""
        send, lines = trio.open_memory_channel[receive.Lines](_QUEUED_READS)
        nursery.start_soon(self._rooms.ingest.read, lines)
        keep = self._rooms.journal.start(nursery, send.clone())
        await self._listening.start(nursery, send, keep, self._stop)

    def _application(self, readers: Readers) -> QuartTrio:
        web = web_settings(self._rooms.settings)
        return create_app(Site(readers, self, bounce.original_category, web))

    def _reload_certificates(self) -> None:
        """For new connections; one that cannot be used leaves the old one in place."""
        users = list(self._listening.certificates())
        if self._serving.certificates is not None:
            users.append(("https", self._serving.certificates))
        for name, certificates in users:
            try:
                certificates.reload()
            except TlsError as error:
                log.error("%s keeps its certificate: %s", name, error)
            else:
                log.info("%s has its certificate read again", name)

    def _reload_settings(self) -> None:
        """Those that can take effect at once do; a mistake leaves all as they are."""
        if self._read is None:
            return
        try:
            changed = reread(self._rooms.settings, self._read())
        except config.ConfigError as error:
            log.error("the settings in force stay: %s", error)
            return
        self._rooms.settings = changed.settings
        self._rooms.housekeeping.settings = changed.settings.retention
        self._rooms.housekeeping.wake()
        if self._alerts is not None:
            self._alerts.wake()
        logs.adjust(changed.settings.log)
        log.info("settings were read again; %s", changed)

    async def _obey(self, nursery: trio.Nursery, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            if number == signal.SIGHUP:
                self._reload_certificates()
                self._reload_settings()
                # A stop does not wait for a slow server.
                nursery.start_soon(self.reload_rules, Author("pda"))
            else:
                self.stop(restart=False)

    async def _order(self, order: Order, descriptors: list[int], caller: Caller) -> None:
        match order:
            case GetStatus():
                await caller(Reply(final=True, body=_json(self._status())))
            case MakeEdit(edit):
                await caller(await self._made(edit, Author(f"uid {caller.uid}")))
            case ReloadRules():
                said = await self.reload_rules(Author(f"uid {caller.uid}"))
                error = said if self._rooms.rulebook.refused else ""
                await caller(Reply(final=True, error=error, body=_json(said)))
            case TestAlerts():
                assert self._alerts is not None
                await caller(Reply(final=True, body=_json(await self._alerts.test())))
            case ImportFile():
                await self._import(order, LogFile(order.name, descriptors[0]), caller)

    async def make(self, edit: Edit[T], by: Author) -> T:
        """Makes an edit that somebody asked for: see `store.edits`."""
        result = await self._rooms.make(edit, by)
        if self._outgoing is not None:
            self._outgoing.wake()
        return result

    async def check_destination(self, url: str) -> None:
        """Raises ValueError where nothing may be sent to."""
        await Destinations(self._rooms.settings.webhooks.allow_private).resolve(url)

    def soon(self, edit: Edit[object], by: Author) -> None:
        """Makes an edit that nobody waits for."""
        if self._nursery is not None:
            self._nursery.start_soon(self._noted, edit, by)

    async def _noted(self, edit: Edit[object], by: Author) -> None:
        if error := (await self._made(edit, by)).error:
            log.warning("%s is lost: %s", type(edit).__name__, error)

    async def _made(self, edit: Edit[object], by: Author) -> Reply:
        """The answer to who ordered an edit."""
        try:
            result = await self.make(edit, by)
        except NotThereError as error:
            return Reply(final=True, error=str(error))
        except DatabaseError as error:
            why = f"the database cannot be written: {error}; nothing was changed"
            return Reply(final=True, error=why)
        return Reply(final=True, body=_json(result))

    async def _import(self, order: ImportFile, file: LogFile, caller: Caller) -> None:
        """Imports a file that another process has opened, and tells it how that goes."""
        news: trio.MemorySendChannel[ImportState]
        news, progress = trio.open_memory_channel[ImportState](1)

        def report(state: ImportState) -> None:
            with suppress(trio.WouldBlock):  # the caller is slower than the import
                news.send_nowait(msgspec.structs.replace(state))

        async def tell() -> None:
            with suppress(OSError):  # who asked has gone; the import goes on
                async for state in progress:
                    await caller(Reply(final=False, body=_json(state)))

        usual, importer = self._rooms.wanted(), self._rooms.importer
        zone, hostname = order.zone or usual.zone, order.hostname or usual.hostname
        wanted = Wanted(zone, hostname, order.since, order.until, order.again)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell)
            async with news:
                try:
                    state = await importer.import_file(file, wanted, report, caller.interrupted)
                finally:
                    file.close()
        await caller(Reply(final=True, body=_json(state)))

    def _status(self) -> dict[str, object]:
        return {
            "version": self.version,
            "started_at": self.started_at,
            "last_line_at": self.last_line_at,
            "problem": self.problem(),
            "http": self._serving.addresses,
            "listeners": self.listeners(),
            "lines": self._rooms.ingest.counters(),
            "fates": self._rooms.ingest.fates(),
            "lost_before": self._rooms.pipeline.tally.lost_before,
            "unknown_shapes": self._rooms.pipeline.tally.shapes,
            "journal": self._rooms.journal.state,
            "sizes": self.sizes(),
            "rules": self.rules_status(),
            "imports": self._rooms.importer.states,
        }


def run(settings: config.Settings, read: Callable[[], config.Settings] | None = None) -> int:
    """Serves until stopped; the exit status. Raises `ConfigError` and `StoreError`.

    `read` is for SIGHUP: the settings as they are then.
    """

    async def main() -> int:
        # Until all is closed: a second signal must not kill what the first one stops.
        with trio.open_signal_receiver(*_SIGNALS) as signals, open_rooms(settings) as rooms:
            return await Service(rooms, read).run(signals)

    tune()
    allow_descriptors(settings.receive)
    return first_error(main)


def _json(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
