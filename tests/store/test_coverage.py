"""How complete the picture is: each kind of gap, alone and in millions of entries."""

from __future__ import annotations

from pathlib import Path

import pytest

from pda.store.coverage import _GAPS, _SUMS, LIFETIME, SILENCE, Gap, coverage
from pda.times import moment
from tests.store.test_retention import of_day
from tests.support import NOW, Store, attempt, line, message

LATER = moment("2026-04-01T00:00:00Z")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_nothing_is_missing(store: Store) -> None:
    assert coverage(store.connection, None, NOW).entries == 0
    store.add(message(deliveries=[attempt()]))
    found = coverage(store.connection, None, LATER)
    assert (found.entries, found.since) == (1, moment("2026-03-10T10:00:00Z"))
    assert (found.headless, found.unfinished, found.short, found.recipients_missing) == (0, 0, 0, 0)
    assert found.gaps == []


def test_a_beginning_that_was_never_seen(store: Store) -> None:
    store.add([attempt()])
    assert coverage(store.connection, None, NOW).headless == 1


def test_a_message_that_never_came_to_its_end(store: Store) -> None:
    store.add(message(deliveries=[attempt("deferred")])[:-1])
    assert coverage(store.connection, None, moment("2026-03-15T00:00:00Z")).unfinished == 0
    assert coverage(store.connection, None, LATER).unfinished == 1


def test_recipients_of_which_nothing_is_known(store: Store) -> None:
    lines = message(deliveries=[attempt()])
    lines[2] = lines[2].replace(b"nrcpt=1", b"nrcpt=4")
    store.add(lines)
    found = coverage(store.connection, None, NOW)
    assert (found.short, found.recipients_missing) == (1, 3)


def test_times_without_messages(store: Store) -> None:
    for day in (1, 2, 5):
        store.add([*of_day(day), *of_day(day, 1)])
    store.add([line("4jXPlN1VQlzJbSX: client=x[192.0.2.1]", program="smtpd", host="mx2")])
    begun = [moment(f"2026-03-{n:02}T10:00:00Z") - 100_000 for n in (1, 2, 5)]
    assert coverage(store.connection, None, NOW).gaps == [
        Gap("mx1", begun[1], begun[2]),
        Gap("mx1", begun[0], begun[1]),
    ]


def test_a_client_sees_its_own_part_only(store: Store) -> None:
    store.add([*message(deliveries=[attempt()]), attempt(queue_id="4jXPlN1VQlzJbSX")])
    assert coverage(store.connection, "shop", NOW).entries == 1
    assert coverage(store.connection, "shop", NOW).headless == 0
    assert coverage(store.connection, "nobody", NOW).entries == 0


def test_only_the_last_entries_are_looked_at_and_none_is_kept(store: Store) -> None:
    store.add([one for n in range(50) for one in of_day(1, n)])
    assert coverage(store.connection, None, NOW, entries=20).entries == 20
    for sql, values in ((_SUMS, [20, None, NOW, LIFETIME]), (_GAPS, [20, None, SILENCE])):
        plan = str(store.connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall())
        assert "SEARCH e USING INTEGER PRIMARY KEY" in plan
        assert "MATERIALIZE" not in plan
        assert "FOR GROUP BY" not in plan
