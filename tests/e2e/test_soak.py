"""A short day with retention at work: memory and write-ahead log stay small."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.soaking import soak

pytestmark = pytest.mark.e2e
_MIB = 1024 * 1024


def test_a_day_at_full_speed_makes_nothing_large(tmp_path: Path) -> None:
    """In so short a time not all that is remembered fills, so that memory has a limit of its own.

    `tools/soak` sends sixteen times as much, and compares the end with the tenth of the way.
    """
    found = soak(tmp_path, messages=22_000, max_bytes=16 * _MIB, open_entries=1000)
    assert sum(found.fates.values()) == found.sent
    assert found.fates["waiting"] == found.fates["lost"] == found.fates["failed"] == 0
    assert max(octets for _, octets in found.course.memory) <= 200 * _MIB
    assert found.course.wal <= 64 * _MIB
    assert found.removed > 1000
    assert found.database <= 16 * _MIB
    assert not found.damages
