"""Moments as they are written for people and programs.

Owns the two forms: µs since the epoch inside, RFC 3339 outside. Imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND, _MINUTE = 1_000_000, 60_000_000
"""µs."""
_SECONDS = tuple(f"{second:02}" for second in range(60))


def rfc3339(at: int) -> str:
    """µs since the epoch as RFC 3339 in UTC."""
    minute, rest = divmod(at, 60_000_000)
    second, fraction = divmod(rest, 1_000_000)
    if fraction:
        return f"{_minute(minute)}{_SECONDS[second]}.{fraction:06}Z"
    return f"{_minute(minute)}{_SECONDS[second]}Z"


def all_rfc3339(moments: Sequence[int]) -> list[str]:
    """The same of many: no function is called for each."""
    minute = {number: _minute(number) for number in {at // _MINUTE for at in moments}}
    return [
        f"{minute[at // _MINUTE]}{_SECONDS[at // _SECOND % 60]}.{fraction:06}Z"
        if (fraction := at % _SECOND)
        else f"{minute[at // _MINUTE]}{_SECONDS[at // _SECOND % 60]}Z"
        for at in moments
    ]


@lru_cache(16_384)
def _minute(number: int) -> str:
    """The beginning of all moments of a minute; an export has many of each."""
    return (_EPOCH + timedelta(minutes=number)).isoformat()[:17]


def moment(text: str) -> int:
    """µs since the epoch of a date, a time (in the local zone unless it says) or epoch ms.

    Raises ValueError with a sentence.
    """
    if text.isdecimal() and 8 < len(text) < 16:
        return int(text) * 1000
    try:
        local = datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no time such as 2026-11-23 or 2026-11-23T10:00:00+01:00"
        ) from None
    return (local - _EPOCH) // timedelta(microseconds=1)
