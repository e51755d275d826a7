"""What is counted of the rows, kept in the transaction that writes them.

Owns the tables `counted`, `counted_delay`, `counted_domain` and `counted_failure`. They are a
function of the rows: whoever changes rows of queue entries does it within `Counting.around`, which
takes away what these entries counted before and adds what they count then. What batches count is
written once for all of a transaction (`Counting.write`). Only what is removed for its age goes on
being counted (`Counting.leave`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from operator import itemgetter
from typing import Any, Final, cast

import msgspec

from pda.store import stretches
from pda.store.batch import Batch, Placed
from pda.store.database import Connection, Row
from pda.store.names import number_of
from pda.store.tally import (
    COLUMN_OF,
    COUNTED,
    FAILED,
    OF_DOMAIN,
    Entry,
    Manner,
    Remembered,
    Result,
    Tally,
    Try,
    try_of,
)

_CELL = "at, client_id, host_id, provider"
_KEYS = {
    "counted": f"piece, {_CELL}",
    "counted_delay": f"piece, {_CELL}",
    "counted_domain": "client_id, at, domain",
    "counted_failure": f"{_CELL}, verdict_id",
}


def _table(name: str, columns: str) -> str:
    key = _KEYS[name]
    texts = ("domain", "provider")
    keys = ", ".join(
        f"{column} {'TEXT' if column in texts else 'INTEGER'} NOT NULL"
        for column in key.split(", ")
    )
    return f"CREATE TABLE {name} ({keys}, {columns}, PRIMARY KEY ({key})) WITHOUT ROWID"


def _integers(names: Iterable[str]) -> str:
    return ", ".join(f"{name} INTEGER NOT NULL" for name in names)


TABLES: Final = (
    _table("counted", _integers(COUNTED)),
    _table("counted_delay", "classes BLOB NOT NULL"),
    _table("counted_domain", _integers(OF_DOMAIN)),
    _table("counted_failure", _integers(FAILED)),
)


def _zero(columns: Iterable[str]) -> str:
    return " AND ".join(f"{column} = 0" for column in columns)


def _put(table: str, columns: Sequence[str], sums: str) -> str:
    keys = _KEYS[table].split(", ")
    marks = ", ".join("?" * (len(keys) + len(columns)))
    changes = ", ".join(f"{column} = {sums.format(column)}" for column in columns)
    return f"INSERT INTO {table} VALUES ({marks}) ON CONFLICT DO UPDATE SET {changes}"


def _drop(table: str, nothing: str) -> str:
    same = " AND ".join(f"{column} = ?" for column in _KEYS[table].split(", "))
    return f"DELETE FROM {table} WHERE {same} AND {nothing}"


_PUT = {
    table: (_put(table, columns, "{0} + excluded.{0}"), _drop(table, _zero(columns)))
    for table, columns in (
        ("counted", COUNTED),
        ("counted_domain", OF_DOMAIN),
        ("counted_failure", FAILED),
    )
}
_PUT_DELAYS = _put("counted_delay", ["classes"], "add_classes({0}, excluded.{0})")
_DROP_DELAYS = _drop("counted_delay", "length(classes) <= 1")

_ENTRY = "id, host_id, client_id, born, message_id, msg_id, origin"
_TRY = "entry_id, digest, copy, at, manner_id, recipient, relay_id, delay, delays"
_RESULT = "entry_id, recipient, state, last_at, verdict_id"
# The same, out of the rows of a batch.
_entry_of: Callable[[Row], Any] = itemgetter(0, 1, 4, 3, 6, 7, 13)
_result_of: Callable[[Row], Any] = itemgetter(0, 1, 3, 5, 7)

_MOST_PARAMETERS = 500
_pack = msgspec.msgpack.Encoder().encode
unpack_classes = msgspec.msgpack.Decoder(dict[int, int]).decode
"""How many delays fell into which class, see `tally`."""


class Counting:
    """Keeps what is counted of one database; for the connection that writes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._manners = Remembered(self._manner_of)
        self._providers = Remembered(self._provider_of)
        self._unwritten = self._tally()
        """Of the batches of the open transaction."""
        connection.create_function("add_classes", 2, _add_classes)

    @contextmanager
    def around(self, entries: Collection[int]) -> Iterator[None]:
        """While rows of these queue entries are changed, within one transaction."""
        tally = self._tally()
        self._add_stored(tally, -1, entries)
        yield
        self._add_stored(tally, +1, entries)
        self._write(tally)

    @contextmanager
    def around_batch(self, batch: Batch) -> Iterator[None]:
        """While a batch is written: what is new is counted as it stands there.

        To be followed, within its transaction, by `write`; by `forget` where that is rolled back.
        """
        last, tally = self._last_entry(), self._unwritten
        others = [number for number in _touched(batch) - batch.progress.keys() if number <= last]
        self._add_stored(tally, -1, others)
        yield
        self._add_stored(tally, +1, others)
        results = [row for row in batch.outcomes.values() if row]
        self._widen(batch.entries, results)
        for progress in batch.progress.values():
            tally.advance(progress)
        entries = [entry for row in batch.entries if (entry := _entry_of(row))[0] > last]
        attempts = [try_of(row) for key, row in batch.attempts.items() if row and key[0] > last]
        new = [result for row in results if (result := _result_of(row))[0] > last]
        tally.add(+1, entries, attempts, new)

    def add(self, placed: Placed) -> None:
        """Counts new entries, which are written in this transaction; `write` is to follow."""
        entries, attempts = map(_entry_of, placed.entries), map(try_of, placed.attempts)
        self._unwritten.add(+1, entries, attempts, [*map(_result_of, placed.outcomes)])
        self._widen(placed.entries, placed.outcomes)

    def write(self) -> None:
        """Writes what the batches of this transaction count."""
        tally, self._unwritten = self._unwritten, self._tally()
        if tally.by_hour:  # where all that is counted stands too
            self._write(tally)

    def forget(self) -> None:
        """What the batches of this transaction counted has gone with it."""
        self._unwritten = self._tally()

    def _widen(self, entries: Iterable[Row], outcomes: Iterable[Row]) -> None:
        born, heard = [(row[0], row[3]) for row in entries], [(row[0], row[5]) for row in outcomes]
        stretches.widen(self._connection, born, heard)

    def leave(self, entries: Collection[int]) -> None:
        """Before these queue entries go because they are old: their figures stay.

        What went is noted by client, so that what is there is known too.
        """
        tally = self._tally()
        self._add_stored(tally, +1, entries)
        self._write_sums("counted", tally.gone())

    def begin_anew(self, at_a_time: int = 5000) -> None:
        """Counts everything there is, as if nothing had been counted."""
        for table in _KEYS:
            self._connection.execute(f"DELETE FROM {table}")
        for first in range(0, self._last_entry() + 1, at_a_time):
            tally = self._tally()
            self._add_stored(tally, +1, range(first, first + at_a_time))
            self._write(tally)

    def _tally(self) -> Tally:
        return Tally(self._manners, self._providers)

    def _last_entry(self) -> int:
        (last,) = self._connection.execute("SELECT max(id) FROM entry").fetchone() or (None,)
        return number_of(last or 0)

    def _add_stored(self, tally: Tally, sign: int, entries: Iterable[int]) -> None:
        for some in _slices(entries):
            tally.add(
                sign,
                cast(list[Entry], self._stored("entry", "id", _ENTRY, some)),
                cast(list[Try], self._stored("attempt", "entry_id", _TRY, some)),
                cast(list[Result], self._stored("outcome", "entry_id", _RESULT, some)),
            )

    def _stored(self, table: str, key: str, columns: str, entries: Sequence[int]) -> list[Any]:
        marks = ",".join("?" * len(entries))
        sql = f"SELECT {columns} FROM {table} WHERE {key} IN ({marks})"
        return self._connection.execute(sql, entries).fetchall()

    def _manner_of(self, number: int) -> Manner:
        status, verdict = self._one(
            "SELECT status, coalesce(verdict_id, 0) FROM manner WHERE id = ?", number
        )
        return COLUMN_OF.get(str(status), 0), number_of(verdict)

    def _provider_of(self, relay: int) -> str:
        return str(self._one("SELECT provider FROM relay WHERE id = ?", relay)[0])

    def _one(self, sql: str, number: int) -> Row:
        row = self._connection.execute(sql, (number,)).fetchone()
        assert row is not None
        return row

    def _write(self, tally: Tally) -> None:
        """Adds the sums; what is nothing any more goes, as if it had never been there."""
        failed = {(*cell, verdict): sums for (cell, verdict), sums in tally.failed.items()}
        self._write_sums("counted", tally.counted())
        self._write_sums("counted_domain", tally.counted_domains())
        self._write_sums("counted_failure", failed)
        some = [(key, _some(classes)) for key, classes in tally.counted_delays().items()]
        delays = sorted((key, classes) for key, classes in some if classes)
        many = self._connection.executemany
        many(_PUT_DELAYS, [(*key, bytearray(_pack(dict(classes)))) for key, classes in delays])
        less = [key for key, classes in delays if min(count for _, count in classes) < 0]
        many(_DROP_DELAYS, less)

    def _write_sums(self, table: str, sums: Mapping[Any, list[int]]) -> None:
        put, drop = _PUT[table]
        rows = sorted(item for item in sums.items() if any(item[1]))
        self._connection.executemany(put, [(*key, *counts) for key, counts in rows])
        self._connection.executemany(drop, [key for key, counts in rows if min(counts) < 0])


def _add_classes(before: bytes, more: bytes) -> bytearray:
    """Sums of classes, for SQL; those of which there are none are left out."""
    sums = defaultdict(int, unpack_classes(before))
    for number, count in unpack_classes(more).items():
        sums[number] += count
    return bytearray(_pack(dict(_some(sums))))


def _some(classes: Mapping[int, int]) -> list[tuple[int, int]]:
    """Those that have any, in their order."""
    return sorted((number, count) for number, count in classes.items() if count)


def _touched(batch: Batch) -> set[int]:
    """The entries of which a batch writes rows."""
    touched = {number_of(row[0]) for row in [*batch.entries, *batch.vacated]}
    return touched.union([key[0] for key in batch.attempts], [key[0] for key in batch.outcomes])


def _slices(entries: Iterable[int]) -> Iterator[list[int]]:
    rest = iter(entries)
    while some := list(islice(rest, _MOST_PARAMETERS)):
        yield some
