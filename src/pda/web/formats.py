"""Rows as JSON, NDJSON and CSV: which is wanted, with which members, as octets.

Owns the forms and how one is chosen. Pure: published values in, octets out; knows no question.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta
from werkzeug.datastructures import MIMEAccept

from pda.texts import column
from pda.web.routes import JSON
from pda.web.values import Columns

Form: TypeAlias = Literal["json", "ndjson", "csv"]
MEDIA: Final[dict[Form, str]] = {
    "json": JSON,
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
}
_LOOKED_AT: Final = 250
"""Rows of CSV that are looked at together: they stay in the processor's own memory."""
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
        self._kind = kind if self.names == known else None
        self._places = [known.index(name) for name in self.names]

    def objects(self, columns: Columns) -> Sequence[object]:
        """What JSON shows of rows, of which there are the values of each member."""
        if not columns:
            return []
        if self._kind is not None:
            return list(map(self._kind, *columns))
        chosen = [columns[place] for place in self._places]
        return [dict(zip(self.names, row, strict=True)) for row in zip(*chosen, strict=True)]

    def lines(self, form: Form, columns: Columns, *, head: bool) -> bytes:
        """NDJSON or CSV of some rows; `head`: they are the first ones."""
        if form == "ndjson":
            return _ENCODER.encode_lines(self.objects(columns))
        lines = [",".join(self.names)] if head else []
        chosen = [columns[place] for place in self._places] if columns else [()]
        for begin in range(0, len(chosen[0]), _LOOKED_AT):
            lines += _csv([column(values[begin : begin + _LOOKED_AT]) for values in chosen])
        return "\r\n".join([*lines, ""]).encode()


def _csv(columns: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of some rows, of which there are the cells of each member."""
    if len(columns) == 1:
        columns = [[text or '""' for text in columns[0]]]  # an empty line would be no row
    return map(",".join, zip(*columns, strict=True))
