"""Rows as JSON, NDJSON and CSV: which is wanted, with which members, as octets.

Owns the forms and how one is chosen. Pure: published rows in, octets out; knows no question.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta
from werkzeug.datastructures import MIMEAccept

from pda.texts import column
from pda.web.routes import JSON

Form: TypeAlias = Literal["json", "ndjson", "csv"]
MEDIA: Final[dict[Form, str]] = {
    "json": JSON,
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
}
_LOOKED_AT: Final = 250
"""Rows of CSV that are looked at together: what is not harmless in one takes time for as many."""
_ENCODER: Final = msgspec.json.Encoder()

Wanted: TypeAlias = Annotated[
    Form | None,
    Meta(
        description="`json` is one page; `ndjson` (an object on each line) and `csv` are all rows,"
        " streamed. Comes before the header Accept."
    ),
]


class Selectable(msgspec.Struct, frozen=True):
    """A row of which `fields` may choose some members: none is required in the description."""


def fields_of(kind: type[Selectable]) -> Any:
    """The type of the parameter `fields`: members of this row, in the order that is wanted."""
    said = "Only these members, in this order, separated by commas."
    choices: Any = Literal
    return Annotated[tuple[choices[kind.__struct_fields__], ...], Meta(description=said)]


def chosen(form: Form | None, accept: MIMEAccept) -> Form:
    """The form that is asked for; JSON where nothing else is preferred."""
    if form is not None:
        return form
    best = accept.best_match(list(MEDIA.values()), JSON)
    return next(name for name, media in MEDIA.items() if media == best)


class Members:
    """Some members of the rows of a kind, in their order."""

    def __init__(self, kind: type[Selectable], names: Sequence[str] = ()) -> None:
        known = kind.__struct_fields__
        self.names = tuple(dict.fromkeys(names)) or known
        self._all = self.names == known
        self._values = attrgetter(*self.names) if len(self.names) > 1 else self._only

    def objects(self, rows: Sequence[msgspec.Struct]) -> Sequence[object]:
        """What JSON shows of them."""
        if self._all:
            return rows
        return [dict(zip(self.names, self._values(row), strict=True)) for row in rows]

    def lines(self, form: Form, rows: Sequence[msgspec.Struct], *, head: bool) -> bytes:
        """NDJSON or CSV of some rows; `head`: they are the first ones."""
        if form == "ndjson":
            return _ENCODER.encode_lines(self.objects(rows))
        lines = [",".join(self.names)] if head else []
        for begin in range(0, len(rows), _LOOKED_AT):
            lines += self._csv(rows[begin : begin + _LOOKED_AT])
        return "".join([f"{line}\r\n" for line in lines]).encode()

    def _csv(self, rows: Sequence[msgspec.Struct]) -> Iterator[str]:
        """Their lines."""
        columns = [column(values) for values in zip(*map(self._values, rows), strict=True)]
        if len(columns) == 1:
            columns = [[text or '""' for text in columns[0]]]  # an empty line would be no row
        return map(",".join, zip(*columns, strict=True))

    def _only(self, row: msgspec.Struct) -> tuple[Any, ...]:
        return (getattr(row, self.names[0]),)
