"""The rows of a statement as columns, in one step of SQLite.

Owns the form in which they come: of each column one JSON text. The interpreter is left to others
until all rows are there, where fetching them would take it again for each row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from pda.store.database import Connection, Value
from pda.store.queries.keyed import Columns

_ASIS: Final = "json_group_array({0})"
_OCTETS: Final = (
    "json_group_array(CASE typeof({0}) WHEN 'blob' THEN json_array(hex({0})) ELSE {0} END)"
)
"""JSON has no octets: a list with their digits stands for them."""
_decode: Final = msgspec.json.Decoder(list[Any]).decode


def gathered(
    connection: Connection, statement: str, values: Sequence[Value], octets: Sequence[bool]
) -> Columns:
    """Of each column of a statement the values in its rows; no column has fractions.

    `octets` says of each whether it may have octets.
    """
    names = [f"c{number}" for number in range(len(octets))]
    found = ", ".join(
        (_OCTETS if may else _ASIS).format(name) for name, may in zip(names, octets, strict=True)
    )
    (row,) = connection.execute(
        f"WITH found ({', '.join(names)}) AS ({statement}) SELECT {found} FROM found", values
    ).fetchall()
    columns = [_decode(str(text)) for text in row]
    return [_with_octets(one) if may else one for one, may in zip(columns, octets, strict=True)]


def _with_octets(column: list[Any]) -> list[Any]:
    return [bytes.fromhex(one[0]) if type(one) is list else one for one in column]
