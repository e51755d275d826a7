"""Texts that came out of a log, made harmless for where they are shown.

Owns what a terminal and a spreadsheet would take for more than text. Imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

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


def column(values: Sequence[object]) -> Sequence[str]:
    """The cells of a column of a CSV file (RFC 4180): most columns are harmless as a whole."""
    kinds = set(map(type, values))
    if kinds == {str}:
        texts = cast("Sequence[str]", values)
    else:
        texts = ["" if value is None else str(value) for value in values]
    if str not in kinds or _is_harmless(texts):
        return texts
    return [_quoted(str(cell("" if value is None else value))) for value in values]


def _is_harmless(texts: Sequence[str]) -> bool:
    every = "".join(texts)
    return (
        every.isprintable()
        and "," not in every
        and '"' not in every
        and _FIRST.isdisjoint({text[:1] for text in texts})
    )


def _quoted(text: str) -> str:
    """A text without line ends."""
    if "," not in text and '"' not in text:
        return text
    return '"' + text.replace('"', '""') + '"'
