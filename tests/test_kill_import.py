"""kill -9 at random moments of an import: what is stored in the end is what it would have been."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.support import attempt

TOOL = Path(__file__).parents[1] / "tools" / "kill-import"


@pytest.mark.parametrize("form", ["rfc3164", "rfc3339"])
def test_killed_and_repeated(form: str) -> None:
    arguments = ["--kills", "4", "--messages", "2500", "--format", form, "--seed", "1"]
    done = subprocess.run(
        [sys.executable, TOOL, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "after 4 kills: exactly the same" in done.stdout


def tool() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("kill_import", str(TOOL))
    spec = importlib.util.spec_from_loader("kill_import", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_tool_would_see_a_difference(tmp_path: Path) -> None:
    kill_import = tool()
    found = []
    for n in (2, 3):
        log = tmp_path / f"{n}.log"
        log.write_bytes(b"".join(attempt(queue_id=f"4jXPlN1VQl0000{k}") + b"\n" for k in range(n)))
        found.append(kill_import.undisturbed(tmp_path / str(n), [log])[0])
    assert kill_import.differences(found[0], found[0]) == []
    told = "; ".join(kill_import.differences(found[1], found[0]))
    for name in ("attempts: 3 wanted, -1, 1 lost", "outcomes: 3", "messages: 3", "files: 1 wanted"):
        assert name in told
