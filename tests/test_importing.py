"""Imports: each line once, whatever the file is called, however it has grown, wherever they end."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing
import zstandard

from pda import config
from pda.apart import Task
from pda.backfill import open_log, open_stream
from pda.importing import Importer
from pda.ingest import Ingest
from pda.maillog.pipeline import Hosts, Pipeline
from pda.prospects import KNOWN, ImportState
from pda.reading import Wanted
from pda.store import imports as stored
from pda.store.imports import Import
from pda.times import rfc3339
from tests.support import RULES, Store, attempt
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


@pytest.fixture(params=[False, True], ids=["here", "apart"])
def importer(store: Store, request: pytest.FixtureRequest) -> Importer:
    ingest = Ingest(Pipeline(RULES), store.writer, config.zone)
    return importer_of(ingest, store, apart=request.param)


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


async def test_no_log_is_told_and_not_noted(
    importer: Importer, store: Store, tmp_path: Path
) -> None:
    files = [
        logged(tmp_path, content, f"{n}")
        for n, content in enumerate([b"a\nb\nc", os.urandom(3000), b"x\n" * 3_000_000, b"\n\n"])
    ]
    async with running(importer._ingest):
        states = [await importer.import_file(file, UTC, silent) for file in files]
    for file, state in zip(files, states, strict=True):
        file.close()
        assert state.error.startswith(f"{file.name} is no log: none of ")
        assert state.lines < 1_100_000  # the rest is not even read
    assert imports(store) == []


async def test_an_empty_file_is_no_failure(
    importer: Importer, store: Store, tmp_path: Path
) -> None:
    file = logged(tmp_path, b"")
    async with running(importer._ingest):
        state = await importer.import_file(file, UTC, silent)
    file.close()
    assert (state.error, state.lines, state.finished) == ("", 0, True)
    assert imports(store) == []


# --- Once ----------------------------------------------------------------------------------------


class Folder:
    """A folder of logs, imported again and again."""

    def __init__(self, importer: Importer, path: Path) -> None:
        self._importer = importer
        self.path = path / "logs"
        self.path.mkdir()

    async def read(self, name: str, wanted: Wanted = UTC) -> ImportState:
        """Imports one file."""
        file = open_log(self.path / name)
        try:
            return await self._importer.import_file(file, wanted, silent)
        finally:
            file.close()

    def append(self, name: str, some: Iterable[bytes]) -> None:
        with (self.path / name).open("ab") as file:
            file.write(b"".join(line + b"\n" for line in some))

    def rename(self, old: str, new: str, pack: Callable[[bytes], bytes] = bytes) -> None:
        """As rotation does."""
        content = (self.path / old).read_bytes()
        (self.path / old).unlink()
        (self.path / new).write_bytes(pack(content))


@pytest.fixture
def folder(importer: Importer, tmp_path: Path) -> Folder:
    return Folder(importer, tmp_path)


PACK: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress,
    "zst": zstandard.compress,
}  # fmt: skip


@pytest.mark.parametrize("pack", PACK)
@pytest.mark.parametrize("count", [1, 2, 400])
async def test_a_file_that_was_rotated_is_known(
    importer: Importer, store: Store, folder: Folder, pack: str, count: int
) -> None:
    """One line is less than the head, 400 are many chunks' worth of it."""
    some = large(count * 3)
    async with running(importer._ingest):
        folder.append("mail.log", some[:count])
        assert (await folder.read("mail.log")).lines == count
        assert (await folder.read("mail.log")).note == KNOWN
        folder.append("mail.log", some[count : 2 * count])
        folder.rename("mail.log", "mail.log.1")
        assert (await folder.read("mail.log.1")).lines == count
        folder.append("mail.log.1", some[2 * count :])
        folder.rename("mail.log.1", "mail.log.2", PACK[pack])
        assert (await folder.read("mail.log.2")).lines == count
        again = await folder.read("mail.log.2")
        assert (again.lines, again.note) == (0, KNOWN)
    assert len(attempts(store)) == 3 * count
    (noted,) = imports(store)
    assert (noted.lines, noted.complete) == (3 * count, True)
    assert noted.name.endswith("/mail.log.2")


async def test_copytruncate(importer: Importer, store: Store, folder: Folder) -> None:
    some = large(30)
    async with running(importer._ingest):
        folder.append("mail.log", some[:10])
        await folder.read("mail.log")
        folder.append("mail.log", some[10:20])
        (folder.path / "mail.log.1").write_bytes((folder.path / "mail.log").read_bytes())
        os.truncate(folder.path / "mail.log", 0)
        folder.append("mail.log", some[20:])
        assert (await folder.read("mail.log.1")).lines == 10
        assert (await folder.read("mail.log")).lines == 10
        assert (await folder.read("mail.log")).note == KNOWN
    assert len(attempts(store)) == 30
    assert len(imports(store)) == 2


async def test_another_file_with_the_same_head_is_read_whole(
    importer: Importer, store: Store, folder: Folder
) -> None:
    """It may be a damaged copy, or have been edited: whatever it is, nothing is missed."""
    some = large(40)
    async with running(importer._ingest):
        folder.append("a", some[:30])
        await folder.read("a")
        folder.append("b", some[:20] + some[30:])
        state = await folder.read("b")
        assert (state.lines, state.new) == (30, 10)
        folder.append("older", some[:15])  # a copy of "a" from before
        assert (await folder.read("older")).new == 0
        for name in ("a", "b", "older", "a"):
            assert (await folder.read(name)).note == KNOWN
    assert len(attempts(store)) == 40


@pytest.mark.parametrize("pack", ["gz", "bz2"])
async def test_an_older_copy_that_is_packed_is_known_too(
    importer: Importer, store: Store, folder: Folder, pack: str
) -> None:
    some = large(40)
    async with running(importer._ingest):
        folder.append("copy", some[:20])
        folder.rename("copy", f"copy.{pack}", PACK[pack])
        folder.append("log", some)
        assert [(await folder.read("log")).lines, (await folder.read(f"copy.{pack}")).new] == [
            40,
            0,
        ]
        for name in ("log", f"copy.{pack}", "log"):
            assert (await folder.read(name)).note == KNOWN
    assert len(attempts(store)) == 40


async def test_a_last_line_without_its_end_is_read_again_when_it_has_one(
    importer: Importer, store: Store, folder: Folder
) -> None:
    first, second = large(2)
    growing = msgspec.structs.replace(UTC, growing=True)
    async with running(importer._ingest):
        (folder.path / "log").write_bytes(first + b"\n" + second[:-500])
        state = await folder.read("log", growing)
        assert (state.lines, state.attempts) == (1, 1)
        state = await folder.read("log")  # it does not end as a line does
        assert (state.lines, state.attempts) == (1, 0)
        (folder.path / "log").write_bytes(first + b"\n" + second)
        assert [(await folder.read("log")).new for _ in range(2)] == [1, 0]
        (folder.path / "log").write_bytes(first + b"\n" + second + b"\n")
        assert (await folder.read("log")).attempts == 1
        assert (await folder.read("log")).note == KNOWN
    assert len(attempts(store)) == 2
    assert imports(store)[0].lines == 2


async def test_a_truncated_archive_is_tried_again(
    importer: Importer, store: Store, folder: Folder
) -> None:
    packed = gzip.compress(b"".join(line + b"\n" for line in large(200)))
    async with running(importer._ingest):
        (folder.path / "x.gz").write_bytes(packed[: len(packed) // 2])
        for _ in range(2):
            state = await folder.read("x.gz")
            assert "is damaged or incomplete" in state.error
        assert state.lines == 0
        assert not imports(store)[0].complete
        before = len(attempts(store))
        (folder.path / "x.gz").write_bytes(packed)
        state = await folder.read("x.gz")
        assert (state.error, state.new) == ("", 200 - before)
        assert 0 < before < 200
    assert imports(store)[0].complete


async def test_what_is_left_out_is_not_marked_as_done(
    importer: Importer, store: Store, folder: Folder
) -> None:
    days = [
        attempt(
            queue_id=f"4jXPlN1VQl{n:05}", at=f"2026-03-{1 + n // 100:02}T10:00:{n % 60:02}+00:00"
        )
        for n in range(1000)
    ]
    third = Wanted("UTC", since=1_772_496_000_000_000, until=1_772_582_399_000_000)
    async with running(importer._ingest):
        folder.append("log", days)
        state = await folder.read("log", third)
        assert state.new == 100
        assert imports(store) == []
        assert {rfc3339(row.at)[:10] for row in attempts(store)} == {"2026-03-03"}
        # What comes before anything is left out is done.
        first = Wanted("UTC", until=third.since)
        folder.rename("log", "other")
        assert (await folder.read("other", first)).new == 200
        state = await folder.read("other")
        assert (state.lines, state.new) == (1000, 700)
        assert (await folder.read("other", third)).note == KNOWN
    assert len(attempts(store)) == 1000


@pytest.mark.parametrize("pack", ["plain", "gz"])
async def test_all_can_be_read_again(
    importer: Importer, store: Store, folder: Folder, pack: str
) -> None:
    folder.append("log", large(20))
    folder.rename("log", "log", PACK[pack])
    async with running(importer._ingest):
        await folder.read("log")
        state = await folder.read("log", msgspec.structs.replace(UTC, again=True))
        assert (state.lines, state.new, state.note) == (20, 0, "")
        assert (await folder.read("log")).note == KNOWN
    assert len(imports(store)) == 1


async def test_a_file_that_is_older_is_not_read(
    importer: Importer, store: Store, folder: Folder
) -> None:
    folder.append("log", large(3))
    os.utime(folder.path / "log", (1_700_000_000, 1_700_000_000))
    async with running(importer._ingest):
        state = await folder.read("log", Wanted("UTC", since=1_700_000_001_000_000))
        assert (state.note, state.lines) == ("older", 0)
        assert imports(store) == []


# --- Beside live lines ---------------------------------------------------------------------------


async def test_a_live_line_goes_first(
    importer: Importer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is committed behind no more than what is being written, not behind the file."""
    monkeypatch.setattr("pda.backfill.lines.PIECE", 20_000)
    monkeypatch.setattr("pda.backfill.files.PIECE", 20_000)
    apart = importer._worth_a_process == 0  # where it is as large as ever, of two megabytes
    count, of_two_pieces = (8000, 2600) if apart else (2000, 200)
    file = logged(tmp_path, b"\n".join(large(count)) + b"\n")
    stored_before: list[int] = []
    live = attempt(queue_id="4jXPlN1VQlzLIVE")

    def report(state: ImportState) -> None:
        if state.lines and not stored_before:
            stored_before.append(state.lines)
            sending.send_nowait(lines(live))
        elif len(stored_before) == 1 and importer._ingest.writer_state.commits:
            stored_before.append(state.lines)

    async with running(importer._ingest) as sending:
        state = await importer.import_file(file, UTC, report)
    file.close()
    sent, seen = stored_before
    assert state.lines == count
    assert seen - sent < of_two_pieces
    assert len(attempts(store)) == count + 1


async def test_what_a_stream_has_said_is_stored_while_it_is_silent(
    importer: Importer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pda.backfill.files._SILENT_S", 0.001)
    reading, writing = os.pipe()
    file = open_stream(reading)
    os.close(reading)
    enough = trio.Event()
    async with running(importer._ingest), trio.open_nursery() as nursery:
        nursery.start_soon(importer.import_file, file, UTC, silent, enough)
        os.write(writing, b"\n".join(large(3)) + b"\n")
        with trio.fail_after(20):
            while len(attempts(store)) < 3:  # noqa: ASYNC110 nobody is told
                await trio.sleep(0.01)
        enough.set()
    os.close(writing)
    file.close()
    (state,) = importer.states
    assert (state.lines, state.interrupted) == (3, True)
    assert imports(store) == []


async def test_a_reading_process_that_ends_is_told(store: Store, tmp_path: Path) -> None:
    """Here by a rule list that it cannot read."""
    ingest = Ingest(Pipeline(RULES), store.writer, config.zone)
    task = Task(b"<bounces>", Hosts(), config.ClientSettings())
    importer = Importer(ingest, store.writer.find_imports, config.zone, lambda: task, 0)
    file = logged(tmp_path, b"\n".join(LIFE) + b"\n")
    async with running(ingest):
        state = await importer.import_file(file, UTC, silent)
    file.close()
    assert state.error == (
        f"{file.name}: the process that reads it has ended; import it again for the rest"
    )
    assert imports(store) == []
