"""Events → rows: batches, one transaction.

Owns all writing. What a batch changes is worked out before anything is written, so that a commit
that fails (disk full) can be tried again as it is. Never used by two threads at a time, but for
`begin`, which asks nothing of the database: it may run beside a `commit`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol, TypeAlias

from pda.maillog.events import (
    AttemptKey,
    Change,
    EntryKey,
    Failure,
    Life,
    Refusal,
    Told,
    Verdict,
    Wanted,
    Whole,
)
from pda.store import edits, imports, replies, wal
from pda.store.audit import Author
from pda.store.batch import Batch, Judging, execute, put_names, put_placed
from pda.store.counting import Counting
from pda.store.database import Connection, Value, forget_pages, roll_back
from pda.store.edits import Edit, T
from pda.store.erasure import EraseAddress
from pda.store.imports import Import
from pda.store.lives import StoredLives
from pda.store.names import number_of
from pda.store.rejects import RejectRows
from pda.store.removal import Removal
from pda.store.rows import Rows
from pda.store.schema import migrate
from pda.store.sheets import Sheet

_FAILURES = """
SELECT entry_id, digest, copy, verdict_id, reason, dsn, status, relay FROM attempt_told
WHERE entry_id > ? AND entry_id <= ? AND status <> 'sent'
"""

Stored: TypeAlias = dict[EntryKey, list[Life]]


class Correlates(Protocol):
    """What the writer asks of whoever knows what lines mean together."""

    new_lines: int

    def asked_of(self, wholes: Sequence[Whole]) -> Wanted: ...
    def known(self, wholes: Sequence[Whole], stored: Wanted) -> set[int]: ...
    def remember(self, wholes: Mapping[int, Whole]) -> None: ...
    def missing(self, told: Iterable[Told]) -> set[EntryKey]: ...
    def add(self, told: Iterable[Told], stored: Stored) -> list[Change]: ...
    def wanted(self) -> Wanted: ...
    def beyond(self, stored: Stored) -> set[EntryKey]: ...
    def join(self, stored: Stored) -> list[Change]: ...
    def client_at_the_door(self, client_ip: str, sasl_username: str, /) -> str: ...
    def judge_by(self, classify: Callable[[Failure], Verdict]) -> None: ...
    def revived(self, lives: list[Life]) -> list[Life]: ...
    def forget(self, keys: Iterable[EntryKey]) -> None: ...
    def forget_all(self) -> None: ...


class Found(NamedTuple):
    """What is to be written, and what is stored of it."""

    told: list[Told]
    sheet: Sheet | None
    """Of entries that are new."""
    stored: Stored


class Begun(NamedTuple):
    """What is known of a batch before more is looked up for it."""

    sheet: Sheet | None
    first: int
    """The number of its first entry."""
    refused: list[Refusal]
    changes: list[Change]
    wanted: Wanted


class Writer:
    """Writes events to one database."""

    def __init__(self, connection: Connection, correlator: Correlates) -> None:
        migrate(connection)
        self._connection = connection
        self._correlator = correlator
        self.removal = Removal(connection)
        self._know_names()
        self._counting = Counting(connection)
        self._judges_by = ""
        self.judging = _read_judging(connection)

    def _know_names(self) -> None:
        """As the database has them now."""
        self._rows = rows = Rows(self._connection)
        self._rejects = RejectRows(self._connection, rows.numbers.hosts, rows.numbers.clients)
        self._lives = StoredLives(self._connection, rows.of, self.removal, rows.last_entry)

    @property
    def last_entry(self) -> int:
        """The row of the newest queue entry."""
        return self._rows.last_entry

    @property
    def new_lines(self) -> int:
        """Lines so far that said what was not known before."""
        return self._correlator.new_lines

    def look_up(self, told: Sequence[Told], sheet: Sheet | None = None) -> Found:
        """What is stored of these entries; raises `DatabaseError` where it cannot be read.

        What of a sheet is not new, or is not by itself, is told with the others.
        """
        told = list(told)
        if sheet is not None:
            stored = self._lives.there(self._correlator.asked_of(sheet.wholes))
            known = self._correlator.known(sheet.wholes, stored)
            told += [sheet.wholes[number].told() for number in sorted(known)]
            sheet = sheet.without(known)
        stored_lives = self._lives.of_keys(self._correlator.missing(_of_entries(told)))
        return Found(told, sheet, stored_lives)

    def begin(self, found: Found) -> Begun:
        """What this changes, given what was just looked up for it, as far as that tells."""
        told, sheet, stored = found
        first = 0
        if sheet is not None:
            first = self._rows.reserve(sheet.room)
            self._correlator.remember(sheet.numbered(first))
        refused = [one for each in told for one in each.refused]
        changes = self._correlator.add(_of_entries(told), stored)
        return Begun(sheet, first, refused, changes, self._correlator.wanted())

    def complete(self, begun: Begun) -> Batch:
        """All that this changes. Each batch is to be committed, in this order.

        Where the database cannot be read (`DatabaseError`), it is to be called again for the same.
        """
        sheet, first, refused, changes, wanted = begun
        changes = changes + self._correlator.join(self._linked(wanted))
        batch = self._rows.batch(changes, sheet, first, as_stored=self._knows_as_stored)
        if refused:
            at_the_door = self._correlator.client_at_the_door
            batch.rejects = self._rejects.rows(refused, at_the_door, batch)
        return batch

    def _linked(self, wanted: Wanted) -> Stored:
        """What is stored of these entries, and of those as which they go on."""
        keys = wanted.keys.union(*self._lives.of_messages(wanted.message_ids).values())
        stored = self._lives.of_keys(keys, wanted.names)
        while further := self._correlator.beyond(stored) - keys:
            keys |= further
            stored |= self._lives.of_keys(further)
        return stored

    def prepare(self, told: Sequence[Told], sheet: Sheet | None = None) -> Batch:
        """The three steps at once, where nothing is to go on beside them."""
        return self.complete(self.begin(self.look_up(told, sheet)))

    @property
    def _knows_as_stored(self) -> bool:
        """Whether what is remembered has the names and verdicts that are stored of it still."""
        is_judged = not self._judges_by or self.is_judged_by(self._judges_by)
        return is_judged and not self.removal.is_erasing

    def is_judged_by(self, digest: str) -> bool:
        """Whether all that is stored has the verdicts of the list with this digest."""
        return self.judging.digest == digest and bool(self.judging.finished_at)

    def rejudge(
        self, classify: Callable[[Failure], Verdict], digest: str, entries: int, now: int
    ) -> Batch:
        """Judges the next entries by the rules of this list, beginning anew with a new list.

        To be committed as any other batch. Once `judging` is finished there is nothing more to do.
        """
        if self._judges_by != digest:
            self._correlator.judge_by(classify)
            self._judges_by = digest
        so_far = self.judging if self.judging.digest == digest else Judging(digest)
        last = self._rows.last_entry
        end = min(so_far.done_to + entries, last)
        batch = Batch()
        changed = self._judge(batch, self._others(classify, so_far.done_to, end))
        batch.last_change = self._rows.last_change
        finished_at = now if end == last else 0
        batch.judging = Judging(digest, end, so_far.changed + changed, finished_at)
        return batch

    def insert(self, batch: Batch) -> None:
        """Writes rows, which `commit` makes durable; raises `OperationalError` as that does.

        What was inserted before, and not committed, has gone then too.
        """
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN IMMEDIATE")
        self._lives.message_ids.add(batch.message_ids())
        with self._whole():
            put_names(self._connection, batch.names)
            if batch.placed is not None:
                put_placed(self._connection, batch.placed)
                self._counting.add(batch.placed)
            with self._counting.around_batch(batch):
                execute(self._connection, batch)

    def restore(self, *batches: Batch) -> None:
        """Inserts all since the last commit again, where the disk has ended their transaction.

        That comes with an error, also of reading, after which they have gone.
        """
        if self._connection.in_transaction:
            return
        self._counting.forget()
        for batch in batches:
            self.insert(batch)

    def finish(self, *batches: Batch) -> None:
        """Writes what is missing before `commit` in a transaction of these batches."""
        self.restore(*batches)
        with self._whole():
            self._counting.write()

    def commit(self, *batches: Batch) -> None:
        """One durable transaction; raises `OperationalError` when the disk refuses it.

        The batches are all that were inserted since the last commit, or are to be inserted now.
        """
        self.finish(*batches)
        with self._whole():
            self._connection.execute("COMMIT")
        for batch in batches:
            self.judging = batch.judging or self.judging

    def look_again(self) -> None:
        """What was read is not believed any more: to be called before something is tried again."""
        forget_pages(self._connection)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """The transaction as a whole or nothing of it."""
        try:
            yield
        except BaseException:
            self._counting.forget()
            roll_back(self._connection)
            raise

    def make(self, edit: Edit[T], by: Author, at: int) -> T:
        """Makes an edit that somebody asked for; what was inserted has to be committed before."""
        result = edits.make(self._connection, edit, by, at)
        if isinstance(edit, EraseAddress):
            self.begin_anew()
        return result

    def do(self, function: Callable[[Connection], T]) -> T:
        """Runs what else writes; what was inserted has to be committed before."""
        return function(self._connection)

    def begin_anew(self) -> None:
        """Forgets what it knows of the database: somebody else has changed that."""
        self.removal.refresh()
        self._correlator.forget_all()
        self._know_names()

    def forget(self, entries: Iterable[EntryKey]) -> None:
        """Forgets queue entries that are not stored any more."""
        self.removal.refresh()
        self._correlator.forget(entries)
        self._lives.message_ids.forget_gone()
        self._rows.addresses.close()

    def forget_texts(self) -> dict[str, int]:
        """From now on no number of a text up to these, by table, is given any more."""
        return self._rows.forget_texts() | self._rejects.forget_texts()

    def find_imports(self, digest_of_first: Callable[[int], bytes | None]) -> list[Import]:
        """How far files that begin so were read."""
        return imports.find(self._connection, digest_of_first)

    def cut_log(self) -> bool:
        """Makes the write-ahead log empty: see `wal.cut`."""
        return wal.cut(self._connection)

    def close(self) -> None:
        """Closes the connection; what was committed stays."""
        self._connection.close()

    def _others(
        self, classify: Callable[[Failure], Verdict], begin: int, end: int
    ) -> dict[int, set[AttemptKey]]:
        """Attempts, by entry, on which these rules say something else than what is stored."""
        found: dict[int, set[AttemptKey]] = {}
        rows = self._connection.execute(_FAILURES, (begin, end)).fetchall()
        for entry_id, digest, copy, verdict_id, *said in rows:
            if self._rows.numbers.verdicts.known(classify(_failure(*said))) != verdict_id:
                key = number_of(digest), number_of(copy)
                found.setdefault(number_of(entry_id), set()).add(key)
        return found

    def _judge(self, batch: Batch, others: Mapping[int, set[AttemptKey]]) -> int:
        """The rows of these attempts, and the outcomes that follow from them; how many attempts."""
        rows, lives = self._rows, self._lives.of_numbers(others.keys())
        # All is read before anything is numbered: what cannot be read is tried again.
        stored = {number: self._stored_outcomes(number) for number in lives}
        for life in self._correlator.revived(list(lives.values())):
            number = life.entry_id
            for key in others[number]:
                attempt = life.attempts[key]
                batch.attempts[number, *key] = rows.of.attempt(batch, number, attempt)
            summary = life.summary
            assert summary is not None
            for recipient, outcome in life.outcomes.items():
                verdict_id = rows.numbers.verdicts.number(outcome.verdict, batch)
                now = int(outcome.state), verdict_id
                if stored[number].get(recipient) != now:
                    batch.lose_evidence(recipient, number)
                    rows.put_outcome(batch, life, recipient, outcome)
                    batch.clients.add(summary.client_id)
        return sum(map(len, others.values()))

    def _stored_outcomes(self, number: int) -> dict[str, tuple[Value, Value]]:
        """The state and the verdict of each recipient."""
        rows = self._connection.execute(
            "SELECT recipient, state, verdict_id FROM outcome WHERE entry_id = ?", (number,)
        ).fetchall()
        return {str(recipient): (state, verdict or 0) for recipient, state, verdict in rows}


def _failure(reason: Value, *others: Value) -> Failure:
    return Failure(replies.text_of(reason), *map(str, others))


def _of_entries(told: Iterable[Told]) -> list[Told]:
    """Without what is of no queue entry."""
    return [one for one in told if one.queue_id]


def _read_judging(connection: Connection) -> Judging:
    row = connection.execute(
        "SELECT digest, done_to, changed, finished_at FROM judging WHERE id = 1"
    ).fetchone()
    return Judging(str(row[0]), *map(number_of, row[1:])) if row else Judging()
