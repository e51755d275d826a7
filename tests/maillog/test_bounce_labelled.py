"""The shipped rule list against labelled texts that may lie beside the project."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared/data"


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no labelled texts at {DATA}")
def test_targets_are_met() -> None:
    told = subprocess.run(
        [sys.executable, ROOT / "tools/measure-rules"], capture_output=True, text=True, check=True
    ).stdout
    figures = {
        name: (float(f1), float(agreed), float(open_))
        for name, f1, agreed, open_ in re.findall(
            r"^(mail|all) +F1\(hard\) ([\d.]+) .*category +([\d.]+)%.*undetermined ([\d.]+)%",
            told,
            re.MULTILINE,
        )
    }
    assert figures["mail"][0] >= 0.95
    assert figures["mail"][1] >= 92
    assert figures["mail"][2] <= 3
    assert figures["all"][0] >= 0.90
    assert figures["all"][1] >= 85
    shares = {
        name: float(share)
        for name, share in re.findall(r"^(\S+) +undetermined .*\(([\d.]+)%\)", told, re.MULTILINE)
    }
    assert shares["real-mail.log.2"] <= 1
    assert shares["unlabelled.txt"] <= 1
    assert shares["postfix-own-texts.tsv"] == 0
