"""Whatever is put together, whenever: an entry is found by its terms at any moment, and once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pda.store import addresses, pieces, queries, upkeep
from pda.store.database import Connection
from pda.store.erasure import EraseAddress, finish, search, step
from pda.store.queries import Filter
from tests.support import NOW, Store, attempt, message

Terms = list[tuple[int, int]]
LAST = 40 << pieces.PIECE_BITS
"""In the open piece: of those before 32 are put together, and twice four."""
ENTRIES = st.integers(1, LAST) | st.integers(0, 39).map(lambda piece: (piece << 16) + 5)
TERMS = st.lists(st.tuples(st.integers(-3, 3), ENTRIES), max_size=20)


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Connection:
    connection = Store(tmp_path_factory.mktemp("pieces")).connection
    connection.execute("PRAGMA synchronous = OFF")  # there are many small transactions
    return connection


def fill(connection: Connection, terms: Terms, first: int = 1) -> None:
    """As the writer does it, from nothing."""
    for table in ("term", "term_piece", "entry"):
        connection.execute(f"DELETE FROM {table}")
    for entry in (first, LAST):
        connection.execute(
            "INSERT INTO entry (id, host_id, queue_id, born, client_id, message_id, size, nrcpt,"
            " expired_at, removed_at, facts) VALUES (?, 0, '', 0, 0, '', 0, 0, 0, 0, '')", (entry,)
        )  # fmt: skip
    pieces.put(connection, terms)


def found(connection: Connection, hashed: int) -> list[int]:
    return between(connection, hashed, 0, 2**62)


def between(connection: Connection, hashed: int, low: int, high: int) -> list[int]:
    rows = connection.execute(pieces.find_between(1), (low, high, hashed)).fetchall()
    return sorted({int(str(number)) for (number,) in rows})


def count(connection: Connection, table: str) -> int:
    return int(str(connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]))


def of_hash(terms: Terms, hashed: int) -> list[int]:
    return sorted({entry for one, entry in terms if one == hashed})


@given(
    terms=TERMS, late=TERMS, gone=TERMS, rows=st.integers(5, 20),
    span=st.tuples(st.integers(0, LAST), st.integers(0, LAST)),
)  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_an_entry_is_found_before_while_and_after(
    connection: Connection, terms: Terms, late: Terms, gone: Terms, rows: int, span: tuple[int, int]
) -> None:
    fill(connection, terms)
    wanted, steps = list(terms), 0
    while pieces.merge(connection, rows):
        steps += 1
        if steps == 2:
            pieces.put(connection, late)
            wanted += late
        if steps == 4:
            pieces.remove(connection, gone)
            wanted = [one for one in wanted if one not in gone]
        for hashed in range(-3, 4):
            assert found(connection, hashed) == of_hash(wanted, hashed)
            some = [one for one in of_hash(wanted, hashed) if span[0] <= one <= span[1]]
            assert between(connection, hashed, *span) == some
    assert count(connection, "term") == len(set(wanted))  # none stands twice
    assert count(connection, "term_piece") <= 2 + 2 * 3 + 1


def test_few_pieces_stay_of_many(connection: Connection) -> None:
    terms = [(1, (piece << 16) + 7) for piece in range(40)]
    fill(connection, terms)
    while pieces.merge(connection):
        pass
    kept = connection.execute("SELECT last - first + 1 FROM term_piece ORDER BY first").fetchall()
    assert [int(str(width)) >> 16 for (width,) in kept] == [16, 16, 4, 4]


def test_no_step_moves_more_than_it_may(connection: Connection) -> None:
    """Also where all have one domain."""
    fill(
        connection,
        [(1, entry) for piece in range(4) for entry in range(piece << 16, (piece << 16) + 500)],
    )
    left = 2000
    while pieces.merge(connection, 100):
        now = count(connection, "term WHERE piece >= 0")
        assert 0 < left - now <= 100
        left = now
    assert left == 0


def test_what_is_being_written_stays_as_it_is(connection: Connection) -> None:
    fill(connection, [(1, LAST), (2, LAST - 1), (3, LAST - 5 * 65_536)])
    assert pieces.merge(connection)
    assert connection.execute("SELECT count(*) FROM term WHERE piece = 40").fetchall() == [(1,)]


def test_terms_of_entries_that_have_all_gone_go_too(connection: Connection) -> None:
    fill(connection, [(1, 5), (1, 70_000), (1, 5 << 16)], first=3 << 16)
    while pieces.merge(connection):
        pass
    assert found(connection, 1) == [5 << 16]


@pytest.fixture
def merged(tmp_path: Path) -> Store:
    """A store with one piece, put together; nothing is written into it any more."""
    store = Store(tmp_path)
    deliveries = [attempt("bounced", to="a@b.example", dsn="5.1.1"), attempt(to="c@b.example")]
    store.add(message(deliveries=deliveries))
    store.writer.begin_anew()
    later = message("4jXPlN2VQlzJbSD", message_id="<2.7@shop>", deliveries=[])
    store.connection.execute(
        "INSERT INTO entry SELECT ?, host_id, 'Q', born, client_id, claimed_id, '', NULL, sender,"
        " size, nrcpt, expired_at, removed_at, origin, facts FROM entry", (9 << 16,)
    )  # fmt: skip
    while pieces.merge(store.connection):
        pass
    store.writer.begin_anew()
    store.add(later)
    assert store.connection.execute("SELECT min(number) FROM term_piece").fetchall() == [(-1,)]
    return store


def test_an_entry_that_stands_in_two_pieces_counts_once(merged: Store) -> None:
    pieces.put(merged.connection, pieces_of(merged))
    with merged.reading() as reading:
        known = addresses.of_recipients(reading, ["a@b.example"], None)["a@b.example"]
        assert (known.messages, known.recipients, known.attempts) == (1, 1, 1)
        page = queries.outcomes_page(reading, Filter(recipient="a@b.example"))
        assert [row.recipient for row in page.rows] == ["a@b.example"]


def pieces_of(store: Store) -> Terms:
    rows = store.connection.execute("SELECT hash, entry_id FROM term WHERE piece < 0").fetchall()
    assert rows
    return [(int(str(hashed)), int(str(entry))) for hashed, entry in rows]


def test_an_address_is_erased_there(merged: Store) -> None:
    pseudonym = merged.make(EraseAddress("a@b.example"))
    while step(merged.connection, 1_000_000):
        pass
    finish(merged.connection, search(merged.connection), NOW)
    with merged.reading() as reading:
        assert queries.outcomes_page(reading, Filter(recipient="a@b.example")).rows == []
        assert len(queries.outcomes_page(reading, Filter(recipient=pseudonym)).rows) == 1
        assert len(queries.outcomes_page(reading, Filter(recipient="c@b.example")).rows) == 1


def test_what_is_too_old_goes_out_of_it(merged: Store) -> None:
    before = count(merged.connection, "term WHERE piece < 0")
    merged.remove_older(NOW, 1)
    assert count(merged.connection, "term WHERE piece < 0") < before == 5
    assert upkeep.check(merged.path, merged.key) == []
