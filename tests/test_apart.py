"""Reading in another process: what it begins before it is asked."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from pda.apart import Frame, Job, ahead, is_worth_a_process, likely_job
from pda.backfill import open_log
from pda.config import RuleSettings, Settings
from pda.maillog.events import Told
from pda.reading import Wanted
from tests.support import attempt

LINES = b"\n".join(attempt(queue_id=f"4jXPlN1VQl{n:05}") for n in range(20_000)) + b"\n"


def job_of(path: Path) -> Job:
    file = open_log(path)
    job = likely_job(Settings(), file, Wanted())
    assert job is not None
    return job


def told(frames: Iterable[bytes]) -> list[list[Told]]:
    parts = [msgspec.msgpack.decode(frame, type=Frame).part for frame in frames]
    assert parts.pop() is None  # the end
    return [part.told for part in parts if part]


def test_what_is_made_ahead_is_what_would_be_made_later(tmp_path: Path) -> None:
    (tmp_path / "mail.log").write_bytes(LINES)
    job = job_of(tmp_path / "mail.log")
    whole = told(ahead(job, lambda: False))
    assert len(whole) > 1
    for parts in (1, 2, len(whole) + 1):
        time = iter([True] * parts + [False])
        assert told(ahead(job, time.__next__)) == whole


def test_nothing_is_likely_under_rules_that_are_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "mail.log").write_bytes(LINES)
    settings = Settings(rules=RuleSettings(file="/etc/pda/rules.xml"))
    assert likely_job(settings, open_log(tmp_path / "mail.log"), Wanted()) is None


def test_an_archive_counts_by_what_it_unpacks_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    for name, content in {"plain": LINES[: 1 << 20], "packed.gz": gzip.compress(LINES)}.items():
        (tmp_path / name).write_bytes(content)
    plain, packed = (open_log(tmp_path / name) for name in ("plain", "packed.gz"))
    assert packed.size < plain.size == 1 << 20
    for file, octets in ((plain, plain.size), (packed, packed.size * 8)):
        assert is_worth_a_process(file, octets)
        assert not is_worth_a_process(file, octets + 1)
