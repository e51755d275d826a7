"""The same events from live lines, files and other formats, in every overlap and interruption."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import pytest
import trio
import trio.testing

from pda import config
from pda.backfill import open_log
from pda.importing import Importer
from pda.ingest import Ingest
from pda.maillog.pipeline import Pipeline
from pda.store import queries
from pda.store.queries import Filter
from tests.support import NOW, RULES, Store, attempt, message
from tests.test_importing import Folder, folder, importer, imports
from tests.test_ingest import (
    UTC,
    attempts,
    importer_of,
    lines,
    logged,
    running,
    silent,
)

__all__ = ["folder", "importer"]  # fixtures


# --- The same events in other forms --------------------------------------------------------------

ALIASES = [
    attempt(queue_id="4jXPlN1VQlzJbSD", to="a@x.example", at=f"2026-03-10T10:00:0{1 + n // 2}{fraction}+00:00")
    for n, fraction in enumerate([".100000", ".900000", ".100000", ".800000"])
]  # fmt: skip


def whole_seconds(some: Iterable[bytes]) -> list[bytes]:
    """As another template writes them: local time, no fraction, no zone."""
    moments = [(datetime.fromisoformat(one[:32].decode()), one[32:]) for one in some]
    return [f"{at:%b} {at.day:2} {at:%H:%M:%S}".encode() + rest for at, rest in moments]


@pytest.mark.parametrize("cut", range(5))
async def test_equal_texts_are_counted_on_where_a_file_is_read_on(
    importer: Importer, store: Store, folder: Folder, cut: int
) -> None:
    """An alias that names an address four times: four attempts, however the file is read."""
    texts = whole_seconds(ALIASES)
    async with running(importer._ingest):
        for some in (texts[:cut], texts[cut:]):
            folder.append("log", some)
            await folder.read("log")
        assert len(attempts(store)) == 4
        folder.append(
            "copy", [b"Mar 10 09:00:00 mx1 postfix/qmgr[1]: 4jXPlN1VQl00001: removed", *texts]
        )
        assert (await folder.read("copy")).new == 0
    assert len(attempts(store)) == 4


LIVES = [
    line
    for n in range(6)
    for line in message(
        f"4jXPlN1VQl{n:05}", message_id=f"<98494.{n}.1@shop>",
        deliveries=[
            attempt("deferred", queue_id=f"4jXPlN1VQl{n:05}", dsn="4.0.0", reason="450 later", delay="1.2"),
            attempt(queue_id=f"4jXPlN1VQl{n:05}", delay="301", at="2026-03-10T10:05:01.250000+00:00"),
        ],
    )
] + ALIASES  # fmt: skip
OVERLAPS = [
    (begin, end) for begin in range(0, len(LIVES), 5) for end in range(begin, len(LIVES) + 1, 8)
]


@pytest.mark.parametrize("form", ["the same", "whole seconds"])
@pytest.mark.parametrize("first", ["live", "file"])
async def test_live_and_file_in_every_overlap(tmp_path: Path, form: str, first: str) -> None:
    """The live stream has any part of the log, with microseconds; the file has all of it."""
    logs = LIVES if form == "the same" else whole_seconds(LIVES)
    (tmp_path / "log").write_bytes(b"\n".join(logs) + b"\n")
    os.utime(tmp_path / "log", (NOW // 1_000_000, NOW // 1_000_000))
    whole: object = None
    for begin, end in OVERLAPS:
        (tmp_path / f"{begin}-{end}").mkdir()
        store = Store(tmp_path / f"{begin}-{end}")
        importer = importer_of(Ingest(Pipeline(RULES), store.writer, config.zone), store)
        file = open_log(tmp_path / "log")
        async with running(importer._ingest) as send:
            for way in ("live", "file") if first == "live" else ("file", "live"):
                if way == "file":
                    await importer.import_file(file, UTC, silent)
                elif end > begin:
                    await send.send(lines(*LIVES[begin:end]))
                    await trio.testing.wait_all_tasks_blocked(0.001)
        file.close()
        found = [
            (row.queue_id, row.recipient, row.status, row.at // 1_000_000)
            for row in attempts(store)
        ]
        everything = sorted(found), states_of(store)
        whole = whole or everything
        assert everything == whole, (begin, end)
        store.close()
    assert whole is not None


def states_of(store: Store) -> object:
    with store.reading() as connection:
        rows = queries.outcomes(connection, Filter())
    return sorted((row.queue_id, row.recipient, row.state, row.attempts) for row in rows)


# --- Interrupted ---------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["the same", "whole seconds"])
async def test_interrupted_after_every_chunk(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """A stop behind each chunk, then the next try; in the end all is there once."""
    monkeypatch.setattr("pda.backfill.lines.PIECE", 600)
    monkeypatch.setattr("pda.backfill.files.PIECE", 600)
    content = LIVES if form == "the same" else whole_seconds(LIVES)
    file = logged(tmp_path, b"\n".join(content) + b"\n")
    os.utime(tmp_path / "mail.log", (NOW // 1_000_000, NOW // 1_000_000))
    tries, read = 0, 0
    while True:
        importer = importer_of(Ingest(Pipeline(RULES), store.writer, config.zone), store)
        store.correlator.forget_all()
        stop = trio.Event()
        stop.set()
        asked = iter([False])
        monkeypatch.setattr(importer, "_is_stopped", lambda _, asked=asked: next(asked, True))
        async with running(importer._ingest):
            state = await importer.import_file(file, UTC, silent, stop)
        tries, read = tries + 1, read + state.lines
        if not state.error:
            break
        assert state.interrupted
        assert "was imported in part only: it was interrupted" in state.error
    file.close()
    assert tries > 10
    assert read == len(LIVES)
    assert len(attempts(store)) == 6 * 2 + 4
    (noted,) = imports(store)
    assert (noted.lines, noted.complete) == (len(LIVES), True)
