"""What the real rsyslogd loses by its rate limit is known, though none of these lines ever came."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio

from tests.e2e.rsyslogd import needs_rsyslogd, running_rsyslogd, shipped_rule
from tests.running import Running, eventually
from tests.support import attempt

pytestmark = [pytest.mark.e2e, needs_rsyslogd]

_TAG, _, _TEXT = attempt().decode().partition(" ")[2].partition(" ")[2].partition(": ")
_LIMIT = 'RateLimit.Interval="1" RateLimit.Burst="5" UsePIDFromSystem="on"'


async def test_rsyslog_says_how_many_lines_it_has_lost(tmp_path: Path) -> None:
    with Running(tmp_path) as service:
        # Else its own lines go to /dev/log, from where it has them as any other's.
        rule = 'global(processInternalMessages="on")\n' + shipped_rule("tcp", service.port("tcp"))
        async with running_rsyslogd(rule, _LIMIT) as rsyslogd:
            await rsyslogd.write(_TAG, [_TEXT] * 100)
            # It tells when the next line comes behind the interval.
            for _ in range(20):
                await trio.sleep(0.5)
                await rsyslogd.write(_TAG, [_TEXT])
                if service.status()["lost_before"]:
                    break
            lost = await trio.to_thread.run_sync(
                partial(eventually, lambda: service.status()["lost_before"], bool)
            )
        assert sum(lost.values()) >= 95, lost
