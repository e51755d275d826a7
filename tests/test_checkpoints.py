"""The write-ahead log stays small, unless somebody reads for long, and then that is said."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from pda import config
from pda.checkpoints import Checkpoints
from pda.ingest import Ingest
from pda.maillog.pipeline import Pipeline
from pda.store import wal
from pda.store.database import Connection, DatabaseError, open_reader
from tests.support import RULES, Store, attempt

_LINES = [
    attempt("deferred", queue_id=f"4jXPlN1VQl{n:05}", reason=f"{n} " + "x" * 500, dsn="4.0.0")
    for n in range(200)
]


@pytest.fixture
def ingest(store: Store, monkeypatch: pytest.MonkeyPatch) -> Ingest:
    monkeypatch.setattr(wal, "LIMIT", 100_000)
    monkeypatch.setattr(wal, "_PATIENCE_MS", 1)
    store.add(_LINES)
    assert wal.size(store.path) > wal.LIMIT
    return Ingest(Pipeline(RULES), store.writer, config.zone)


@pytest.fixture
def reader(store: Store) -> Iterator[Connection]:
    """Somebody who has begun to read and has not ended."""
    connection = open_reader(store.path, store.key)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM entry").fetchone()
    yield connection
    connection.close()


async def test_a_log_that_is_too_large_is_cut(ingest: Ingest, store: Store) -> None:
    await Checkpoints(ingest, store.writer, store.path).once()
    assert (wal.size(store.path), ingest.writer_state.log_held) == (0, False)


async def test_a_small_one_is_left_alone(
    ingest: Ingest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal, "LIMIT", 10_000_000)
    before = wal.size(store.path)
    await Checkpoints(ingest, store.writer, store.path).once()
    assert wal.size(store.path) == before > 0


async def test_who_reads_for_long_is_not_disturbed_but_said(
    ingest: Ingest, store: Store, reader: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pda.checkpoints")
    checkpoints = Checkpoints(ingest, store.writer, store.path)
    for _ in range(2):
        await checkpoints.once()
        assert ingest.writer_state.log_held
    store.add([attempt(queue_id="4jXPlN1VQlzzzzz")])  # writing goes on meanwhile
    assert reader.execute("SELECT count(*) FROM entry").fetchone() == (200,)
    reader.execute("COMMIT")
    await checkpoints.once()
    assert (wal.size(store.path), ingest.writer_state.log_held) == (0, False)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_a_disk_that_refuses_is_no_reader(ingest: Ingest, store: Store) -> None:
    def refuse() -> bool:
        raise DatabaseError("database or disk is full")

    store.writer.cut_log = refuse  # type: ignore[method-assign]  # as SQLite does
    await Checkpoints(ingest, store.writer, store.path).once()
    assert not ingest.writer_state.log_held
