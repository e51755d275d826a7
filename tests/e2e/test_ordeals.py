"""Short forms of the ordeals: nothing is lost, nothing counts twice."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.e2e.ordeals import (
    Hurts,
    Outcome,
    beside_a_service_that_stands_still,
    by_datagrams,
    on_a_full_disk,
    over,
)
from tests.e2e.rsyslogd import Protocol, needs_omrelp, needs_rsyslogd

pytestmark = [pytest.mark.e2e, needs_rsyslogd]


@needs_omrelp
async def test_kills_lose_nothing_over_relp_and_nothing_counts_twice(tmp_path: Path) -> None:
    found = await over("relp", tmp_path, 20_000, Hurts(kills=5))
    assert found == Outcome(sent=20_000, rows=20_000, recipients=20_000)


async def test_restarts_lose_nothing_over_tcp(tmp_path: Path) -> None:
    found = await over("tcp", tmp_path, 20_000, Hurts(restarts=3), rate=5_000)
    assert found == Outcome(sent=20_000, rows=20_000, recipients=20_000)


@pytest.mark.parametrize("protocol", [pytest.param("relp", marks=needs_omrelp), "tcp"])
async def test_a_service_that_stands_still_stops_neither_rsyslog_nor_who_logs(
    tmp_path: Path, protocol: Protocol
) -> None:
    """By the queue that the rule has: more lines than it keeps in memory."""
    with trio.fail_after(120):
        written, found = await beside_a_service_that_stands_still(protocol, tmp_path, 30_000)
    assert written == 30_000
    assert found == Outcome(sent=30_000, rows=30_000, recipients=30_000)


async def test_what_datagrams_lose_is_what_is_said(tmp_path: Path) -> None:
    found, said = await by_datagrams(tmp_path, 80_000)
    assert found.lost == said
    assert found.doubled == 0
    assert min(found.rows, said) > 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@needs_omrelp
async def test_a_full_disk_loses_nothing(tmp_path: Path, disk: Path) -> None:
    full, found = await on_a_full_disk(tmp_path, disk, 20_000)
    assert "full" in full.problem
    assert full.healthz == 503
    assert full.acknowledged <= full.stored + full.kept < 20_000
    assert found == Outcome(sent=20_000, rows=20_000, recipients=20_000)
