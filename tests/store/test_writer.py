"""Events into rows: once, also after a restart, a full disk or a lost memory."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pda.maillog.correlate import gather
from pda.store import queries
from pda.store.batch import Batch
from pda.store.driver import dbapi2
from pda.store.queries import Filter
from tests.maillog.test_correlate import LONG_LIFE
from tests.maillog.test_lives import THREE_LIVES
from tests.support import Store, attempt, events, message

LINES = [*LONG_LIFE, *THREE_LIVES]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_the_same_lines_twice_change_nothing(store: Store) -> None:
    store.add(LINES)
    before = store.everything()
    store.add(LINES)
    assert store.everything() == before
    store.correlator.forget_all()
    store.add(LINES)
    assert store.everything() == before


def test_known_lines_get_no_new_change_number(store: Store) -> None:
    store.add(LINES)
    with store.reading() as connection:
        before = [row.change for row in queries.outcomes(connection, Filter())]
        store.correlator.forget_all()
        store.add(LINES)
        assert [row.change for row in queries.outcomes(connection, Filter())] == before
        assert len(set(before)) == len(before)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.permutations(LINES), st.lists(st.integers(0, len(LINES)), max_size=4))
def test_any_order_cut_anywhere_with_restarts(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], cuts: list[int]
) -> None:
    """Each cut closes the database, forgets everything and opens it again."""
    expected = Store(tmp_path_factory.mktemp("expected"))
    expected.add(LINES)
    folder = tmp_path_factory.mktemp("found")
    bounds = [0, *sorted(cuts), len(lines)]
    for begin, end in pairwise(bounds):
        store = Store(folder, limit=2)
        store.add(lines[begin:end])
        found = store.everything()
        store.close()
    assert found == expected.everything()
    expected.close()


def test_a_life_forgets_what_belongs_to_another_one(tmp_path: Path) -> None:
    """A later `removed` counts for the only life that is known, until the next one is seen."""
    late = next(n for n, line in enumerate(THREE_LIVES) if b"09:00:05" in line)
    lines = [THREE_LIVES[late], *THREE_LIVES[:late], *THREE_LIVES[late + 1 :]]
    expected = Store(tmp_path / "expected")
    expected.add(lines)
    for cut in range(1, len(lines)):
        store = Store(tmp_path / str(cut))
        store.add(lines[:cut])
        store.add(lines[cut:])
        assert store.everything() == expected.everything(), cut
        store.close()


def test_a_full_disk_loses_nothing(store: Store) -> None:
    """SQLite's own refusal, at a limit of pages instead of a full disk."""
    store.add(message())
    connection = store.connection
    row = connection.execute("PRAGMA page_count").fetchone()
    assert row is not None
    connection.execute(f"PRAGMA max_page_count = {row[0]!r}")
    many = [attempt(to=f"r{n}@example.org", reason="x" * 1500) for n in range(200)]
    batch = store.writer.prepare(gather(events(many)))
    for _ in range(3):
        with pytest.raises(dbapi2.OperationalError, match="full"):
            store.writer.commit(batch)
    connection.execute("PRAGMA max_page_count = 1000000")
    store.writer.commit(batch)
    with store.reading() as reader:
        assert len(queries.attempts(reader, Filter())) == 200
        assert {row.client_id for row in queries.attempts(reader, Filter())} == {"shop"}


def test_what_the_disk_takes_back_is_written_again(tmp_path: Path) -> None:
    """SQLite ends a transaction by itself after an I/O error, also of reading."""
    mails = [
        message(f"4jXPlN1VQl{n:05}", deliveries=[attempt(queue_id=f"4jXPlN1VQl{n:05}")])
        for n in range(3)
    ]
    stores = found, expected = Store(tmp_path / "found"), Store(tmp_path / "expected")
    batches: list[Batch] = []
    for lines in mails:
        expected.add(lines)
        found.writer.restore(*batches)
        batches.append(found.writer.prepare(gather(events(lines))))
        found.writer.insert(batches[-1])
        found.connection.execute("ROLLBACK")
    found.writer.commit(*batches)
    assert found.everything() == expected.everything()
    counted, wanted = (
        store.connection.execute("SELECT * FROM counted").fetchall() for store in stores
    )
    assert counted == wanted


def test_open_entries_survive_a_restart(tmp_path: Path) -> None:
    head, tail = LONG_LIFE[:3], LONG_LIFE[3:]
    store = Store(tmp_path)
    store.add(head)
    store.close()
    store = Store(tmp_path)
    store.add(tail)
    with store.reading() as reader:
        assert {row.client_id for row in queries.attempts(reader, Filter())} == {"shop"}
        (message_row,) = queries.messages(reader, Filter())
    assert (message_row.recipients, message_row.attempts, message_row.bounced) == (3, 4, 1)


def test_filters(store: Store) -> None:
    store.add(LINES)
    with store.reading() as reader:
        everything = queries.attempts(reader, Filter())
        assert [row.at for row in everything] == sorted(row.at for row in everything)
        at = everything[2].at
        found: dict[str, Sequence[object]] = {
            "client": queries.attempts(reader, Filter(client="c8")),
            "recipient": queries.attempts(reader, Filter(recipient="a@x.example")),
            "queue id": queries.attempts(reader, Filter(queue_id="4F5C61A2")),
            "msgId": queries.attempts(reader, Filter(message_id="98494.9.1")),
            "message id": queries.attempts(reader, Filter(message_id="<98494.9.1@c9>")),
            "since": queries.attempts(reader, Filter(since=at)),
            "until": queries.attempts(reader, Filter(until=at)),
            "limit": queries.attempts(reader, Filter(limit=1)),
            "outcome": queries.outcomes(reader, Filter(recipient="a@X.example")),
            "nobody": queries.attempts(reader, Filter(client="nobody")),
        }
    counts = {name: len(rows) for name, rows in found.items()}
    same = sum(row.at == at for row in everything)
    assert counts == {
        "client": 1, "recipient": 2, "queue id": 3, "msgId": 1, "message id": 1,
        "since": sum(row.at >= at for row in everything),
        "until": len(everything) - sum(row.at >= at for row in everything) + same,
        "limit": 1, "outcome": 2, "nobody": 0,
    }  # fmt: skip
