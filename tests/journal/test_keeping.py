"""The journal at work on real files: who is told when, and what is there after a crash."""

from __future__ import annotations

import os
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from pda.journal import Journal
from pda.journal import segments as segments_module
from pda.receive import Lines

SECRET = b"s" * 32


class Sent:
    """Lines whose sender notes when it is told."""

    def __init__(self, told: list[bytes], *lines: bytes) -> None:
        said = list(lines), 7, "Asia/Tokyo", "mx1", sum(map(len, lines))
        self.lines = Lines(*said, stored=lambda: told.extend(lines))


@asynccontextmanager
async def running(
    journal: Journal, size: int = 100
) -> AsyncIterator[tuple[trio.MemorySendChannel[Lines], trio.MemoryReceiveChannel[Lines]]]:
    """Until all that was sent to it was handed on."""
    send, handed_on = trio.open_memory_channel[Lines](size)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery, journal.start(nursery, send) as keep:
            yield keep, handed_on


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("pda.db.journal.*"))


def stored(lines: Lines) -> None:
    assert lines.stored is not None
    lines.stored()


@contextmanager
def refusing(octets: int) -> Iterator[None]:
    """No file can become larger: the kernel itself says so (EFBIG)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def left(folder: Path, secret: bytes = SECRET) -> tuple[Journal, list[Lines]]:
    """What a next process hands on before anything else."""
    journal = Journal(folder / "pda.db", secret)
    async with running(journal) as (_, handed_on):
        pass
    return journal, [lines async for lines in handed_on]


async def test_who_sent_is_told_once_its_lines_are_durable(tmp_path: Path) -> None:
    journal, told = Journal(tmp_path / "pda.db", SECRET), list[bytes]()
    async with running(journal) as (keep, handed_on):
        await keep.send(Sent(told, b"one", b"two").lines)
        lines = await handed_on.receive()
        assert told == [b"one", b"two"]
        assert (lines.lines, lines.received_at, lines.zone, lines.hostname, lines.kept) == (
            [b"one", b"two"], 7, "Asia/Tokyo", "mx1", True,
        )  # fmt: skip
        (file,) = files(tmp_path)
        assert file.stat().st_mode & 0o777 == 0o600
        assert b"one" not in file.read_bytes()
        assert journal.state.waiting == 2
        stored(lines)
        assert (file.stat().st_size, journal.state.waiting) == (0, 0)
    journal.close()
    assert files(tmp_path) == []


async def test_what_is_not_stored_is_read_again(tmp_path: Path) -> None:
    killed, told = Journal(tmp_path / "pda.db", SECRET), list[bytes]()
    async with running(killed) as (keep, handed_on):
        for line in (b"one", b"two", b"three"):
            await keep.send(Sent(told, line).lines)
            await handed_on.receive()
    journal, again = await left(tmp_path)
    assert [lines.lines for lines in again] == [[b"one"], [b"two"], [b"three"]]
    assert {(one.received_at, one.zone, one.hostname, one.kept) for one in again} == {
        (7, "Asia/Tokyo", "mx1", True)
    }
    assert (journal.state.read_again, journal.state.waiting) == (3, 3)
    for lines in again:
        assert len(files(tmp_path)) == 1
        stored(lines)
    assert (files(tmp_path), journal.state.waiting) == ([], 0)


async def test_new_lines_have_a_file_of_their_own(tmp_path: Path) -> None:
    """Beside those that were left, which may go, or not, before them."""
    killed, told = Journal(tmp_path / "pda.db", SECRET), list[bytes]()
    async with running(killed) as (keep, handed_on):
        await keep.send(Sent(told, b"old").lines)
        await handed_on.receive()
    journal = Journal(tmp_path / "pda.db", SECRET)
    async with running(journal) as (keep, handed_on):
        await keep.send(Sent(told, b"new").lines)
        old, new = await handed_on.receive(), await handed_on.receive()
        assert (old.lines, new.lines) == ([b"old"], [b"new"])
        stored(new)
        stored(old)
        assert [file.name for file in files(tmp_path)] == ["pda.db.journal.2"]
    journal.close()
    assert files(tmp_path) == []


async def test_a_large_file_is_followed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments_module, "_LARGE", 1000)
    journal, told = Journal(tmp_path / "pda.db", SECRET), list[bytes]()
    async with running(journal) as (keep, handed_on):
        found = []
        for number in range(30):
            await keep.send(Sent(told, b"%d " % number + b"x" * 300).lines)
            found.append(await handed_on.receive())
        assert 5 < len(files(tmp_path)) < 15
        for lines in found[:-1]:
            stored(lines)
        assert len(files(tmp_path)) == 1
    _, again = await left(tmp_path)
    assert found[-1].lines in [lines.lines for lines in again]
    stored(found[-1])
    journal.close()


async def test_while_the_disk_refuses_who_sent_is_told_after_the_commit(tmp_path: Path) -> None:
    """And in the order of the lines, also when the disk takes them again meanwhile."""
    journal, told = Journal(tmp_path / "pda.db", SECRET), list[bytes]()
    async with running(journal) as (keep, handed_on):
        with refusing(10):
            await keep.send(Sent(told, b"one").lines)
            one = await handed_on.receive()
        assert (one.kept, told, journal.state.failures) == (False, [], 1)
        assert journal.state.refused
        assert files(tmp_path) == []
        await keep.send(Sent(told, b"two").lines)
        two = await handed_on.receive()
        assert (two.kept, told) == (False, [])
        stored(one)
        stored(two)
        assert told == [b"one", b"two"]
        await keep.send(Sent(told, b"three").lines)
        three = await handed_on.receive()
        assert (three.kept, told) == (True, [b"one", b"two", b"three"])
        assert (journal.state.failures, journal.state.refused) == (1, "")


async def test_what_is_kept_already_stays_where_the_disk_refuses_more(tmp_path: Path) -> None:
    killed, told = Journal(tmp_path / "pda.db", SECRET), list[bytes]()
    async with running(killed) as (keep, handed_on):
        await keep.send(Sent(told, b"one").lines)
        await handed_on.receive()
        with refusing(files(tmp_path)[0].stat().st_size + 20):
            await keep.send(Sent(told, b"two").lines)
            await handed_on.receive()
        assert told == [b"one"]
    journal, again = await left(tmp_path)
    assert [lines.lines for lines in again] == [[b"one"]]
    assert journal.state.damaged == 0


async def test_a_journal_of_another_database_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    killed, told = Journal(tmp_path / "pda.db", b"t" * 32), list[bytes]()
    async with running(killed) as (keep, handed_on):
        await keep.send(Sent(told, b"one").lines)
        await handed_on.receive()
    (file,) = files(tmp_path)
    octets = file.read_bytes()
    journal, again = await left(tmp_path)
    assert (again, journal.state.damaged, journal.state.waiting) == ([], 1, 0)
    (aside,) = files(tmp_path)
    assert aside.name.startswith("pda.db.journal.1.unreadable-")
    assert aside.read_bytes() == octets
    assert "it is of another database" in caplog.text
    assert (await left(tmp_path))[0].state.damaged == 0


async def test_what_can_be_read_of_a_damaged_journal_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    killed, told = Journal(tmp_path / "pda.db", SECRET), list[bytes]()
    ends = []
    async with running(killed) as (keep, handed_on):
        for line in (b"one", b"two", b"three"):
            await keep.send(Sent(told, line).lines)
            await handed_on.receive()
            ends.append(files(tmp_path)[0].stat().st_size)
    (file,) = files(tmp_path)
    with file.open("r+b") as opened:
        os.pwrite(opened.fileno(), b"\0\0\0", ends[1] - 3)
    journal, again = await left(tmp_path)
    assert [lines.lines for lines in again] == [[b"one"], [b"three"]]
    assert journal.state.damaged == 1
    assert "cannot be read in 1 places" in caplog.text
    for lines in again:
        stored(lines)
    assert files(tmp_path) == []


async def test_a_file_in_which_nothing_was_acknowledged_goes(tmp_path: Path) -> None:
    (tmp_path / "pda.db.journal.1").write_bytes(b"pda-j")
    journal, again = await left(tmp_path)
    assert (again, journal.state.damaged, files(tmp_path)) == ([], 0, [])


async def test_what_stays_at_a_stop_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal, told = Journal(tmp_path / "pda.db", SECRET), list[bytes]()
    async with running(journal) as (keep, handed_on):
        await keep.send(Sent(told, b"one", b"two").lines)
        await handed_on.receive()
    journal.close()
    assert "2 lines stay in the journal" in caplog.text
    assert [lines.lines for lines in (await left(tmp_path))[1]] == [[b"one", b"two"]]


async def test_what_waits_is_kept_together(tmp_path: Path) -> None:
    """One wait for the disk, however many senders there are; and all are told, none twice."""
    journal, told = Journal(tmp_path / "pda.db", SECRET), list[bytes]()
    sent = [b"%d" % number for number in range(500)]
    async with running(journal, size=1000) as (keep, handed_on):
        async with trio.open_nursery() as nursery:
            for line in sent:
                nursery.start_soon(keep.send, Sent(told, line).lines)
        found: list[bytes] = []
        while len(found) < len(sent):
            lines = await handed_on.receive()
            found += lines.lines
        assert sorted(told) == sorted(sent)
        assert told == found
        assert files(tmp_path)[0].stat().st_size < 500 * 40


async def test_only_what_is_read_alike_is_joined(tmp_path: Path) -> None:
    journal, told = Journal(tmp_path / "pda.db", SECRET), list[bytes]()
    async with running(journal) as (keep, handed_on):
        for host in ("mx1", "mx1", "mx2", "mx1"):  # none is looked at before all are there
            keep.send_nowait(replace(Sent(told, host.encode()).lines, hostname=host))
        found = [await handed_on.receive() for _ in range(3)]
    assert [(lines.hostname, lines.lines, lines.octets) for lines in found] == [
        ("mx1", [b"mx1", b"mx1"], 6),
        ("mx2", [b"mx2"], 3),
        ("mx1", [b"mx1"], 3),
    ]
    assert [lines.lines for lines in (await left(tmp_path))[1]] == [one.lines for one in found]
