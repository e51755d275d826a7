"""Which files are meant, the oldest first, and when each was written."""

from __future__ import annotations

import gzip
import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pda.backfill import expanded, newest_within, oldest_first, open_log
from tests.test_backfill import written

# --- Order and budget ----------------------------------------------------------------------------

# Names, oldest first; behind some of them days since the first one where the time says otherwise.
ORDERS = {
    "numbers": "mail.log.12.gz mail.log.9.gz mail.log.2.gz mail.log.1 mail.log",
    "numbers, all copied at once": "mail.log.12.gz@9 mail.log.9.gz@9 mail.log.2.gz@9 mail.log.1@9 mail.log@9",
    "numbers, copied in a wrong order": "mail.log.12.gz@7 mail.log.9.gz@3 mail.log.2.gz@5 mail.log.1@1 mail.log@9",
    "dateext": "mail.log-20260101.gz mail.log-20260108.gz mail.log-20260115 mail.log",
    "dateext, copied": "mail.log-20260101.gz@5 mail.log-20260108.gz@4 mail.log-20260115@3 mail.log@2",
    "dateext with dashes": "mail.log-2025-12-31.xz mail.log-2026-01-01.xz mail.log",
    "dateext with the epoch": "mail.log-20260101-1767222001.zst mail.log-20260101-1767222009.zst mail.log",
    "dateext by the hour": "mail.log-2026010109 mail.log-2026010110 mail.log",
    "date in the middle": "mail-20251231.log.bz2 mail-20260101.log mail-20260102.log",
    "postlogd": "maillog.20260101-093000.gz maillog.20260101-101500.gz maillog.20260102-000000 maillog",
    "numbers, then dates": "mail.log.3.gz mail.log.2.gz mail.log.1 mail.log-20260105 mail.log-20260106 mail.log",
    "dates, then numbers": "mail.log-20251130.gz mail.log-20251207.gz mail.log.2.gz mail.log.1 mail.log",
    "a packed log beside its rotations": "mail.log.2.bz2 mail.log.1.xz mail.log.gz",
    "two logs": "mail.log.2 mail.err.1 mail.log.1 mail.err mail.log",
    "no date after all": "mail.log-99999999 mail.log-20261301 mail.log",
    "a number that is no rotation": "mail.log.123456@0 mail.log.1@1 mail.log@2",
}  # fmt: skip
FIRST = 1_767_222_000  # 2026-01-01


def ordered(folder: Path, names: str) -> list[Path]:
    """Files, each a day younger than the one before unless it says when it was written."""
    paths = []
    for day, named in enumerate(names.split()):
        name, _, at = named.partition("@")
        paths.append(written(folder, b"x" * 100, name))
        seconds = FIRST + 86_400 * int(at or day)
        os.utime(paths[-1], (seconds, seconds))
    return paths


@pytest.mark.parametrize("names", ORDERS.values(), ids=ORDERS)
def test_the_oldest_comes_first(tmp_path: Path, names: str) -> None:
    paths = ordered(tmp_path, names)
    for given_order in (
        paths,
        paths[::-1],
        sorted(paths),
        random.Random(1).sample(paths, len(paths)),
    ):
        assert oldest_first(given_order) == paths


def test_logs_of_several_folders_are_read_as_they_were_written(tmp_path: Path) -> None:
    for host in ("mx1", "mx2"):
        (tmp_path / host).mkdir()
    paths = ordered(tmp_path, "mx2/mail.log.2 mx1/mail.log.2 mx1/mail.log.1 mx2/mail.log.1")
    assert oldest_first(sorted(paths)) == paths


@pytest.mark.parametrize(
    ("name", "modified", "meant"),
    [
        ("mail.log", "2026-02-03T04:05:06", "2026-02-03T04:05:06"),
        ("mail.log.3.gz", "2026-02-03T04:05:06", "2026-02-03T04:05:06"),
        ("mail.log-20240105.gz", "2026-02-03T04:05:06", "2024-01-05T23:59:59.999999"),
        ("mail.log-20240105.gz", "2024-01-05T00:00:07", "2024-01-05T23:59:59.999999"),
        # Named by the day on which it was begun.
        ("mail.log-20251229", "2026-01-04T23:59:59", "2026-01-04T23:59:59"),
        ("maillog.20240105-101112", "2026-02-03T04:05:06", "2024-01-05T10:11:12"),
        ("mail.log-20240105-1704449472.zst", "2026-02-03T04:05:06", "2024-01-05T10:11:12"),
    ],
)
def test_when_a_file_was_written(tmp_path: Path, name: str, modified: str, meant: str) -> None:
    path = written(tmp_path, b"x\n", name)
    at = datetime.fromisoformat(modified).replace(tzinfo=UTC).timestamp()
    os.utime(path, (at, at))
    file = open_log(path)
    wanted = datetime.fromisoformat(meant).replace(tzinfo=UTC)
    assert file.written_at == (wanted - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        microseconds=1
    )
    file.close()


def test_a_gzip_header_tells_when_its_content_was_written(tmp_path: Path) -> None:
    for packed_at, meant in ((1_500_000_000, 1_500_000_000), (0, FIRST), (FIRST + 9, FIRST)):
        path = written(tmp_path, gzip.compress(b"x\n", mtime=packed_at))
        os.utime(path, (FIRST, FIRST))
        file = open_log(path)
        assert file.written_at == meant * 1_000_000
        file.close()


def test_what_is_not_there_keeps_its_place_for_open_log_to_tell(tmp_path: Path) -> None:
    path = written(tmp_path, b"x" * 100)
    paths = [tmp_path / "mail.log.1", path, path / "mail.log"]
    assert set(oldest_first(paths)) == set(paths)
    assert newest_within(paths, 1000) == paths


@pytest.mark.parametrize(("budget", "kept"), [(0, 0), (99, 0), (100, 1), (250, 2), (1000, 3)])
def test_of_a_budget_the_newest_have_their_share(tmp_path: Path, budget: int, kept: int) -> None:
    paths = ordered(tmp_path, "mail.log.2 mail.log.1 mail.log")
    assert newest_within(paths, budget) == paths[3 - kept :]


def test_folders_and_patterns(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "mail.logs").mkdir()
    paths = ordered(tmp_path, "mail.log.1 mail.log auth.log old/mail.log.7.gz old/notes")
    names = [
        [path.relative_to(tmp_path).as_posix() for path in expanded(some, "mail.log*")]
        for some in (
            [tmp_path],
            [tmp_path / "old", paths[0], paths[0]],
            [tmp_path / "*" / "mail*.gz"],
            [tmp_path / "mail.log.[0-9]", tmp_path / "x*"],
        )
    ]
    assert sorted(names[0]) == ["mail.log", "mail.log.1"]
    assert names[1:] == [
        ["old/mail.log.7.gz", "mail.log.1"], ["old/mail.log.7.gz"], ["mail.log.1", "x*"],
    ]  # fmt: skip


def test_a_name_with_signs_of_a_pattern_is_a_name(tmp_path: Path) -> None:
    path = written(tmp_path, b"x\n", "mail[1].log")
    assert expanded([path], "*") == [path]
