"""What comes again and again, under a number.

Owns the numbers. New names go into the batch that needs them first, in front of its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias, TypeVar

import msgspec

from pda.maillog.events import Verdict
from pda.maillog.providers import provider_of
from pda.store.database import Connection, Row

_T = TypeVar("_T")
_REMEMBERED = 5000
"""Texts, twice: those that were used last, and those that were before them."""
Name: TypeAlias = tuple[str, Row]
"""A table and a row of it, whose number is the first member."""


class Manner(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """How an attempt went, as many did."""

    program: str
    status: str
    dsn: str
    verdict_id: int


class NewNames(Protocol):
    """Where new names are put."""

    names: list[Name]


def _stored(connection: Connection | None, query: str) -> list[Row]:
    return connection.execute(query).fetchall() if connection else []


class Names:
    """Few names that are all remembered, each once."""

    def __init__(self, table: str, connection: Connection | None) -> None:
        rows = _stored(connection, f"SELECT name, id FROM {table}")
        self._table = table
        self._numbers = {str(name): number_of(number) for name, number in rows}
        self._names = {number: name for name, number in self._numbers.items()}

    def number(self, name: str, new: NewNames) -> int:
        """The number of a name."""
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self._numbers) + 1
            self._names[number] = name
            new.names.append((self._table, (number, name)))
        return number

    def name(self, number: int) -> str:
        """The name of a number."""
        return self._names[number]


class Texts:
    """Any number of texts, of which those that were used last are remembered.

    Most come once, or a few times soon after one another; the others are asked for again and again.
    """

    def __init__(
        self, table: str, connection: Connection | None, more: Callable[[str], Row] = lambda _: ()
    ) -> None:
        """`more` says what else a row of the table has for a text."""
        rows = _stored(
            connection, f"SELECT name, id FROM {table} ORDER BY id DESC LIMIT {_REMEMBERED}"
        )
        self._table = table
        self._more = more
        self._numbers: dict[str, int] = {}
        self._before = {str(name): number_of(number) for name, number in reversed(rows)}
        self._last = max(self._before.values(), default=0)

    def number(self, text: str, new: NewNames) -> int:
        """A number of a text."""
        number = self._numbers.get(text)
        if number is None:
            if len(self._numbers) >= _REMEMBERED:
                self._numbers, self._before = {}, self._numbers
            number = self._numbers[text] = self._before.pop(text, 0) or self._given(text, new)
        return number

    def _given(self, text: str, new: NewNames) -> int:
        self._last += 1
        new.names.append((self._table, (self._last, text, *self._more(text))))
        return self._last

    def forget(self) -> int:
        """From now on no number up to this one is given any more."""
        self._numbers, self._before = {}, {}
        return self._last


class Verdicts:
    """All verdicts that were ever given, and the manners of attempts that had them."""

    def __init__(self, connection: Connection | None) -> None:
        rows = _stored(connection, "SELECT bounce_type, category, rule, id FROM verdict")
        self._verdicts = {
            msgspec.convert(verdict, Verdict): number_of(number) for *verdict, number in rows
        }
        self._by_number = {number: verdict for verdict, number in self._verdicts.items()}
        rows = _stored(
            connection, "SELECT program, status, dsn, coalesce(verdict_id, 0), id FROM manner"
        )
        self._manners = {
            Manner(str(program), str(status), str(dsn), number_of(verdict_id)): number_of(number)
            for program, status, dsn, verdict_id, number in rows
        }

    def number(self, verdict: Verdict | None, new: NewNames) -> int:
        """The number of a verdict; 0 of none."""
        if verdict is None:
            return 0
        number = self._verdicts.get(verdict)
        if number is None:
            number = self._verdicts[verdict] = len(self._verdicts) + 1
            self._by_number[number] = verdict
            row = number, verdict.bounce_type, verdict.category, verdict.rule
            new.names.append(("verdict", row))
        return number

    def known(self, verdict: Verdict) -> int | None:
        """The number of a verdict, if it was ever given."""
        return self._verdicts.get(verdict)

    def verdict(self, number: int) -> Verdict:
        """The verdict of a number."""
        return self._by_number[number]

    def manner(self, manner: Manner, new: NewNames) -> int:
        """The number of a manner."""
        number = self._manners.get(manner)
        if number is None:
            number = self._manners[manner] = len(self._manners) + 1
            verdict_id = manner.verdict_id or None
            row = number, manner.program, manner.status, manner.dsn, verdict_id
            new.names.append(("manner", row))
        return number


class Numbers:
    """All names that stand under a number in the rows of queue entries.

    Those of one database; or, without one, of rows that are yet to come into one (`adopt`).
    """

    def __init__(self, connection: Connection | None = None) -> None:
        self.hosts = Names("host", connection)
        self.clients = Names("client", connection)
        self.verdicts = Verdicts(connection)
        self.relays = Texts("relay", connection, lambda relay: (provider_of(relay),))
        self.reasons = Texts("reason", connection)
        self._by_table: dict[str, Names | Texts] = {
            "host": self.hosts,
            "client": self.clients,
            "relay": self.relays,
            "reason": self.reasons,
        }

    def adopt(self, names: Iterable[Name], new: NewNames) -> dict[str, list[int]]:
        """The numbers here of names that had others, counted from 1, elsewhere: by table."""
        found: dict[str, list[int]] = {table: [0] for table in _TABLES}
        for table, (_, *row) in names:
            if table == "verdict":
                number = self.verdicts.number(msgspec.convert(row, Verdict), new)
            elif table == "manner":
                *said, verdict_id = row
                manner = [*said, found["verdict"][number_of(verdict_id or 0)]]
                number = self.verdicts.manner(msgspec.convert(manner, Manner), new)
            else:
                number = self._by_table[table].number(str(row[0]), new)
            found[table].append(number)
        return found


_TABLES = ("host", "client", "verdict", "manner", "relay", "reason")


def number_of(value: object) -> int:
    """A number out of the database."""
    assert isinstance(value, int)
    return value
