"""Events → rows: batches, one transaction.

Owns all writing. What a batch changes is worked out before anything is written, so that a commit
that fails (disk full) can be tried again as it is. Never used by two threads at a time.

The driver asks protocols for None and bytes at every value it binds, which takes longer than the
row itself: NULL is written as NULLIF(?, …), and an octet string is bound as a bytearray.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Protocol, TypeVar

import msgspec

from pda.maillog.events import (
    Attempt,
    AttemptKey,
    Change,
    Delivery,
    EntryKey,
    Event,
    Fact,
    Failure,
    Life,
    Outcome,
    Verdict,
    Wanted,
)
from pda.store import imports
from pda.store.database import Connection, Row, Value
from pda.store.imports import Import
from pda.store.queries import UserRow
from pda.store.schema import migrate

_MOST_PARAMETERS = 500
_PUT_ENTRY = "INSERT OR REPLACE INTO entry VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
_PUT_ATTEMPT = """
INSERT OR REPLACE INTO attempt VALUES (
    ?, ?, ?, ?, ?, ?, ?, NULLIF(?, ''), ?, NULLIF(?, 0), ?, NULLIF(?, ''), NULLIF(?, ''), ?, ?, ?,
    NULLIF(?, 0)
)
"""
_PUT_OUTCOME = """
INSERT OR REPLACE INTO outcome VALUES (?, ?, NULLIF(?, ''), ?, ?, ?, ?, NULLIF(?, 0), ?)
"""
_OF_MESSAGE = "SELECT host_id, queue_id FROM entry WHERE message_id = ? ORDER BY id DESC LIMIT ?"
_MOST_HOPS = 20
_FACTS = msgspec.msgpack.Decoder(list[Fact])
_ENCODER = msgspec.msgpack.Encoder()
_T = TypeVar("_T")


class Correlates(Protocol):
    """What the writer asks of whoever knows what lines mean together."""

    def missing(self, events: Iterable[Event]) -> set[EntryKey]: ...
    def add(
        self, events: Sequence[Event], stored: Mapping[EntryKey, list[Life]]
    ) -> list[Change]: ...
    def wanted(self) -> Wanted: ...
    def join(self, stored: Mapping[EntryKey, list[Life]]) -> list[Change]: ...
    def judge_by(self, classify: Callable[[Failure], Verdict]) -> None: ...
    def revived(self, lives: list[Life]) -> list[Life]: ...


class Judging(msgspec.Struct, frozen=True):
    """How far what is stored was judged by the rules of a list."""

    digest: str = ""
    done_to: int = 0
    """The last entry (its row) that was looked at."""
    changed: int = 0
    """Attempts that got another verdict."""
    finished_at: int = 0
    """µs since the epoch; 0 while there is more."""


class Batch(msgspec.Struct):
    """Rows that one transaction writes."""

    names: list[tuple[str, int, str]] = []
    verdicts: list[tuple[int, Verdict]] = []
    entries: list[Row] = []
    vacated: list[Row] = []
    """Ids of entries that turned out to be part of others."""
    attempts: dict[tuple[int, int, int], Row | None] = {}
    outcomes: dict[tuple[int, str], Row | None] = {}
    """None: the row has to go."""
    last_change: int = 0
    imported: Import | None = None
    judging: Judging | None = None
    new_attempts: int = 0
    added_attempts: int = 0
    """Without those that are only better known now."""


class Writer:
    """Writes events to one database."""

    def __init__(self, connection: Connection, correlator: Correlates) -> None:
        migrate(connection)
        self._connection = connection
        self._correlator = correlator
        self._added: list[Change] | None = None
        self._hosts = _Names("host", connection)
        self._clients = _Names("client", connection)
        self._verdicts = _read_verdicts(connection)
        self._last_entry = _number(connection, "SELECT max(id) FROM entry")
        self._last_change = _number(connection, "SELECT value FROM meta WHERE name = 'change'")
        self._judges_by = ""
        self.judging = _read_judging(connection)

    @property
    def last_entry(self) -> int:
        """The row of the newest queue entry."""
        return self._last_entry

    def prepare(self, events: Sequence[Event]) -> Batch:
        """Works out what these events change. Each batch is to be committed, in this order.

        Where the database cannot be read (`DatabaseError`), it is to be called again for the same.
        """
        correlator = self._correlator
        if self._added is None:
            self._added = correlator.add(events, self._load(correlator.missing(events)))
        wanted = correlator.wanted()
        keys = wanted.keys | self._keys_of(wanted.message_ids)
        changes = self._added + correlator.join(self._load(keys))
        self._added = None
        batch = Batch()
        for change in changes:
            self._add(batch, change)
        for life in {id(change.life): change.life for change in changes if change.summary}.values():
            batch.entries.append(self._entry_row(batch, life))
        batch.last_change = self._last_change
        return batch

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
        end = min(so_far.done_to + entries, self._last_entry)
        batch = Batch()
        changed = self._judge(batch, self._others(classify, so_far.done_to, end))
        batch.last_change = self._last_change
        finished_at = now if end == self._last_entry else 0
        batch.judging = Judging(digest, end, so_far.changed + changed, finished_at)
        return batch

    def insert(self, batch: Batch) -> None:
        """Writes rows, which `commit` makes durable; raises `OperationalError` as that does.

        What was inserted before, and not committed, has gone then too.
        """
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN IMMEDIATE")
        with self._whole():
            self._execute(batch)

    def commit(self, *batches: Batch) -> None:
        """One durable transaction; raises `OperationalError` when the disk refuses it.

        The batches are all that were inserted since the last commit, or are to be inserted now.
        """
        if not self._connection.in_transaction:
            for batch in batches:
                self.insert(batch)
        with self._whole():
            self._connection.execute("COMMIT")
        for batch in batches:
            self.judging = batch.judging or self.judging

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """The transaction as a whole or nothing of it."""
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:  # SQLite rolls back itself where the disk is full
                self._connection.execute("ROLLBACK")
            raise

    def add_user(self, user: UserRow, created_at: int) -> None:
        """Adds a user, or gives one a new password and role."""
        self._connection.execute(
            "INSERT OR REPLACE INTO user VALUES (?, ?, ?, ?, ?)",
            (user.name, user.password_hash, user.role, user.client_id, created_at),
        )

    def find_imports(self, digest_of_first: Callable[[int], bytes | None]) -> list[Import]:
        """How far files that begin so were read."""
        return imports.find(self._connection, digest_of_first)

    def close(self) -> None:
        """Closes the connection; what was committed stays."""
        self._connection.close()

    def _execute(self, batch: Batch) -> None:
        execute, many = self._connection.execute, self._connection.executemany
        for table, number, name in batch.names:
            execute(f"INSERT INTO {table} (id, name) VALUES (?, ?)", (number, name))
        for number, verdict in batch.verdicts:
            execute(
                "INSERT INTO verdict VALUES (?, ?, ?, ?)",
                (number, verdict.bounce_type, verdict.category, verdict.rule),
            )
        for table, column in (("entry", "id"), ("attempt", "entry_id"), ("outcome", "entry_id")):
            many(f"DELETE FROM {table} WHERE {column}=?", batch.vacated)
        many(_PUT_ENTRY, batch.entries)
        many(
            "DELETE FROM attempt WHERE entry_id=? AND digest=? AND copy=?",
            [key for key, row in batch.attempts.items() if row is None],
        )
        many(_PUT_ATTEMPT, [row for row in batch.attempts.values() if row is not None])
        many(
            "DELETE FROM outcome WHERE entry_id=? AND recipient=?",
            [key for key, row in batch.outcomes.items() if row is None],
        )
        many(_PUT_OUTCOME, [row for row in batch.outcomes.values() if row is not None])
        if batch.imported is not None:
            imports.put(self._connection, batch.imported)
        if batch.judging is not None:
            row = msgspec.structs.astuple(batch.judging)
            execute("INSERT OR REPLACE INTO judging VALUES (1, ?, ?, ?, ?)", row)
        execute("INSERT OR REPLACE INTO meta VALUES ('change', ?)", (batch.last_change,))

    def _others(
        self, classify: Callable[[Failure], Verdict], begin: int, end: int
    ) -> dict[int, set[AttemptKey]]:
        """Attempts, by entry, on which these rules say something else than what is stored."""
        found: dict[int, set[AttemptKey]] = {}
        rows = self._connection.execute(
            "SELECT entry_id, digest, copy, verdict_id, reason, dsn, status, relay FROM attempt"
            " WHERE entry_id > ? AND entry_id <= ? AND status <> 'sent'",
            (begin, end),
        ).fetchall()
        for entry_id, digest, copy, verdict_id, *said in rows:
            if self._verdicts.get(classify(Failure(*map(str, said)))) != verdict_id:
                found.setdefault(_int(entry_id), set()).add((_int(digest), _int(copy)))
        return found

    def _judge(self, batch: Batch, others: Mapping[int, set[AttemptKey]]) -> int:
        """The rows of these attempts, and the outcomes that follow from them; how many attempts."""
        lives = self._with_attempts(self._lives("id", others.keys()))
        # All is read before anything is numbered: what cannot be read is tried again.
        stored = {entry_id: self._stored_outcomes(entry_id) for entry_id in lives}
        for life in self._correlator.revived(list(lives.values())):
            for key in others[life.entry_id]:
                row = self._attempt_row(batch, life.entry_id, life.attempts[key])
                batch.attempts[life.entry_id, *key] = row
            for item in life.outcomes.items():
                now = int(item[1].state), self._verdict(batch, item[1].verdict)
                if stored[life.entry_id].get(item[0]) != now:
                    row = self._outcome_row(batch, life.entry_id, item)
                    batch.outcomes[life.entry_id, item[0]] = row
        return sum(map(len, others.values()))

    def _stored_outcomes(self, entry_id: int) -> dict[str, tuple[Value, Value]]:
        """The state and the verdict of each recipient."""
        rows = self._connection.execute(
            "SELECT recipient, state, verdict_id FROM outcome WHERE entry_id = ?", (entry_id,)
        ).fetchall()
        return {str(recipient): (state, verdict or 0) for recipient, state, verdict in rows}

    def _add(self, batch: Batch, change: Change) -> None:
        life = change.life
        batch.added_attempts += change.added
        if change.vacated:
            batch.vacated.append((life.entry_id,))
            return
        if not life.entry_id:
            self._last_entry += 1
            life.entry_id = self._last_entry
        for attempt_key in change.gone:
            batch.attempts[(life.entry_id, *attempt_key)] = None
        for attempt in change.attempts:
            row = self._attempt_row(batch, life.entry_id, attempt)
            batch.attempts[life.entry_id, attempt.digest, attempt.copy] = row
        for recipient in change.gone_outcomes:
            batch.outcomes[life.entry_id, recipient] = None
        for item in change.outcomes:
            row = self._outcome_row(batch, life.entry_id, item)
            batch.outcomes[life.entry_id, item[0]] = row
        batch.new_attempts += len(change.attempts)

    def _entry_row(self, batch: Batch, life: Life) -> Row:
        summary = life.summary
        assert summary is not None
        return (
            life.entry_id,
            self._hosts.number(life.host, batch),
            life.queue_id,
            summary.born,
            self._clients.number(summary.client_id, batch),
            summary.claimed_id,
            summary.message_id,
            summary.msg_id,
            summary.sender,
            summary.size,
            summary.nrcpt,
            summary.expired_at,
            summary.removed_at,
            summary.origin,
            bytearray(_ENCODER.encode(list(life.facts.values()))),
        )

    def _attempt_row(self, batch: Batch, entry_id: int, attempt: Attempt) -> Row:
        delivery = attempt.delivery
        return (
            entry_id,
            attempt.digest,
            attempt.copy,
            attempt.at,
            attempt.grade,
            attempt.program,
            delivery.recipient,
            delivery.orig_to,
            delivery.relay,
            delivery.conn_use,
            delivery.delay,
            ("/%g" * len(delivery.delays) % delivery.delays)[1:],
            delivery.tls,
            delivery.dsn,
            delivery.status,
            delivery.reason,
            self._verdict(batch, attempt.verdict),
        )

    def _outcome_row(self, batch: Batch, entry_id: int, item: tuple[str, Outcome]) -> Row:
        key, outcome = item
        self._last_change += 1
        return (
            entry_id,
            key,
            outcome.recipient if outcome.recipient != key else "",
            int(outcome.state),
            outcome.first_at,
            outcome.last_at,
            outcome.attempts,
            self._verdict(batch, outcome.verdict),
            self._last_change,
        )

    def _verdict(self, batch: Batch, verdict: Verdict | None) -> int:
        if verdict is None:
            return 0
        number = self._verdicts.get(verdict)
        if number is None:
            number = self._verdicts[verdict] = len(self._verdicts) + 1
            batch.verdicts.append((number, verdict))
        return number

    def _keys_of(self, message_ids: Iterable[str]) -> set[EntryKey]:
        """The last entries with these Message-IDs.

        The sender chooses the Message-ID: more entries with one than a way has hops are no way.
        """
        keys: set[EntryKey] = set()
        for message_id in message_ids:
            rows = self._connection.execute(_OF_MESSAGE, (message_id, _MOST_HOPS)).fetchall()
            keys |= {(self._hosts.name(_int(host_id)), str(queue_id)) for host_id, queue_id in rows}
        return keys

    def _load(self, keys: Collection[EntryKey]) -> dict[EntryKey, list[Life]]:
        """What is stored of these entries: their facts and attempts."""
        named = self._lives("queue_id", {queue_id for _, queue_id in keys})
        stored: dict[EntryKey, list[Life]] = {}
        wanted = [life for life in named if (life.host, life.queue_id) in keys]
        for life in self._with_attempts(wanted).values():
            stored.setdefault((life.host, life.queue_id), []).append(life)
        return stored

    def _lives(self, column: str, values: Collection[Value]) -> Iterator[Life]:
        """The entries whose column has one of these values, with their facts."""
        for some in _slices(values):
            rows = self._connection.execute(
                "SELECT id, host_id, queue_id, facts FROM entry"
                f" WHERE {column} IN ({_marks(some)})",
                some,
            ).fetchall()
            for entry_id, host_id, queue_id, facts in rows:
                key = self._hosts.name(_int(host_id)), str(queue_id)
                assert isinstance(facts, bytes)
                yield _life(key, _int(entry_id), _FACTS.decode(facts))

    def _with_attempts(self, found: Iterable[Life]) -> dict[int, Life]:
        """Lives with their attempts, by their rows."""
        lives = {life.entry_id: life for life in found}
        for numbers in _slices(lives):
            for row in self._connection.execute(
                f"SELECT * FROM attempt WHERE entry_id IN ({_marks(numbers)})",
                numbers,
            ).fetchall():
                attempt = self._attempt(row)
                life = lives[_int(row[0])]
                life.attempts[attempt.digest, attempt.copy] = attempt
        return lives

    def _attempt(self, row: tuple[Value, ...]) -> Attempt:
        digest, copy, at, grade, program, recipient, orig_to, relay, conn_use, *rest = row[1:]
        delay, delays, tls, dsn, status, reason, verdict_id = rest
        delivery = Delivery(
            recipient=str(recipient),
            orig_to=str(orig_to or ""),
            relay=str(relay),
            conn_use=_int(conn_use or 0),
            delay=float(delay or 0),
            delays=tuple(float(part) for part in str(delays).split("/")) if delays else (),
            tls=str(tls or ""),
            dsn=str(dsn),
            status=str(status),
            reason=str(reason),
        )
        verdict = self._verdicts_by_number()[_int(verdict_id)] if verdict_id else None
        return Attempt(
            _int(digest), _int(copy), _int(at), _int(grade), str(program), delivery, verdict
        )

    def _verdicts_by_number(self) -> dict[int, Verdict]:
        return {number: verdict for verdict, number in self._verdicts.items()}


class _Names:
    """The numbers under which names are kept, one table each."""

    def __init__(self, table: str, connection: Connection) -> None:
        rows = connection.execute(f"SELECT name, id FROM {table}").fetchall()
        self._table = table
        self._numbers = {str(name): _int(number) for name, number in rows}
        self._names = {number: name for name, number in self._numbers.items()}

    def number(self, name: str, batch: Batch) -> int:
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self._numbers) + 1
            self._names[number] = name
            batch.names.append((self._table, number, name))
        return number

    def name(self, number: int) -> str:
        return self._names[number]


def _life(key: EntryKey, entry_id: int, facts: list[Fact]) -> Life:
    life = Life(*key, facts={}, attempts={}, entry_id=entry_id)
    life.facts = {fact.key(): fact for fact in facts}
    return life


def _read_verdicts(connection: Connection) -> dict[Verdict, int]:
    rows = connection.execute("SELECT id, bounce_type, category, rule FROM verdict").fetchall()
    return {
        msgspec.convert(
            {"bounce_type": bounce_type, "category": category, "rule": rule}, Verdict
        ): _int(number)
        for number, bounce_type, category, rule in rows
    }


def _read_judging(connection: Connection) -> Judging:
    row = connection.execute(
        "SELECT digest, done_to, changed, finished_at FROM judging WHERE id = 1"
    ).fetchone()
    return Judging(str(row[0]), *map(_int, row[1:])) if row else Judging()


def _number(connection: Connection, query: str) -> int:
    row = connection.execute(query).fetchone()
    return _int(row[0] or 0) if row else 0


def _int(value: Value) -> int:
    assert isinstance(value, int)
    return value


def _slices(items: Iterable[_T]) -> Iterator[list[_T]]:
    """At most as many at a time as one statement takes."""
    rest = iter(items)
    while part := list(islice(rest, _MOST_PARAMETERS)):
        yield part


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))
