"""Attempts that are known already, under other rules.

Owns what a new rule list changes of an attempt and of a life: verdicts, and nothing else. Knows no
rule: whoever classifies is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

import msgspec

from pda.maillog.events import Attempt, AttemptKey, Failure, Life, Told, Verdict

Classify: TypeAlias = Callable[[Failure], Verdict]


def rejudged(attempt: Attempt, classify: Classify) -> Attempt:
    """The attempt with the verdict that it has now; itself where that is the one it has."""
    delivery = attempt.delivery
    if delivery.status == "sent":
        return attempt
    failure = Failure(delivery.reason, delivery.dsn, delivery.status, delivery.relay)
    verdict = classify(failure)
    if verdict == attempt.verdict:
        return attempt
    return msgspec.structs.replace(attempt, verdict=verdict)


def rejudge_life(life: Life, classify: Classify) -> set[AttemptKey]:
    """Gives the attempts of a life their verdicts; which ones are others now."""
    changed = set()
    for key, attempt in life.attempts.items():
        now = rejudged(attempt, classify)
        if now is not attempt:
            life.attempts[key] = now
            changed.add(key)
    return changed


def rejudge_told(told: Iterable[Told], classify: Classify) -> None:
    """What was read while other rules were in force gets the verdicts of these."""
    for one in told:
        now = [rejudged(attempt, classify) for attempt in one.attempts]
        if now != one.attempts:
            one.attempts = now
