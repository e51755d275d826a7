"""What the service does to the store by itself, beside live lines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

from pda import config, housekeeping
from pda.backfill import open_log
from pda.config import RetentionSettings
from pda.housekeeping import next_bounds, next_piece
from pda.maillog.correlate import gather
from pda.rooms import Rooms, open_rooms
from pda.store import queries, retention, summing, upkeep
from pda.store.audit import Author
from pda.store.database import Connection, Value
from pda.store.erasure import EraseAddress, erasures
from pda.store.queries import Filter
from pda.store.readers import Readers
from pda.store.retention import Span
from pda.times import moment
from pda.work import Work
from tests.receive.support import until
from tests.running import Running, eventually
from tests.store.test_retention import of_day
from tests.support import attempt, events, message

NOW = moment("2026-03-11T00:00:00Z")
DAY = 86_400_000_000


@asynccontextmanager
async def writing(folder: Path, **of_retention: float) -> AsyncIterator[tuple[Rooms, Readers]]:
    store = config.StoreSettings(str(folder / "pda.db"))
    retained = msgspec.convert(of_retention, RetentionSettings)
    with open_rooms(config.Settings(store=store, retention=retained)) as rooms:
        readers = Readers(folder / "pda.db", rooms.key)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rooms.ingest.write)
            yield rooms, readers
            rooms.ingest.closing()
        readers.close()


async def add(rooms: Rooms, lines: list[bytes]) -> None:
    done = trio.Event()
    async with rooms.ingest.submitting() as submit:
        await submit(Work(gather(events(lines)), rooms.pipeline.rules, done=done))
        await done.wait()


DAYS = [one for day in range(1, 11) for number in range(50) for one in of_day(day, number)]


async def test_by_age(tmp_path: Path) -> None:
    async with writing(tmp_path, days=3) as (rooms, readers):
        await add(rooms, DAYS)
        await rooms.housekeeping.once(readers.call, NOW)
        assert readers.call(queries.totals).entries == 150
        assert rooms.housekeeping.kept.removed == 350
        assert rooms.housekeeping.kept.texts == 7
        await add(rooms, DAYS)
        assert readers.call(queries.totals).entries == 150
        assert rooms.writer.removal.refused == 350 * 5
    assert upkeep.check(tmp_path / "pda.db", rooms.key) == []


@pytest.mark.parametrize("now", [NOW, moment("2036-03-11T00:00:00Z"), moment("2026-03-10T12:00Z")])
async def test_by_size(tmp_path: Path, now: int) -> None:
    """Whatever the time is: the log may be much older than that."""
    async with writing(tmp_path) as (rooms, readers):
        await add(rooms, DAYS)
        whole = readers.call(retention.octets_used)
        limit = whole * 3 // 4
        rooms.housekeeping.settings = RetentionSettings(max_bytes=limit)
        await rooms.housekeeping.once(readers.call, now)
        assert readers.call(retention.octets_used) <= limit
        left = readers.call(queries.outcomes, Filter())
        assert 300 <= len(left) < 1000  # no more goes than has to
        assert min(row.first_at for row in left) >= rooms.writer.removal.horizon
        assert (tmp_path / "pda.db").stat().st_size <= limit
        await add(rooms, of_day(11))
        assert rooms.writer.removal.refused == 0


async def test_what_is_still_tried_does_not_hold_the_room_for_ever(tmp_path: Path) -> None:
    late = [
        attempt("deferred", queue_id=f"4jXPlN{day:02}{n:05}Q", at="2026-03-10T23:00:00.000000+00:00",
                delay=str((10 - day) * 86400 + 13 * 3600), to=f"s{n}@d{day}.example", dsn="4.2.2")
        for day in range(1, 10) for n in range(50)
    ]  # fmt: skip
    async with writing(tmp_path) as (rooms, readers):
        await add(rooms, DAYS + late)
        limit = readers.call(retention.octets_used) * 3 // 4
        rooms.housekeeping.settings = RetentionSettings(max_bytes=limit)
        await rooms.housekeeping.once(readers.call, NOW)
        kept = rooms.housekeeping.kept
        assert readers.call(retention.octets_used) <= limit
        assert 0 < kept.unsettled == kept.removed < 400
        assert {row.first_at // DAY for row in readers.call(queries.outcomes, Filter())} >= {
            moment(f"2026-03-{day:02}T00:00:00Z") // DAY for day in (8, 9, 10)
        }


async def test_a_limit_that_nothing_can_keep(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with writing(tmp_path, max_bytes=1) as (rooms, readers):  # not by a file of settings
        await add(rooms, DAYS[:50])
        await rooms.housekeeping.once(readers.call, NOW)
        assert readers.call(queries.totals).entries <= 1
    assert "less than the database needs" in caplog.text


async def test_everything_is_kept_unless_somebody_says_otherwise(tmp_path: Path) -> None:
    async with writing(tmp_path) as (rooms, readers):
        await add(rooms, DAYS)
        await rooms.housekeeping.once(readers.call, moment("2036-01-01T00:00:00Z"))
        assert readers.call(queries.totals).entries == 500


async def test_live_lines_are_written_between_two_pieces(tmp_path: Path) -> None:
    async with writing(tmp_path, days=3) as (rooms, readers), trio.open_nursery() as nursery:
        await add(rooms, [one for n in range(2000) for one in of_day(1, n)])
        nursery.start_soon(rooms.housekeeping.once, readers.call, NOW)
        left = []
        for number in range(3):
            await add(rooms, of_day(10, number))
            left.append(readers.call(queries.totals).entries)
        assert left[0] > 1000  # it waited for a piece, not for the whole


async def test_what_finds_entries_is_put_together(tmp_path: Path) -> None:
    async with writing(tmp_path) as (rooms, readers):
        await add(rooms, DAYS)

        def go_on(connection: Connection) -> None:
            """As if many more had come."""
            connection.execute("UPDATE entry SET id = id + 300000 WHERE id = 500")

        await rooms.ingest.exclusively(partial(rooms.writer.do, go_on))
        await rooms.housekeeping.once(readers.call, NOW)
        assert readers.call(_pieces) == [(-1, 0, (1 << 18) - 1)]
        assert readers.call(queries.outcomes_page, Filter(recipient="r7@d3.example")).rows


def _pieces(connection: Connection) -> list[tuple[Value, ...]]:
    return connection.execute("SELECT * FROM term_piece").fetchall()


HOUR = DAY // 24


@pytest.mark.parametrize(
    ("births", "too_much", "horizon", "latest"),
    [
        (range(0, 200 * HOUR, HOUR), 0.5, 50 * HOUR, -99 * HOUR),  # half of the half
        (range(0, 200 * HOUR, HOUR), 0.001, HOUR, -197 * HOUR),  # an hour at least
        (range(0, 200 * HOUR, HOUR), 0.99, 99 * HOUR, -HOUR),
        ([0] * 90 + [n * HOUR for n in range(110)], 0.5, HOUR, -107 * HOUR),  # most in the first
        ([*range(10), 150 * HOUR], 0.5, HOUR, -148 * HOUR),
        ([0, 9], 0.5, 10, 11),  # not beyond what is stored
    ],
)
def test_the_horizon_goes_half_of_the_way_to_the_newest(
    births: Sequence[int], too_much: float, horizon: int, latest: int
) -> None:
    span = Span(0, max(births, default=0))
    assert next_bounds(span, births, 0, too_much) == (horizon, latest)


def test_the_horizon_where_there_is_only_what_was_refused() -> None:
    assert next_bounds(Span(0, 100 * HOUR), [], 0, 0.5) == (HOUR, -98 * HOUR)


def test_the_horizon_goes_on_from_where_it_was() -> None:
    births = range(0, 200 * HOUR, HOUR)
    assert next_bounds(Span(0, 199 * HOUR), births, 100 * HOUR, 0.5).horizon == 125 * HOUR
    assert next_bounds(Span(0, 199 * HOUR), births, 199 * HOUR, 0.5).horizon == 199 * HOUR + 1


@pytest.mark.parametrize(
    ("entries", "took", "waited", "then"),
    [
        (100, 0.03, 0.0, 200),  # the commit is most of it
        (800, 0.35, 0.0, 400),  # nobody else writes: live lines that come are not to wait
        (800, 0.4, 0.5, 1600),
        (1600, 0.4, 0.5, 1600),
        (1600, 0.4, 0.01, 800),
        (100, 0.4, 0.0, 100),
    ],
)
def test_a_piece_takes_as_long_as_it_waits(
    entries: int, took: float, waited: float, then: int
) -> None:
    assert next_piece(entries, took, waited) == then


async def test_an_import_says_what_was_too_old(tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    log.write_bytes(b"".join(line + b"\n" for line in DAYS))
    async with writing(tmp_path, days=3) as (rooms, readers):
        await add(rooms, DAYS)
        await rooms.housekeeping.once(readers.call, NOW)
        file = open_log(log)
        state = await rooms.importer.import_file(file, rooms.wanted(), lambda _: None)
        file.close()
    assert state.note == "1750 lines are older than what is kept"
    assert (state.attempts, state.new, state.known, state.refused_attempts) == (1000, 0, 300, 700)


async def test_an_erasure_is_ended_when_it_was_ordered(tmp_path: Path) -> None:
    async with writing(tmp_path) as (rooms, readers), trio.open_nursery() as nursery:
        nursery.start_soon(rooms.housekeeping.run, readers.call)
        await add(rooms, message(deliveries=[attempt(to="ann.smith@example.org")]))
        pseudonym = await rooms.make(EraseAddress("ann.smith@example.org"), Author("tests"))
        with trio.fail_after(20):
            await until(lambda: readers.call(erasures)[0].finished_at > 0)
        assert [row.recipient for row in readers.call(queries.outcomes, Filter())] == [pseudonym]
        nursery.cancel_scope.cancel()


def test_over_http_and_by_command(tmp_path: Path) -> None:
    with Running(tmp_path) as service:
        lines = [attempt(to=f"{name}@example.org", queue_id=f"4jXPlN1VQlzJb{name.upper()}")
                 for name in ("ann", "bob", "cat")]  # fmt: skip
        service.send(lines)
        eventually(service.attempts, lambda found: len(found) == 3)
        done = service.pda("erase", "ann@example.org")
        assert b"erased-" in done.stdout
        answer = service.ask_http("DELETE", "/api/v1/addresses/bob@example.org")
        assert answer["pseudonym"].startswith("erased-")
        eventually(
            lambda: service.get("/api/v1/erasures")["erasures"],
            lambda found: len(found) == 2 and all(one["finished_at"] for one in found),
        )
        service.send(lines)
        names = eventually(
            lambda: {row.recipient[:6] for row in service.attempts()},
            lambda names: names == {"erased", "cat@ex"},
        )
        assert names
        service.stop()
        assert b"erased-" in service.pda("erase", "cat@example.org").stdout
        assert {row.recipient[:6] for row in service.attempts()} == {"erased"}
        assert b"no address" in service.pda("erase", "nobody").stderr
        assert "ann@" not in service.log.read_text()


async def test_who_is_written_to_often_is_summed_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and as more comes."""

    def often(numbers: range) -> list[bytes]:
        ids = {n: f"4jXPlN01{n:05}Q" for n in numbers}
        tries = {n: attempt(queue_id=ids[n], to=f"r{n % 50}@example.org") for n in numbers}
        return [one for n in numbers for one in message(ids[n], deliveries=[tries[n]])]

    def sums(connection: Connection) -> int:
        return int(str(connection.execute("SELECT count(*) FROM address_sum").fetchall()[0][0]))

    monkeypatch.setattr(housekeeping, "_SUMS_EVERY_S", 0.01)
    async with writing(tmp_path) as (rooms, readers), trio.open_nursery() as nursery:
        await add(rooms, often(range(3200)))
        nursery.start_soon(rooms.housekeeping.run, readers.call)
        await until(lambda: readers.call(sums) > 0)
        before = readers.call(sums)
        await add(rooms, often(range(3200, 4300)))
        await until(lambda: readers.call(sums) > before)
        nursery.cancel_scope.cancel()


async def test_however_much_changes_other_work_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(connection: Connection) -> int:
        return int(str(connection.execute("SELECT count(*) FROM address_late").fetchall()[0][0]))

    def change(connection: Connection) -> None:
        rows = [(number, number) for number in range(3)]
        connection.executemany("INSERT INTO address_late (address, entry_id) VALUES (?, ?)", rows)

    monkeypatch.setattr(summing, "_LATE_AT_A_TIME", 1)
    monkeypatch.setattr(housekeeping, "_LATE_STEPS", 2)
    async with writing(tmp_path) as (rooms, readers):
        await rooms.ingest.exclusively(partial(rooms.writer.do, change))
        await rooms.housekeeping.sum_up(readers.call)
        assert readers.call(late) == 1
        await rooms.housekeeping.sum_up(readers.call)
        assert readers.call(late) == 0
