"""The course of an alert: raised, told again at intervals, calm for a while, cleared.

Owns when something is told. Pure: no I/O, no clock; times are µs since the epoch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from pda.alerts.conditions import MAIL, Grade, Reading
from pda.store.alerts import Alert, Finding, Key, Kind

News: TypeAlias = Literal["raised", "still", "cleared", ""]
"""What is told; nothing where only the alert is another one."""
_MINUTE = 60_000_000


class Step(msgspec.Struct, frozen=True):
    """An alert as it is from now on, and what is told of it."""

    alert: Alert
    news: News


def calm(kind: Kind) -> int:
    """How long all has to be well before an alert is cleared, in µs."""
    if kind == "fault":
        return 24 * 60 * _MINUTE
    return (30 if kind in MAIL else 5) * _MINUTE


def steps(
    known: Mapping[Key, Alert],
    readings: Iterable[Reading],
    looked_for: Collection[Kind],
    now: int,
    repeat: int,
) -> list[Step]:
    """What readings change of the open alerts; `repeat` is the interval in µs.

    An alert of a kind that was looked for, and not found, is over.
    """
    found = {reading.finding.key: reading for reading in readings}
    over = [
        Reading(alert.finding, Grade.RIGHT)
        for key, alert in known.items()
        if key not in found and alert.finding.kind in looked_for
    ]
    every = [_step(known.get(r.finding.key), r, now, repeat) for r in (*found.values(), *over)]
    return [step for step in every if step is not None]


def _step(alert: Alert | None, reading: Reading, now: int, repeat: int) -> Step | None:
    if alert is None:
        return Step(raised(reading.finding, now), "raised") if _is_wrong(reading) else None
    if reading.grade is Grade.RIGHT:
        return _calming(alert, reading, now)
    if _is_wrong(reading) and now - alert.sent_at >= repeat:
        again = replace(alert, finding=reading.finding, calm_since=0, sent_at=now)
        return Step(again, "still")
    return Step(replace(alert, calm_since=0), "") if alert.calm_since else None


def _calming(alert: Alert, reading: Reading, now: int) -> Step | None:
    kind = alert.finding.kind
    if not alert.calm_since:
        return Step(replace(alert, calm_since=now), "")
    if now - alert.calm_since < calm(kind):
        return None
    # Nobody has to hear that something did not happen again.
    news: News = "" if kind == "fault" else "cleared"
    return Step(replace(alert, finding=reading.finding, sent_at=now, cleared_at=now), news)


def raised(finding: Finding, now: int, *, is_over: bool = False) -> Alert:
    """A new one, told now; `is_over` where it is no state but a moment."""
    return Alert(0, now, 0, now, now if is_over else 0, finding, [])


def _is_wrong(reading: Reading) -> bool:
    return reading.grade is Grade.WRONG
