"""What is told of alerts."""

from __future__ import annotations

import pytest

from pda.alerts.wording import title
from pda.store.alerts import Finding

SIXTY = "the journal pda.db.journal.7 cannot be read (Input/output er"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("it failed", "it failed"),
        (SIXTY, SIXTY),
        (SIXTY + "ror)", "the journal pda.db.journal.7 cannot be read (Input/output…"),
        (SIXTY[:59] + " ror)", SIXTY[:59] + "…"),
        ("x" * 61, "x" * 59 + "…"),
        ("two\nlines\x1b[m", "two lines\\x1b[m"),
    ],
)
def test_a_fault_is_cut_between_words(text: str, wanted: str) -> None:
    assert title(Finding(kind="fault", text=text)) == f"fault: {wanted}"
    assert len(wanted) <= 60
