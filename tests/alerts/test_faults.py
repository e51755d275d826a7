"""What the log calls an error is a fault, by the place that says so."""

from __future__ import annotations

import logging

from pda.alerts.faults import Faults

log = logging.getLogger("pda.somewhere")


def test_a_fault_is_known_by_its_place_whatever_its_values() -> None:
    faults = Faults()
    with faults.listening():
        log.error("%d of %s failed", 1, "these")
        log.error("%d of %s failed", 2, "those")
        log.warning("no fault")
    assert faults.take() == {"pda.somewhere: … of … failed": "2 of those failed"}
    assert faults.take() == {}
