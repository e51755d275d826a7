"""Rows of queue entries of which nothing is known, made by somebody who has no database.

Owns the sheet that they travel on: by columns, so that all its numbers can be moved at a time.
Entries are counted from 0, names from 1; in a database both get the numbers that are next there.
What only the writer can know, whether the entries are new, it is to find out: see `Whole`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import compress
from typing import Any, TypeAlias

import msgspec

from pda.maillog.events import Life, Whole
from pda.store import bounced
from pda.store.batch import Placed
from pda.store.database import Row
from pda.store.facts import PackedFacts
from pda.store.names import Name, Numbers, number_of
from pda.store.replies import PackedReplies
from pda.store.row import RowOf
from pda.store.terms import terms_of

Columns: TypeAlias = list[list[Any]]
"""Of rows of a table, in the order of their keys."""


class Sheet(msgspec.Struct, frozen=True, array_like=True):
    """Rows, and what has to be known of their entries."""

    wholes: list[Whole]
    """One for each row of `entries`."""
    names: list[tuple[str, tuple[Any, ...]]]
    """See `Name`."""
    entries: Columns
    attempts: Columns
    outcomes: Columns
    evidence: Columns
    terms: Columns
    """Hash and entry."""
    named: Columns
    """Entry, and an address that it has."""

    @property
    def lines(self) -> int:
        """How many different ones told of it."""
        return sum(one.lines for one in self.wholes)

    @property
    def first_at(self) -> int:
        """When the first of its messages came in, µs since the epoch."""
        born: list[int] = self.entries[3]
        return min(born)

    def without(self, gone: Collection[int]) -> Sheet:
        """The rest of it, where these entries, by their place, are none of it."""
        if not gone:
            return self

        def rest(columns: Columns, entry: int) -> Columns:
            """Without the rows of these entries, whose number is in this column."""
            kept = [number not in gone for number in columns[entry]]
            return [[*compress(column, kept)] for column in columns]

        return Sheet(
            [one for number, one in enumerate(self.wholes) if number not in gone],
            self.names,
            rest(self.entries, 0),
            rest(self.attempts, 0),
            rest(self.outcomes, 0),
            rest(self.evidence, 1),
            rest(self.terms, 1),
            rest(self.named, 0),
        )

    @property
    def room(self) -> int:
        """How many numbers its entries need."""
        return self.entries[0][-1] + 1 if self.wholes else 0

    def numbered(self, first: int) -> dict[int, Whole]:
        """The entries by their numbers, where their place in a database begins at this one."""
        numbers: list[int] = self.entries[0]
        return {first + number: one for number, one in zip(numbers, self.wholes, strict=True)}

    def placed(self, first: int, first_change: int, names: dict[str, list[int]]) -> Placed:
        """The rows for a database, in which entries, changes and names have these numbers."""
        moved, name = first.__add__, {table: some.__getitem__ for table, some in names.items()}
        host, client, verdict = name["host"], name["client"], name["verdict"]
        manner, relay, reason = name["manner"], name["relay"], name["reason"]
        return Placed(
            _rows(self.entries, {0: moved, 1: host, 4: client, 14: bytearray}),
            _rows(
                self.attempts, {0: moved, 5: manner, 8: relay, 11: _bound, 13: reason, 14: _bound}
            ),
            _rows(self.outcomes, {0: moved, 7: verdict, 8: first_change.__add__}),
            _rows(self.terms, {1: moved}),
            _rows(self.evidence, {1: moved, 2: client, 5: verdict}),
            _rows(self.named, {0: moved}),
        )


class Sheets:
    """Makes them; not to be used by two threads at a time."""

    def __init__(self) -> None:
        self._facts, self._replies = PackedFacts(), PackedReplies()

    def of(self, lives: Sequence[Life], wholes: list[Whole]) -> Sheet:
        """One with these lives, and what else is to be known of them."""
        sheet = _Filling(RowOf(Numbers(), self._facts, self._replies))
        for number, life in enumerate(lives):
            life.entry_id = number
            sheet.add(life)
        return Sheet(
            wholes,
            sheet.names,
            _columns(sheet.entries, 15),
            _columns(sheet.attempts, 15),
            _columns(sheet.outcomes, 9),
            _columns(sorted(sheet.evidence), 6),
            _columns(sorted(sheet.terms), 2),
            _columns(sheet.named, 2),
        )


class _Filling:
    """The rows of a sheet that is being made."""

    def __init__(self, of: RowOf) -> None:
        self._of = of
        self.names: list[Name] = []
        self.entries: list[Row] = []
        self.attempts: list[Row] = []
        self.outcomes: list[Row] = []
        self.evidence: list[Row] = []
        self.terms: list[tuple[int, int]] = []
        self.named: list[tuple[int, str]] = []

    def add(self, life: Life) -> None:
        """A life with its number."""
        of, number, summary = self._of, life.entry_id, life.summary
        assert summary is not None
        entry = of.entry(self, life)
        self.entries.append(entry)
        self.attempts += sorted(of.attempt(self, number, one) for one in life.attempts.values())
        if summary.sender:
            self.named.append((number, summary.sender))
        for recipient, outcome in sorted(life.outcomes.items()):
            row = of.outcome(self, (number, recipient), outcome, len(self.outcomes))
            self.outcomes.append(row)
            if bounced.is_evidence(outcome):
                key, client_id = (recipient, number), number_of(entry[4])
                self.evidence.append(bounced.row(key, client_id, outcome, number_of(row[7])))
            self.named += [(number, one) for one in {recipient, outcome.recipient} if one]
        self.terms += [(term, number) for term in terms_of(summary, life.outcomes)]


def _bound(value: bytes | str) -> bytearray | str:
    """As the driver takes it best."""
    return bytearray(value) if isinstance(value, bytes) else value


def _columns(rows: Sequence[Row], many: int) -> Columns:
    return [*map(list, zip(*rows, strict=True))] if rows else [[] for _ in range(many)]


def _rows(columns: Columns, moved: Mapping[int, Callable[[Any], Any]]) -> list[Any]:
    """The rows, some columns of which are moved."""
    others = [map(moved[n], one) if n in moved else one for n, one in enumerate(columns)]
    return [*zip(*others, strict=True)]
