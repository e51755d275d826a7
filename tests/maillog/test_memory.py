"""Entries at rest: as they were, and small."""

from __future__ import annotations

import pytest

from pda.maillog import memory
from pda.maillog.clients import ClientRules
from pda.maillog.correlate import Correlator, gather
from tests.maillog.test_correlate import deferral, known
from tests.support import LONG_ID, events, message


@pytest.mark.parametrize("attempts", [1, 40])
def test_who_asks_for_an_entry_gets_it_as_it_was(
    monkeypatch: pytest.MonkeyPatch, attempts: int
) -> None:
    """It rests between two lines."""
    monkeypatch.setattr(memory, "_AWAKE", 0)
    lines = message()[:3]
    lines += [deferral(f"2026-03-10T10:{n:02}:01.5+00:00", f"{60 * n}.5") for n in range(attempts)]
    correlator = Correlator(ClientRules())
    for one in lines:
        new = gather(events([one]))
        correlator.missing(new)
        for change in correlator.add(new, {}):
            change.life.entry_id = 1
        correlator.join({})
    correlator.missing([])
    assert len(correlator._entries._at_rest["mx1", LONG_ID]) < 500 + 50 * attempts
    [life], expected = correlator._entries.get(("mx1", LONG_ID)), known(*lines).only()
    assert life.attempts == expected.attempts
    assert len(life.attempts) == attempts
    assert life.summary == expected.summary
    assert life.outcomes == expected.outcomes
