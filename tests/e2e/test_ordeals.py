"""Short forms of the ordeals: nothing is lost, nothing counts twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.ordeals import Hurts, Outcome, over
from tests.e2e.rsyslogd import needs_omrelp, needs_rsyslogd

pytestmark = [pytest.mark.e2e, needs_rsyslogd]


@needs_omrelp
async def test_kills_lose_nothing_over_relp_and_nothing_counts_twice(tmp_path: Path) -> None:
    found = await over("relp", tmp_path, 20_000, Hurts(kills=5))
    assert found == Outcome(sent=20_000, rows=20_000, recipients=20_000)


async def test_restarts_lose_nothing_over_tcp(tmp_path: Path) -> None:
    found = await over("tcp", tmp_path, 20_000, Hurts(restarts=3), rate=5_000)
    assert found == Outcome(sent=20_000, rows=20_000, recipients=20_000)
