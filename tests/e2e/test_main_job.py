"""The main job whole: the real rsyslogd forwards a log, and REST tells every outcome."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
import trio

from tests.e2e.rsyslogd import Framing, needs_rsyslogd, running_rsyslogd, shipped_rule
from tests.running import Running
from tools.simulator import Plan, Row, generate

pytestmark = [pytest.mark.e2e, needs_rsyslogd]


def played(plan: Plan) -> tuple[list[tuple[str, str]], dict[tuple[str, str], str]]:
    """Tag and text of each line, and the true outcome of each recipient that was tried."""
    rows: list[Row] = []
    lines = [line.split(" ", 2)[2].partition(": ") for line in generate(plan, rows.append)]
    truth = {
        (row["queue_id"], recipient["recipient"]): recipient["outcome"]
        for row in rows
        for recipient in row["recipients"]
        if recipient["attempts"]
    }
    return [(tag, text) for tag, _, text in lines], truth


def told(service: Running) -> dict[tuple[str, str], str]:
    """Outcomes as REST tells them."""
    outcomes: list[dict[str, Any]] = service.get("/api/v1/outcomes?limit=10000")["outcomes"]
    return {(one["queue_id"], one["recipient"]): one["state"] for one in outcomes}


@pytest.mark.parametrize(
    ("protocol", "framing"),
    [("udp", "octet-counted"), ("tcp", "traditional"), ("tcp", "octet-counted")],
)
async def test_every_outcome_is_told(
    tmp_path: Path, protocol: Literal["udp", "tcp"], framing: Framing
) -> None:
    lines, truth = played(Plan(messages=300))
    assert len(set(truth.values())) >= 6
    with Running(tmp_path) as service:
        rule = shipped_rule(protocol, service.port(protocol), framing)
        async with running_rsyslogd(rule) as rsyslogd:
            for tag, text in lines:
                await rsyslogd.write(tag, [text])
            found: dict[tuple[str, str], str] = {}
            with trio.fail_after(2):  # is promised
                while not truth.items() <= found.items():
                    found = await trio.to_thread.run_sync(partial(told, service))
