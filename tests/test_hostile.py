"""Nothing that others may send makes a parser fail: each is tried for a moment with near misses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile import FOUND, TARGETS, inputs

_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=60, deadline=None, suppress_health_check=_QUIET)
@given(data=st.data())
def test_near_misses(target: str, data: st.DataObject) -> None:
    TARGETS[target](data.draw(inputs(target)))


@pytest.mark.parametrize(
    ("target", "octets"), [(target, one) for target, every in FOUND.items() for one in every]
)
def test_what_was_found_once(target: str, octets: bytes) -> None:
    TARGETS[target](octets)


def test_the_tool_looks_for_longer_and_says_what_it_found(tmp_path: Path) -> None:
    tool = Path(__file__).parent.parent / "tools" / "fuzz"
    done = subprocess.run(
        [sys.executable, str(tool), "--seconds", "1", "order"], capture_output=True, check=False
    )
    assert (done.returncode, b"order" in done.stdout) == (0, True), done.stderr
