"""The pieces of tools/bench: what it feeds to both programs, and what it makes of the figures."""

from __future__ import annotations

import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest

TOOL = Path(__file__).parent.parent / "tools" / "bench"


@pytest.fixture(scope="module")
def bench() -> Any:
    loader = SourceFileLoader("bench", str(TOOL))
    spec = spec_from_loader("bench", loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules["bench"] = module  # its named tuple asks for the module it was made in
    loader.exec_module(module)
    return module


def test_the_originals_stamps_become_ones_that_pflogsumm_reads(bench: Any) -> None:
    line = b"2013 Jun 10 06:27:30.123 mx1 postfix/qmgr[1]: 4bXYZzzzzzzz: removed\n"
    assert bench.comparable(line * 2) == line[5:20] + line[24:] + line[5:20] + line[24:]
    other = b"2025-09-01T10:00:00.5Z mx1 postfix/qmgr[1]: 2013 Jun 10 06:27:30.123 x\n"
    assert bench.comparable(other) == other


def test_a_row_holds_the_median_and_its_ratio_to_the_peer(bench: Any) -> None:
    seconds = {"pflogsumm": (2.0, 1.0, 4.0), "backfill": (1.0, 8.0, 4.0), "commits": (0.1,)}
    samples = {
        name: [bench.Sample(one, 1_000_000, "note") for one in found]
        for name, found in seconds.items()
    }
    assert bench.table(samples, 800) == [
        ("pflogsumm", "400", "1.00", "200 … 800", "1", "note"),
        ("backfill", "200", "0.50", "100 … 800", "1", "note"),
        ("commits", "", "", "", "1", "note"),
    ]
    assert bench.table({"backfill": samples["backfill"]}, 800)[0][2] == ""


def test_a_case_that_is_not_there_is_named(bench: Any) -> None:
    found = subprocess.run(
        [sys.executable, TOOL, "--cases", "backfill,speed"], capture_output=True, check=False
    )
    assert found.returncode == 2
    assert b"no case speed" in found.stderr


def test_a_whole_run_over_a_small_log(bench: Any, tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    log.write_text(bench.LAST_LINE * 20)
    cases = "pipeline,backfill,live,commits"
    found = subprocess.run(
        [sys.executable, TOOL, str(log), "--rounds", "1", "--cases", cases],
        capture_output=True,
        check=True,
    )
    assert b"20 lines" in found.stdout
    assert all(case.encode() in found.stdout for case in cases.split(","))
