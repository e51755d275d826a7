"""Texts that came out of a log, made harmless for where they are shown.

Owns what a terminal and a spreadsheet would take for more than text. Imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_FIRST = frozenset(_FORMULA)
_PLAIN = bytes(octet for octet in range(0x20, 0x7F) if octet not in b',"')
"""What needs no quotes: that there is nothing else takes a fourth of `isprintable`."""
_FEW = 4
"""So many times as many values as different ones: these are looked at once."""


def plain(text: str) -> str:
    """Text for a terminal: control characters are shown, not obeyed."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def cell(value: object) -> object:
    """A cell of a CSV file: a spreadsheet takes text that begins so for a formula."""
    if isinstance(value, bool):
        return str(value).lower()  # as in JSON
    if not isinstance(value, str):
        return value
    return f"'{plain(value)}" if value.startswith(_FORMULA) else plain(value)


def column(values: Sequence[object]) -> Sequence[str]:
    """The cells of a column of a CSV file (RFC 4180): most columns are harmless as a whole."""
    kinds = set(map(type, values))
    if kinds.isdisjoint((str, bool)):
        return ["" if value is None else str(value) for value in values]
    different = set(values)
    if len(different) * _FEW < len(values):
        cells = {value: _cell(value) for value in different}
        return list(map(cells.__getitem__, values))
    if kinds == {str}:
        return _texts(cast("Sequence[str]", values))
    return list(map(_cell, values))


def _texts(values: Sequence[str]) -> Sequence[str]:
    every = "".join(values)
    special = every.encode("utf-8", "surrogatepass").translate(None, _PLAIN)
    harmless = not special.strip(b',"') or every.isprintable()
    if not harmless or not _FIRST.isdisjoint({text[:1] for text in values}):
        return list(map(_cell, values))
    if not special:
        return values
    if '"' in every:
        return list(map(_quoted, values))
    return [f'"{text}"' if "," in text else text for text in values]


def _cell(value: object) -> str:
    if type(value) is str and value.isprintable() and value[:1] not in _FIRST:
        return _quoted(value)
    return _quoted(str(cell("" if value is None else value)))


def _quoted(text: str) -> str:
    """A text without line ends."""
    if "," not in text and '"' not in text:
        return text
    return '"' + text.replace('"', '""') + '"'
