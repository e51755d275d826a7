"""What is too old goes whole, in small pieces, and no import brings it back."""

from __future__ import annotations

from pathlib import Path

import pytest

from pda.maillog.events import refused_told
from pda.maillog.pipeline import Pipeline
from pda.store import address_runs, retention, upkeep
from pda.store.address_blocks import Search
from pda.store.database import DatabaseError
from pda.store.removal import horizon
from pda.times import moment
from tests.support import NOW, RULES, Store, attempt, line, message

DAY = 86_400_000_000


def of_day(day: int, number: int = 0) -> list[bytes]:
    """A message with one delivered and one deferred recipient."""
    queue_id, stamp = f"4jXPlN{day:02}{number:05}Q", f"2026-03-{day:02}T10:00:00.000000+00:00"
    return [
        line(f"{queue_id}: client=app[192.0.2.9]", program="smtpd", at=stamp),
        line(f"{queue_id}: message-id=<98494.{day}.{number}@shop>", program="cleanup", at=stamp),
        line(f"{queue_id}: from=<a@b.c>, size=5, nrcpt=2 (queue active)", program="qmgr", at=stamp),
        attempt(queue_id=queue_id, at=stamp, delay="0.1", to=f"r{number}@d{day}.example"),
        attempt("deferred", queue_id=queue_id, at=stamp, delay="0.1", to=f"s{number}@d{day}.example",
                reason=f"reply of day {day}", dsn="4.2.2"),
    ]  # fmt: skip


NINTH = moment("2026-03-09T00:00:00Z")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Messages of ten days."""
    store = Store(tmp_path)
    for day in range(1, 11):
        store.add([one for number in range(20) for one in of_day(day, number)])
    return store


def count(store: Store, table: str) -> int:
    (row,) = store.connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    assert isinstance(row[0], int)
    return row[0]


def removed(store: Store, at: int, entries: int = 30) -> int:
    """How many queue entries."""
    return store.remove_older(at, entries).removed


def test_what_was_not_heard_of_since_goes_with_all_that_belongs_to_it(store: Store) -> None:
    assert removed(store, NINTH) == 160
    assert [count(store, table) for table in ("entry", "attempt", "outcome")] == [40, 80, 80]
    # Recipients, their domain and the two ids of each message that stays.
    assert count(store, "term") == 40 * 5
    while changed := address_runs.find_left(store.connection):
        address_runs.put(store.connection, changed)
    assert Search(store.connection, "@d").between(0, 1000) == list(range(161, 201))
    assert upkeep.check(store.path, store.key) == []
    assert retention.span(store.connection) == (
        moment("2026-03-09T09:59:59.9Z"),
        moment("2026-03-10T09:59:59.9Z"),
    )


@pytest.mark.parametrize("entries", [1, 7, 20, 1000])
def test_the_pieces_make_no_difference(store: Store, entries: int) -> None:
    late = [
        attempt("deferred", queue_id=f"4jXPlN01{number:05}Q", at="2026-03-09T10:00:00.000000+00:00",
                delay=str(8 * 86400), to="s0@d1.example", dsn="4.2.2")
        for number in range(0, 20, 3)
    ]  # fmt: skip
    store.add(late)
    assert removed(store, NINTH, entries) == 160 - len(late)


def test_what_is_still_tried_stays_whole(store: Store) -> None:
    late = attempt("deferred", queue_id="4jXPlN0100000Q", at="2026-03-09T10:00:00.000000+00:00",
                   delay=str(8 * 86400), to="s0@d1.example", dsn="4.2.2")  # fmt: skip
    store.add([late])
    assert removed(store, NINTH) == 159
    assert count(store, "attempt") == 83


def test_what_is_still_tried_goes_when_it_is_older_than_any_is_kept_for(store: Store) -> None:
    late = [
        attempt("deferred", queue_id=f"4jXPlN{day:02}00000Q", at="2026-03-09T10:00:00.000000+00:00",
                delay=str((9 - day) * 86400), to=f"s0@d{day}.example", dsn="4.2.2")
        for day in (1, 2)
    ]  # fmt: skip
    store.add(late)
    kept = store.remove_older(NINTH, latest=moment("2026-03-02T00:00:00Z"))
    assert (kept.removed, kept.unsettled) == (159, 1)
    assert upkeep.check(store.path, store.key) == []


def test_births_are_evenly_chosen(store: Store) -> None:
    days = [at // DAY for at in retention.births(store.connection)]
    assert days == sorted(days)
    assert len(set(days)) == 10
    removed(store, moment("2026-04-01T00:00:00Z"))
    assert len(retention.births(store.connection)) == 1


def test_nothing_is_stored(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert retention.span(store.connection) is None
    assert retention.births(store.connection) == []


@pytest.mark.parametrize("order", [1, -1])
def test_a_later_import_brings_nothing_back(store: Store, tmp_path: Path, order: int) -> None:
    removed(store, NINTH)
    before = store.everything()
    everything = [one for day in range(1, 11) for n in range(20) for one in of_day(day, n)]
    store.add(everything[::order], live=False)
    assert store.writer.removal.refused == 160 * 5
    assert store.everything() == before
    store.close()
    again = Store(tmp_path)
    assert horizon(again.connection) == NINTH
    again.add(everything, live=False)
    assert again.everything() == before


def test_the_horizon_never_goes_back(store: Store) -> None:
    removed(store, NINTH)
    removed(store, NINTH - DAY)
    assert horizon(store.connection) == NINTH


def test_what_is_remembered_goes_too(store: Store) -> None:
    """A later line of an entry that is not stored any more begins it anew."""
    removed(store, NINTH)
    store.add(
        [attempt(queue_id="4jXPlN0100000Q", at="2026-03-10T10:00:00.000000+00:00", delay="1")]
    )
    assert (count(store, "entry"), count(store, "attempt")) == (41, 81)
    assert upkeep.check(store.path, store.key) == []


def test_texts_that_nothing_refers_to_go(store: Store) -> None:
    removed(store, NINTH)
    given = store.writer.forget_texts()
    store.add(of_day(10, 99))  # the same reply: it gets a new number
    with store.reading() as reading:
        orphans = retention.find_orphans(reading, given)
    for one in orphans:
        retention.remove_orphans(store.connection, one)
    texts = {
        str(name) for (name,) in store.connection.execute("SELECT name FROM reason").fetchall()
    }
    assert texts == {"reply of day 9", "reply of day 10"}
    assert upkeep.check(store.path, store.key) == []
    store.add(of_day(10, 100))
    assert upkeep.check(store.path, store.key) == []


def test_texts_go_together(store: Store) -> None:
    """In one transaction: each of its own would wait for the disk, and lines for all of them."""
    connection = store.connection
    numbers = [1, 2, 3]
    connection.execute(
        "CREATE TEMP TRIGGER broken BEFORE DELETE ON reason WHEN old.id = 3"
        " BEGIN SELECT raise(ABORT, 'not this one'); END"
    )
    with pytest.raises(DatabaseError, match="not this one"):
        retention.remove_orphans(connection, retention.Orphans("reason", numbers))
    connection.execute("DROP TRIGGER broken")
    assert connection.execute("SELECT count(*) FROM reason").fetchall() == [(10,)]


def test_texts_of_what_was_refused_go_too(store: Store) -> None:
    for n, day in enumerate((1, 10)):
        text = (
            f"NOQUEUE: reject: RCPT from x[192.0.2.1]: 55{n} 5.1.1 no {n}; from=<a@b.c> to=<d@e.f>"
        )
        stamp = f"2026-03-{day:02}T10:00:00.000000+00:00"
        source = Pipeline(RULES).source()
        source.read([line(text, program="smtpd", at=stamp)], NOW)
        store.add_told(refused_told(source.refused()))
    removed(store, NINTH)
    with store.reading() as reading:
        orphans = retention.find_orphans(reading, store.writer.forget_texts())
    found = {one.table: one.numbers for one in orphans}
    assert (found["reject_reply"], found["reject_manner"]) == ([1], [1])


def test_pages_are_given_back(store: Store) -> None:
    for day in range(11, 20):
        store.add([one for number in range(200) for one in of_day(day, number)])
    before = upkeep.measure(store.path, store.key)
    removed(store, moment("2026-03-19T00:00:00Z"), 500)
    used = retention.octets_used(store.connection)
    pieces = 1
    while retention.give_back(store.connection, 16):
        pieces += 1
    now = upkeep.measure(store.path, store.key)
    assert pieces > 2
    assert now.free_octets == 0
    assert now.octets == used < before.octets
    assert upkeep.check(store.path, store.key) == []


def test_what_belongs_to_no_entry_goes_by_its_own_time(store: Store) -> None:
    columns = "?" + ", 1" * 14
    times = [(at,) for at in (*range(1, 500), NINTH)]
    store.connection.executemany(f"INSERT INTO reject VALUES ({columns})", times)
    assert retention.span(store.connection) == (1, moment("2026-03-10T09:59:59.9Z"))
    bounds = retention.Bounds(NINTH)
    while retention.remove_older(store.connection, bounds, [], others=30).others:
        pass  # there are more of them than of entries
    assert store.connection.execute("SELECT at FROM reject").fetchall() == [(NINTH,)]


def test_the_last_number_is_not_given_again(store: Store, tmp_path: Path) -> None:
    last = store.writer.last_entry
    removed(store, moment("2026-04-01T00:00:00Z"))
    assert count(store, "entry") == 1
    assert Store(tmp_path).writer.last_entry == last


def test_messages_of_which_only_the_end_is_known(store: Store) -> None:
    for one in message("4jXPlN1VQlzJbSD")[-1:]:
        store.add([one])
    assert removed(store, moment("2026-03-10T12:00:00Z")) == 200
