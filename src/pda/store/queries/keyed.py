"""Texts that come again and again: a row has their key, and many rows look them up at once.

Owns which columns have a key, and what is looked up by it. To join them takes half of the time that
a row takes; here each is asked for once for all rows of an answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from pda.store.database import Connection, Row
from pda.store.names import number_of


class Key(NamedTuple):
    """What stands in a row for a text."""

    column: str
    """SQL; where it is a text it is that text itself."""
    table: str
    place: int
    """Of the text, in the row of that table."""


Columns: TypeAlias = list[Sequence[Any]]
"""Of each field the values in all rows; nothing at all where there is no row."""
_TABLES: Final = {
    "host": "SELECT id, name FROM host WHERE id",
    "client": "SELECT id, name FROM client WHERE id",
    "relay": "SELECT id, name, provider FROM relay WHERE id",
    "reason": "SELECT id, name FROM reason WHERE id",
    "verdict": "SELECT id, bounce_type, category, rule FROM verdict WHERE id",
    "manner": """
SELECT m.id, m.dsn, m.status, v.bounce_type, v.category, v.rule
FROM manner m LEFT JOIN verdict v ON v.id = m.verdict_id WHERE m.id
""",
}
_MOST: Final = 10_000
"""Texts of a table that are kept."""
OF_ENTRY: Final = {"h.name": Key("e.host_id", "host", 1), "c.name": Key("e.client_id", "client", 1)}
REPLY_OR_KEY: Final = "coalesce(a.reply, a.reason_id, '')"
OF_ATTEMPT: Final = {
    **OF_ENTRY,
    "r.name": Key("a.relay_id", "relay", 1),
    "r.provider": Key("a.relay_id", "relay", 2),
    "coalesce(a.reply, t.name, '')": Key(REPLY_OR_KEY, "reason", 1),
    "m.dsn": Key("a.manner_id", "manner", 1),
    "m.status": Key("a.manner_id", "manner", 2),
    "v.bounce_type": Key("a.manner_id", "manner", 3),
    "v.category": Key("a.manner_id", "manner", 4),
    "v.rule": Key("a.manner_id", "manner", 5),
}
OF_OUTCOME: Final = {
    **OF_ENTRY,
    "v.bounce_type": Key("o.verdict_id", "verdict", 1),
    "v.category": Key("o.verdict_id", "verdict", 2),
    "v.rule": Key("o.verdict_id", "verdict", 3),
}


def needed(joins: Mapping[str, str], sql: str) -> str:
    """The joins of the tables, by their short names, that a statement speaks of."""
    found = ""
    for name, join in reversed([*joins.items()]):
        if re.search(rf"\b{name}\.", sql + found):
            found = f"{join} {found}"
    return found


class Texts:
    """The texts that one reader has looked up so far: for one answer, however long.

    Not kept for others: an address that is erased is erased from texts too.
    """

    def __init__(self) -> None:
        self._rows: dict[str, dict[int, Row]] = {table: {} for table in _TABLES}

    def put(
        self, connection: Connection, wanted: Sequence[tuple[int, Key | None]], columns: Columns
    ) -> Columns:
        """Of each wanted one the column, with texts in the place of keys."""
        numbers: dict[int, set[int]] = {}
        found: Columns = []
        for place, key in wanted:
            column = columns[place]
            if key is not None:
                if place not in numbers:
                    numbers[place] = {one for one in set(column) if type(one) is int}
                    self._fill(connection, key.table, numbers[place])
                rows = self._rows[key.table]
                texts = {one: rows[one][key.place] if one in rows else "" for one in numbers[place]}
                column = list(map(texts.get, column, column))  # what is no number is the text
            found.append(column)
        return found

    def _fill(self, connection: Connection, table: str, numbers: set[int]) -> None:
        known = self._rows[table]
        if len(known) > _MOST:
            known.clear()
        if missing := numbers - known.keys():
            sql = f"{_TABLES[table]} IN (SELECT value FROM json_each(?))"
            rows = connection.execute(sql, (json.dumps(sorted(missing)),)).fetchall()
            known.update({number_of(row[0]): row for row in rows})
