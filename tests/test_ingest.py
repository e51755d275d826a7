"""The two hops: lines into events into the store, also while the disk refuses them."""

from __future__ import annotations

import gc
import gzip
import logging
import re
import signal
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.lowlevel
import trio.testing

from pda import config
from pda.apart import Task
from pda.backfill import LogFile, open_log
from pda.importing import Importer
from pda.ingest import Ingest
from pda.journal import Journal
from pda.maillog.correlate import gather
from pda.maillog.pipeline import Hosts, Pipeline
from pda.prospects import ImportState
from pda.reading import Wanted
from pda.receive import Lines
from pda.rooms import open_rooms
from pda.service import Service
from pda.store import queries
from pda.store.database import Connection, DatabaseError, forget_pages, open_writer
from pda.store.journal import secret
from pda.store.queries import AttemptRow, Filter
from pda.times import rfc3339
from pda.work import Work
from tests.support import NOW, RULES, RULES_XML, Store, attempt, events, message

Sending = trio.MemorySendChannel[Lines]
LIFE = message(deliveries=[attempt()])


@pytest.fixture
def ingest(store: Store) -> Ingest:
    return Ingest(Pipeline(RULES), store.writer, config.zone)


def lines(*some: bytes, zone: str = "UTC", hostname: str = "", partial: bool = False) -> Lines:
    return Lines(list(some), NOW, zone, hostname, sum(map(len, some)), partial)


@asynccontextmanager
async def running(ingest: Ingest) -> AsyncIterator[Sending]:
    """Both hops, until all that was sent is stored."""
    send, receive = trio.open_memory_channel[Lines](64)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ingest.write)
        nursery.start_soon(ingest.read, receive)
        async with send:
            await trio.testing.wait_all_tasks_blocked()
            yield send
        ingest.closing()


def attempts(store: Store) -> list[AttemptRow]:
    with store.reading() as connection:
        return queries.attempts(connection, Filter())


def refuse(connection: Connection) -> None:
    """From now on SQLite itself says that the disk is full."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone() or (0,)
    connection.execute(f"PRAGMA max_page_count = {pages!r}")


def allow(connection: Connection) -> None:
    connection.execute("PRAGMA max_page_count = 1000000")


def large(count: int, begin: int = 0) -> list[bytes]:
    """More than fits into the pages that are there."""
    return [
        attempt("deferred", queue_id=f"4jXPlN1VQl{n:05}", reason=f"{n} " + "x" * 1500, dsn="4.0.0")
        for n in range(begin, begin + count)
    ]


@pytest.fixture
def autojump_clock(autojump_clock: trio.testing.MockClock) -> trio.testing.MockClock:
    """Leaves threads, which it does not see, a moment before it jumps."""
    autojump_clock.autojump_threshold = 0.01
    return autojump_clock


async def refused(ingest: Ingest, times: int = 1) -> None:
    while ingest.writer_state.failures < times:  # noqa: ASYNC110 nobody is told
        await trio.sleep(0.1)


UTC = Wanted("UTC")


def importer_of(ingest: Ingest, store: Store, *, apart: bool = False) -> Importer:
    """Which reads files in a process of their own (`apart`), or never."""
    task = Task(RULES_XML, Hosts(), config.ClientSettings())
    worth = 0 if apart else 2**62
    return Importer(ingest, store.writer.find_imports, config.zone, lambda: task, worth)


def silent(_: ImportState) -> None:
    """Nobody asks how it goes."""


def logged(folder: Path, content: bytes, name: str = "mail.log") -> LogFile:
    (folder / name).write_bytes(content)
    return open_log(folder / name)


# --- All is well ---------------------------------------------------------------------------------


async def test_lines_become_rows(ingest: Ingest, store: Store) -> None:
    async with running(ingest) as send:
        for line in LIFE:
            await send.send(lines(line))
    (row,) = attempts(store)
    assert (row.client_id, row.status) == ("shop", "sent")
    assert ingest.writer_state.attempts == 1
    assert ingest.counters()["events"] == len(LIFE)


async def test_zone_and_mail_host_are_those_of_the_listener(ingest: Ingest, store: Store) -> None:
    record = attempt(at="Mar 10 10:00:01").replace(b" mx1 ", b" ")
    async with running(ingest) as send:
        await send.send(lines(record, zone="Asia/Tokyo", hostname="east"))
        await send.send(lines(record, zone="UTC", hostname="west"))
    found = {row.host: rfc3339(row.at) for row in attempts(store)}
    assert found == {"east": "2026-03-10T01:00:01Z", "west": "2026-03-10T10:00:01Z"}


async def test_a_line_cut_by_the_end_of_its_stream(ingest: Ingest, store: Store) -> None:
    whole = attempt()
    async with running(ingest) as send:
        await send.send(lines(whole[:-9], partial=True))
        await send.send(lines(attempt(to="b@x.example"), partial=True))
    assert [row.recipient for row in attempts(store)] == ["b@x.example"]
    assert ingest.counters()["incomplete"] == 1


async def test_what_waits_is_written_together(ingest: Ingest, store: Store) -> None:
    async with running(ingest) as send:
        for line in large(50):
            send.send_nowait(lines(line))
    assert len(attempts(store)) == 50
    assert ingest.writer_state.commits <= 2


async def test_an_order_runs_between_transactions(ingest: Ingest, store: Store) -> None:
    seen = []

    def order() -> None:
        seen.append(store.connection.in_transaction)

    async with running(ingest) as send:
        for line in large(20):
            await send.send(lines(line))
            await ingest.exclusively(order)
    assert seen == [False] * 20
    assert len(attempts(store)) == 20


async def test_what_takes_turns_for_ever_takes_none_when_a_stop_waits(ingest: Ingest) -> None:
    """Retention, and judging history: lines that were received are stored before."""
    begun = trio.Event()

    async def tidy_up() -> None:
        while True:
            await ingest.exclusively(lambda: None)
            begun.set()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ingest.write)
            nursery.start_soon(ingest.until_stopping, tidy_up)
            await begun.wait()
            ingest.closing()


async def test_who_sent_is_told_in_order_once_it_is_stored(ingest: Ingest, store: Store) -> None:
    """Also of what told nothing, though there is nothing to store of it."""
    told: list[tuple[int, int]] = []

    def tell(number: int) -> None:
        told.append((number, len(attempts(store))))

    texts = [attempt(), b"no line of a log", attempt(to="b@x.example"), b"nor this"]
    async with running(ingest) as send:
        for number, text in enumerate(texts):
            await send.send(replace(lines(text), stored=partial(tell, number)))
        while len(told) < len(texts):
            await trio.lowlevel.checkpoint()
    assert [number for number, _ in told] == [0, 1, 2, 3]
    assert all(rows >= wanted for (_, rows), wanted in zip(told, (1, 1, 2, 2), strict=True))


async def test_a_transaction_is_committed_beside_the_next_batch(
    ingest: Ingest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each message has its lines in several batches, and goes on with what another one began."""
    monkeypatch.setattr("pda.ingest._MOST_EVENTS", 40)
    monkeypatch.setattr(ingest, "_batch_lines", 1)
    told: list[int] = []
    messages = [f"4jXPlN1VQl{number:05}" for number in range(60)]
    async with running(ingest) as send:
        for hour in range(3):
            for number, queue_id in enumerate(messages):
                at = f"2026-03-10T{10 + hour}:00:01.{number:06}+00:00"
                line = attempt("deferred", queue_id=queue_id, dsn="4.2.2", at=at, delay=f"{hour}")
                tell = partial(told.append, 100 * hour + number)
                await send.send(replace(lines(line), stored=tell))
    assert told == [100 * hour + number for hour in range(3) for number in range(60)]
    assert len(attempts(store)) == 180
    assert ingest.writer_state.commits >= 4
    with store.reading() as connection:
        assert [row.attempts for row in queries.outcomes(connection, Filter())] == [3] * 60


@pytest.mark.parametrize(("kept", "works"), [(False, 8), (True, 2)])
async def test_what_a_journal_keeps_is_worked_out_in_larger_batches(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch, kept: bool, works: int
) -> None:
    monkeypatch.setattr(ingest, "_batch_lines", 1)
    send, channel = trio.open_memory_channel[Lines](8)
    for number in range(8):
        send.send_nowait(replace(lines(attempt(to=f"a{number}@x.example")), kept=kept))
    send.close()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ingest.write)
        await ingest.read(channel)
        ingest.closing()
    assert ingest.writer_state.works == works


# --- The disk refuses ----------------------------------------------------------------------------


async def test_the_disk_refuses_for_a_while_and_nothing_is_lost(
    ingest: Ingest,
    store: Store,
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(ingest) as send:
        await send.send(lines(*LIFE))
        await send.send(lines(*large(1)))
        refuse(store.connection)
        await send.send(lines(*large(200)))
        await refused(ingest, times=3)
        await send.send(lines(*large(200, 150)))
        await refused(ingest, times=6)
        assert "full" in ingest.writer_state.refused
        allow(store.connection)
    assert len(attempts(store)) == 351
    state = ingest.writer_state
    assert (state.refused, state.lost_events) == ("", 0)
    told = [record.levelname for record in caplog.records if record.name == "pda.ingest"]
    assert told == ["ERROR", "WARNING"]


@contextmanager
def read_only(store: Store) -> Iterator[str]:
    store.connection.execute("PRAGMA query_only = ON")
    yield "readonly"
    store.connection.execute("PRAGMA query_only = OFF")


@contextmanager
def locked(store: Store) -> Iterator[str]:
    """By a program of somebody else's."""
    store.connection.execute("PRAGMA busy_timeout = 1").fetchone()
    other = open_writer(store.path, store.key)
    other.execute("BEGIN IMMEDIATE")
    yield "locked"
    other.close()


@contextmanager
def damaged(store: Store, octet: bytes = b"?") -> Iterator[str]:
    """All pages but the first, until the disk finds them again."""
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    whole = store.path.read_bytes()
    store.path.write_bytes(whole[:8192] + octet * (len(whole) - 8192))
    forget_pages(store.connection)
    yield "malformed"
    store.path.write_bytes(whole)


zeros = partial(damaged, octet=b"\0")
"""They cannot be told from pages that were never written, and stay in memory as they are."""


@pytest.mark.parametrize("trouble", [read_only, locked, damaged, zeros])
async def test_whatever_the_trouble_is_it_goes_on_by_itself(
    ingest: Ingest,
    store: Store,
    trouble: Callable[[Store], AbstractContextManager[str]],
    autojump_clock: trio.testing.MockClock,
) -> None:
    store.add(large(300))
    told: list[str] = []
    async with running(ingest) as send:
        with trouble(store) as what:
            await send.send(replace(lines(*large(300, 200)), stored=partial(told.append, "a")))
            await refused(ingest, times=2)
            assert what in ingest.writer_state.refused
            assert told == []
        await send.send(replace(lines(*large(10, 500)), stored=partial(told.append, "b")))
    assert told == ["a", "b"]
    assert len(attempts(store)) == 510
    assert (ingest.writer_state.refused, ingest.writer_state.lost_events) == ("", 0)


async def test_who_sent_is_told_nothing_while_the_disk_refuses(
    ingest: Ingest, store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    told: list[str] = []
    refuse(store.connection)
    async with running(ingest) as send:
        await send.send(replace(lines(*large(200)), stored=partial(told.append, "first")))
        await send.send(replace(lines(b"nothing"), stored=partial(told.append, "second")))
        await refused(ingest, times=3)
        assert told == []
        assert ingest.oldest_unstored == NOW
        allow(store.connection)
    assert told == ["first", "second"]
    assert ingest.oldest_unstored == 0


async def test_the_disk_refuses_what_is_committed_beside_the_next_batch(
    ingest: Ingest,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
) -> None:
    monkeypatch.setattr("pda.ingest._MOST_EVENTS", 40)
    monkeypatch.setattr(ingest, "_batch_lines", 1)
    told: list[int] = []
    refuse(store.connection)
    async with running(ingest) as send:
        for number in range(60):
            some = lines(*large(5, 3 * number))
            await send.send(replace(some, stored=partial(told.append, number)))
        await refused(ingest, times=3)
        assert len(told) < 60
        allow(store.connection)
    assert told == list(range(60))
    assert len(attempts(store)) == 3 * 59 + 5


async def test_who_sent_is_never_told_of_what_was_given_up(
    ingest: Ingest, store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    told: list[str] = []
    refuse(store.connection)
    async with running(ingest) as send:
        await send.send(replace(lines(*large(200)), stored=partial(told.append, "first")))
        await refused(ingest)
        await send.send(replace(lines(b"nothing"), stored=partial(told.append, "second")))
        await send.send(lines(*large(30, 200)))
    assert told == []
    # Who was not told sends again; those that nobody waits for are lost.
    assert ingest.writer_state.lost_events == 30
    fates = ingest.fates()
    assert (fates["waiting"], fates["lost"], sum(fates.values())) == (200, 30, 231)


async def test_what_a_journal_kept_is_there_though_it_was_given_up(
    ingest: Ingest, store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    told: list[str] = []
    refuse(store.connection)
    journal = Journal(store.path, secret(store.connection))
    async with (
        running(ingest) as send,
        trio.open_nursery() as nursery,
        journal.start(nursery, send.clone()) as keep,
    ):
        await keep.send(replace(lines(*large(200)), stored=partial(told.append, "kept")))
        await refused(ingest)
    journal.close()
    assert (told, ingest.writer_state.lost_events, attempts(store)) == (["kept"], 0, [])
    assert (ingest.fates()["waiting"], sum(ingest.fates().values())) == (200, 200)
    store.close()
    store = Store(store.path.parent)
    again = Ingest(Pipeline(RULES), store.writer, config.zone)
    after = Journal(store.path, secret(store.connection))
    async with running(again) as send, trio.open_nursery() as nursery:
        await after.start(nursery, send.clone()).aclose()
    assert (len(attempts(store)), after.state.waiting) == (200, 0)
    store.close()
    assert not list(store.path.parent.glob("*.journal.*"))


async def test_who_waits_for_its_turn_is_told_that_the_disk_refuses(
    ingest: Ingest, store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    refuse(store.connection)
    async with running(ingest) as send:
        await send.send(lines(*large(200)))
        while not ingest._writing.locked():
            await trio.lowlevel.checkpoint()
        with pytest.raises(DatabaseError, match="full"):
            await ingest.unless_refused(lambda: pytest.fail("it has no turn"))
        allow(store.connection)
    assert len(attempts(store)) == 200
    assert ingest.writer_state.lost_events == 0


async def test_a_stop_while_the_disk_refuses_is_bounded(
    ingest: Ingest, store: Store, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Not for each transaction that waits, but once: with live lines and an import."""
    file = logged(tmp_path, b"\n".join(large(3000, 1000)))
    refuse(store.connection)
    states = []

    async def do_import() -> None:
        states.append(await importer_of(ingest, store).import_file(file, UTC, silent))

    async with trio.open_nursery() as nursery, running(ingest) as send:
        nursery.start_soon(do_import)
        for n in range(10):
            await send.send(lines(*large(100, 100 * n)))
        await refused(ingest)
        begun = trio.current_time()
    file.close()
    assert 20 <= trio.current_time() - begun < 30
    assert ingest.writer_state.lost_events >= 1000
    assert "was imported in part only" in states[0].error
    assert attempts(store) == []


async def test_what_the_disk_takes_before_time_is_up_is_not_lost(
    ingest: Ingest, store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    async def make_room() -> None:
        await refused(ingest)
        await trio.sleep(10)
        allow(store.connection)

    refuse(store.connection)
    async with trio.open_nursery() as nursery, running(ingest) as send:
        nursery.start_soon(make_room)
        await send.send(lines(*large(200)))
    assert len(attempts(store)) == 200
    assert ingest.writer_state.lost_events == 0


async def test_the_service_ends_with_status_1_when_the_disk_refuses(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The wiring of it, with the service in this process: its clock need not be waited for."""
    caplog.set_level(logging.INFO)
    (tmp_path / "pda.toml").write_text('[receive]\nlisten = []\n[http]\nbind = ""\n')
    environment = {"PDA_STORE_PATH": str(tmp_path / "pda.db")}
    settings = config.load(tmp_path / "pda.toml", environment)
    statuses = []
    stop = trio.Event()

    async def signals() -> AsyncIterator[int]:
        await stop.wait()
        yield signal.SIGTERM

    with open_rooms(settings) as rooms:

        async def run() -> None:
            statuses.append(await Service(rooms).run(signals()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await trio.sleep(1)
            refuse(rooms.writer._connection)
            file = logged(tmp_path, b"\n".join(large(500)))
            nursery.start_soon(rooms.importer.import_file, file, UTC, silent)
            await refused(rooms.ingest)
            stop.set()
    assert statuses == [1]
    assert re.search(r"stopped with \d+ events lost: the database refused them", caplog.text)
    assert "can be written again" not in caplog.text


# --- Memory --------------------------------------------------------------------------------------


async def test_an_import_reads_no_further_while_a_part_waits(ingest: Ingest, store: Store) -> None:
    begun: list[int] = []

    async def read() -> None:
        async with ingest.submitting() as submit:
            for part in range(2):
                await submit(Work(gather(events(LIFE)), ingest.pipeline.rules))
                begun.append(part)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        assert begun == []
        nursery.start_soon(ingest.write)
        ingest.closing()
    assert begun == [0, 1]
    assert len(attempts(store)) == 1


async def peak(folder: Path, messages: int) -> int:
    """Octets of memory that an import takes at the most."""
    store = Store(folder, limit=100)
    ingest = Ingest(Pipeline(RULES), store.writer, config.zone)
    content = b"\n".join(
        line
        for queue_id in [f"4jXPlN1VQl{n:05}" for n in range(messages)]
        for line in message(
            queue_id,
            message_id=f"<98494.{queue_id}@shop>",
            deliveries=[attempt(queue_id=queue_id)],
        )
    )
    file = logged(folder, gzip.compress(content, 1))
    del content
    gc.collect()
    tracemalloc.start()
    async with running(ingest):
        state = await importer_of(ingest, store).import_file(file, UTC, silent)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    file.close()
    assert (state.lines, len(attempts(store))) == (5 * messages, messages)
    store.close()
    return most


async def test_memory_does_not_grow_with_the_file(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond what the transactions and the open entries may hold, here made small."""
    monkeypatch.setattr("pda.ingest._MOST_EVENTS", 1000)
    monkeypatch.setattr("pda.ingest._QUEUED_WORK", 1)
    monkeypatch.setattr("pda.backfill.lines.PIECE", 32 * 1024)
    small, larger = [await peak(tmp_path_factory.mktemp("x"), n) for n in (1_000, 3_000)]
    assert larger < 1.5 * small
