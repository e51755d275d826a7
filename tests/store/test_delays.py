"""Delays come out of a row as they went in, and take few octets there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pda.store import delays, queries
from pda.store.database import Connection
from pda.store.queries import Filter
from tests.support import Store, attempt

SECONDS = st.integers(0, 10**6).map(str) | st.floats(0, 1e6).map(lambda one: f"{one:.6f}")


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    store = Store(tmp_path_factory.mktemp("delays"))
    yield store.connection
    store.close()


@given(text=st.text("0123456789./", max_size=80) | st.text("ab/.f 1A\t", max_size=9) | st.text())
def test_the_text_comes_out_as_it_went_in(text: str) -> None:
    assert delays.text_of(delays.packed(text)) == text


@pytest.mark.parametrize(("text", "octets"), [("", 0), ("0", 1), ("0.03/0/0.07/0.81", 8)])
def test_a_usual_one_takes_half(text: str, octets: int) -> None:
    packed = delays.packed(text)
    assert isinstance(packed, bytearray)
    assert len(packed) == octets


@given(text=SECONDS)
def test_the_total_comes_out_as_it_went_in(connection: Connection, text: str) -> None:
    stored = delays.microseconds(float(text))
    assert delays.seconds(stored) == float(text)
    sql = f"SELECT {delays.SECONDS} FROM (SELECT CAST(? AS REAL) AS delay) a"
    assert connection.execute(sql, (stored,)).fetchall() == [(float(text),)]


def test_what_stood_there_before_is_packed_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add([attempt(delay="1.5"), attempt("deferred", delay="0.07", to="b@example.org")])
    store.connection.execute("UPDATE attempt SET delay = delay / 1e6, delays = '0.1/0/0.4/1'")
    for _ in range(2):
        store.connection.execute(delays.PACK)
        with store.reading() as reading:
            rows = queries.attempts(reading, Filter())
        assert sorted((one.delay, one.delays) for one in rows) == [
            (0.07, "0.1/0/0.4/1"), (1.5, "0.1/0/0.4/1"),
        ]  # fmt: skip
    store.close()
