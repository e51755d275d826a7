"""Texts that came out of a log, made harmless for where they are shown.

Owns what a terminal and a spreadsheet would take for more than text. Imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Sequence

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_FIRST = frozenset(_FORMULA)


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


def cells(values: Sequence[object]) -> Sequence[object]:
    """The cells of a row; most rows are harmless as they are, and looked at as a whole."""
    texts = [value for value in values if isinstance(value, str) and value]
    if "".join(texts).isprintable() and _FIRST.isdisjoint([text[0] for text in texts]):
        return values
    return [cell(value) for value in values]
