"""The delays of an attempt as its row holds them: half an octet for each character of their text.

Owns the packed form. The total, which others count with, stands beside it as
a whole number of microseconds: such a one takes three octets, a fraction always eight.
"""

from __future__ import annotations

from typing import Final

from pda.store.database import Value

_OTHERS: Final = "ABCDEFabcdef \t\n\r\v\f"
"""What `fromhex` would take, and is in no such text."""
_DIGITS: Final = str.maketrans({".": "a", "/": "b", **dict.fromkeys(_OTHERS, "x")})
_TEXT: Final = str.maketrans({"a": ".", "b": "/", "f": ""})
_OCTETS: Final = bytes, bytearray
"""Made once: many rows are asked about."""
_MICRO: Final = 1_000_000
SECONDS: Final = "a.delay / 1e6"
"""The total, of an attempt `a`."""
MICROSECONDS: Final = "CAST(a.delay AS INTEGER)"
"""The same as it stands there."""
PACK: Final = """
UPDATE attempt SET delay = round(delay * 1e6), delays = unhex(
    replace(replace(delays, '.', 'A'), '/', 'B') || iif(length(delays) % 2, 'F', ''))
WHERE delays IS NULL OR typeof(delays) = 'text'
"""


def packed(delays: str) -> bytearray | str:
    """For a row: what Postfix logs, as `0.03/0/0.29/1.3`; anything else as it is."""
    digits = delays.translate(_DIGITS)
    try:
        return bytearray.fromhex(digits + "f" if len(digits) % 2 else digits)
    except ValueError:
        return delays


def text_of(delays: Value) -> str:
    """The text that a row says."""
    if isinstance(delays, _OCTETS):
        return delays.hex().translate(_TEXT)
    return str(delays or "")


def microseconds(delay: float) -> int:
    """For a row: a total in seconds."""
    return round(delay * _MICRO)


def seconds(delay: float) -> float:
    """The total that a row says."""
    return delay / _MICRO
