"""Whether an attempt that succeeded came after one that did not.

Owns how that is found for all rows of an answer at once. Asked of each row, all attempts of its
entry would be looked at for each: a fifth of the time, and with many recipients nearly all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from pda.store.database import Connection
from pda.store.queries.filters import Condition
from pda.store.queries.gathered import gathered

# A failure has its reply in `reason`.
_FAILED: Final = """
SELECT d.entry_id, d.recipient, d.at FROM attempt d
WHERE d.reason_id IS NOT NULL AND d.entry_id"""
_CLOSE: Final = 4
"""So many times as many entries are read through as looked up one by one in the same time."""


def deferred_before(
    connection: Connection,
    numbers: Sequence[int],
    recipients: Sequence[str],
    moments: Sequence[int],
    statuses: Sequence[str],
) -> list[bool]:
    """Of each attempt, of which there are these columns; false where it did not succeed itself."""
    sent = {number for number, status in zip(numbers, statuses, strict=True) if status == "sent"}
    if not sent:
        return [False] * len(numbers)
    among, values = _among(sent)
    failed = gathered(connection, f"{_FAILED} {among}", values, [False] * 3)
    earliest: dict[tuple[int, str], int] = {}
    for number, recipient, at in zip(*failed, strict=True):
        key = number, recipient
        earliest[key] = min(at, earliest.get(key, at))
    return [
        status == "sent" and earliest.get((number, recipient), at + 1) <= at
        for number, recipient, at, status in zip(
            numbers, recipients, moments, statuses, strict=True
        )
    ]


def _among(numbers: set[int]) -> Condition:
    """A condition that holds of these, and of others between them where they are close."""
    low, high = min(numbers), max(numbers)
    if high - low < _CLOSE * len(numbers):
        return "BETWEEN ? AND ?", [low, high]
    listed = msgspec.json.encode(sorted(numbers)).decode()
    return "IN (SELECT value FROM json_each(?))", [listed]
