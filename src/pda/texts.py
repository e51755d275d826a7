"""Texts that came out of a log, made harmless for where they are shown.

Owns what a terminal and a spreadsheet would take for more than text. Imports nothing of ours.
"""

from __future__ import annotations

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def plain(text: str) -> str:
    """Text for a terminal: control characters are shown, not obeyed."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def cell(value: object) -> object:
    """A cell of a CSV file: a spreadsheet takes text that begins so for a formula."""
    if not isinstance(value, str):
        return value
    return f"'{plain(value)}" if value.startswith(_FORMULA) else plain(value)
