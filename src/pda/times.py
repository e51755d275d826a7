"""Moments as they are written for people and programs.

Owns the two forms: µs since the epoch inside, RFC 3339 outside. Imports nothing of ours.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(at: int) -> str:
    """µs since the epoch as RFC 3339 in UTC."""
    return (_EPOCH + timedelta(microseconds=at)).isoformat().replace("+00:00", "Z")


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
