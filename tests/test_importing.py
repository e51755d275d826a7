"""Imports: each line once, whatever the file is called, however it has grown, wherever they end."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import trio

from pda import config
from pda.importing import Importer, ImportState
from pda.ingest import Ingest
from pda.maillog.pipeline import Pipeline
from pda.store import imports as stored
from pda.store.imports import Import
from tests.support import RULES, Store
from tests.test_ingest import (
    LIFE,
    UTC,
    attempts,
    importer_of,
    large,
    lines,
    logged,
    running,
    silent,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.close()


@pytest.fixture
def importer(store: Store) -> Importer:
    return importer_of(Ingest(Pipeline(RULES), store.writer, config.zone), store)


def imports(store: Store) -> list[Import]:
    with store.reading() as connection:
        return stored.all_files(connection)


# --- One file ------------------------------------------------------------------------------------


async def test_an_import_is_noted_when_all_of_it_is_stored(
    importer: Importer, store: Store, tmp_path: Path
) -> None:
    content = b"\n".join(LIFE)
    file = logged(tmp_path, gzip.compress(content))
    told: list[ImportState] = []
    async with running(importer._ingest):
        state = await importer.import_file(
            file, UTC, lambda one: told.append(msgspec.structs.replace(one))
        )
        assert len(attempts(store)) == 1
        (noted,) = imports(store)
    file.close()
    assert (state.finished, state.lines, state.events, state.error) == (True, 5, 5, "")
    assert (noted.lines, noted.complete, noted.partial) == (5, True, True)
    assert [one.finished for one in told] == [False, False, True]
    assert importer.states == [state]


async def test_a_damaged_file_is_imported_up_to_the_damage(
    importer: Importer, store: Store, tmp_path: Path
) -> None:
    file = logged(tmp_path, gzip.compress(b"\n".join(large(30)) + b"\n")[:-9])
    async with running(importer._ingest):
        state = await importer.import_file(file, UTC, silent)
    file.close()
    assert "is damaged or incomplete" in state.error
    assert state.finished
    assert len(attempts(store)) == 30
    (noted,) = imports(store)
    assert not noted.complete


async def test_two_imports_and_live_lines_at_the_same_time(
    importer: Importer, store: Store, tmp_path: Path
) -> None:
    files = [logged(tmp_path, b"\n".join(large(300, n)), str(n)) for n in (0, 200)]
    async with running(importer._ingest) as send, trio.open_nursery() as nursery:
        for file in files:
            nursery.start_soon(importer.import_file, file, UTC, silent)
        for line in large(300, 400):
            await send.send(lines(line))
    for file in files:
        file.close()
    assert len(attempts(store)) == 700
    assert [(one.lines, one.error) for one in importer.states] == [(300, "")] * 2


async def test_after_a_stop_nothing_is_imported(
    importer: Importer, store: Store, tmp_path: Path
) -> None:
    file = logged(tmp_path, b"\n".join(LIFE))
    async with running(importer._ingest):
        pass
    state = await importer.import_file(file, UTC, silent)
    file.close()
    assert state.finished
    assert state.error == f"{tmp_path}/mail.log was not imported: the service is stopping"
    assert imports(store) == []


async def test_a_stop_ends_a_long_import_and_says_so(
    importer: Importer, store: Store, tmp_path: Path
) -> None:
    file = logged(tmp_path, b"\n".join(large(3000)))
    states = []

    async def do_import() -> None:
        states.append(await importer.import_file(file, UTC, lambda _: begun.set()))

    begun = trio.Event()
    async with trio.open_nursery() as nursery, running(importer._ingest):
        nursery.start_soon(do_import)
        await begun.wait()
    file.close()
    (state,) = states
    assert state.error == f"{tmp_path}/mail.log was imported in part only: the service is stopping"
    assert 0 < state.lines < 3000
    assert len(attempts(store)) == state.lines
    (noted,) = imports(store)
    assert not noted.complete
