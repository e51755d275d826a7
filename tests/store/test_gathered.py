"""Rows in one step: the same values as those that are fetched row by row."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pda.store.database import Connection, DatabaseError, find_key, open_writer
from pda.store.queries.gathered import gathered

NUMBERS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text() | st.text('\\"[]{}\x00\x1f\x7f\u2028,\n', max_size=4)
ROWS = "SELECT a, b FROM said ORDER BY number"


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    folder = tmp_path_factory.mktemp("gathered")
    path = folder / "pda.db"
    connection = open_writer(path, find_key(path, folder / "pda.key"))
    connection.execute("CREATE TABLE said (number INTEGER PRIMARY KEY, a, b)")
    yield connection
    connection.close()


@given(
    rows=st.lists(st.tuples(st.none() | NUMBERS | TEXTS, st.none() | NUMBERS | TEXTS | st.binary()))
)
def test_the_same_as_fetched(
    connection: Connection, rows: list[tuple[int | str | None, int | str | bytes | None]]
) -> None:
    connection.execute("DELETE FROM said")
    connection.executemany("INSERT INTO said (a, b) VALUES (?, ?)", rows)
    a, b = gathered(connection, ROWS, (), [False, True])
    assert [*zip(a, b, strict=True)] == connection.execute(ROWS, ()).fetchall() == rows


def test_octets_where_none_may_be(connection: Connection) -> None:
    with pytest.raises(DatabaseError, match="JSON cannot hold BLOB"):
        gathered(connection, "SELECT x'ff'", (), [False])
