"""Rows → what was known of queue entries when they were stored.

Owns reading entries back with their facts and attempts, for the writer. Raises `DatabaseError`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from itertools import islice
from typing import TypeVar

from pda.maillog.events import Attempt, Delivery, EntryKey, Facts, Life, Wanted
from pda.store import replies
from pda.store.database import Connection, Value
from pda.store.delays import text_of
from pda.store.facts import InRow
from pda.store.message_ids import EVERYWHERE, MessageIds
from pda.store.names import number_of
from pda.store.pieces import find_between
from pda.store.removal import Removal
from pda.store.row import RowOf
from pda.store.terms import term

_MOST_PARAMETERS = 500
_MOST_HOPS = 20
_T = TypeVar("_T")


class StoredLives:
    """The queue entries of one database."""

    def __init__(
        self, connection: Connection, row_of: RowOf, removal: Removal, last_entry: int
    ) -> None:
        self._connection = connection
        self.message_ids = MessageIds(connection, last_entry)
        """To be told of all that is written."""
        self._numbers, self._facts = row_of.numbers, row_of.facts
        self._removal = removal

    def of_keys(
        self, keys: Collection[EntryKey], names: Set[str] = frozenset()
    ) -> dict[EntryKey, list[Life]]:
        """What is stored of these entries, and of those with these queue ids at whichever host.

        Of each there may be several lives.
        """
        found = self._lives("queue_id", {queue_id for _, queue_id in keys} | names)
        stored: dict[EntryKey, list[Life]] = {}
        wanted = [one for one in found if one.queue_id in names or (one.host, one.queue_id) in keys]
        for life in self._with_attempts(wanted).values():
            stored.setdefault((life.host, life.queue_id), []).append(life)
        return stored

    def of_numbers(self, numbers: Collection[int]) -> dict[int, Life]:
        """The lives with these rows."""
        return self._with_attempts(self._lives("id", numbers))

    def there(self, wanted: Wanted) -> Wanted:
        """What there is of this: which of the entries, and which of the Message-IDs."""
        keys: set[EntryKey] = set()
        for some in _slices({queue_id for _, queue_id in wanted.keys} | wanted.names):
            rows = self._connection.execute(
                f"SELECT host_id, queue_id FROM entry WHERE queue_id IN ({_marks(some)})", some
            ).fetchall()
            keys |= {(self._numbers.hosts.name(number_of(host)), str(name)) for host, name in rows}
        keys = {key for key in keys if key in wanted.keys or key[1] in wanted.names}
        return Wanted(keys, wanted.names, {*self.of_messages(wanted.message_ids)})

    def of_messages(self, message_ids: Set[str]) -> dict[str, list[EntryKey]]:
        """The last entries with these Message-IDs, of which there are some.

        The sender chooses the Message-ID: more entries with one than a way has hops are no way.
        """
        found: dict[str, list[EntryKey]] = {}
        # While somebody is erased, Message-IDs change behind the filter's back.
        is_known = not self._removal.is_erasing
        places = self.message_ids.where(message_ids) if is_known else [(EVERYWHERE, message_ids)]
        for span, may_be_there in places:
            for terms in _slices(sorted({term("message-id", one) for one in may_be_there})):
                rows = self._connection.execute(
                    "SELECT message_id, host_id, queue_id FROM entry"
                    f" WHERE id IN ({find_between(len(terms))}) ORDER BY id",
                    [*span, *terms],
                ).fetchall()
                for message_id, host_id, queue_id in rows:
                    key = self._numbers.hosts.name(number_of(host_id)), str(queue_id)
                    found.setdefault(str(message_id), []).append(key)
        return {one: found[one][-_MOST_HOPS:] for one in message_ids & found.keys()}

    def _lives(self, column: str, values: Collection[Value]) -> Iterator[Life]:
        """The entries whose column has one of these values, with their facts."""
        for some in _slices(values):
            rows = self._connection.execute(
                "SELECT id, host_id, queue_id, facts, born, message_id, sender FROM entry"
                f" WHERE {column} IN ({_marks(some)})",
                some,
            ).fetchall()
            for entry_id, host_id, queue_id, facts, *others in rows:
                host = self._numbers.hosts.name(number_of(host_id))
                known = Facts(str(queue_id), self._facts.unpack(facts, InRow.of(*others)))
                life = Life(host, str(queue_id), known, {}, entry_id=number_of(entry_id))
                yield life

    def _with_attempts(self, found: Iterable[Life]) -> dict[int, Life]:
        """Lives with their attempts, by their rows."""
        lives = {life.entry_id: life for life in found}
        for numbers in _slices(lives):
            rows = self._connection.execute(
                f"SELECT * FROM attempt_told WHERE entry_id IN ({_marks(numbers)})", numbers
            ).fetchall()
            for row in rows:
                attempt = self._attempt(row)
                lives[number_of(row[0])].attempts[attempt.digest, attempt.copy] = attempt
        if self._removal.is_erasing:  # what is stored names still who is not to be remembered
            return {number: self._removal.pseudonyms.life(life) for number, life in lives.items()}
        return lives

    def _attempt(self, row: tuple[Value, ...]) -> Attempt:
        digest, copy, at, grade, program, recipient, orig_to, relay, conn_use, *rest = row[1:]
        delay, delays, tls, dsn, status, reason, verdict_id = rest
        delivery = Delivery(
            recipient=str(recipient),
            relay=str(relay),
            delay=float(delay or 0),
            status=str(status),
            reason=replies.text_of(reason),
            dsn=str(dsn),
            delays=text_of(delays),
            conn_use=number_of(conn_use or 0),
            orig_to=str(orig_to or ""),
            tls=str(tls or ""),
        )
        verdict = self._numbers.verdicts.verdict(number_of(verdict_id)) if verdict_id else None
        return Attempt(
            digest=number_of(digest),
            copy=number_of(copy),
            at=number_of(at),
            grade=number_of(grade),
            program=str(program),
            delivery=delivery,
            verdict=verdict,
        )


def _slices(items: Iterable[_T]) -> Iterator[list[_T]]:
    """At most as many at a time as one statement takes."""
    rest = iter(items)
    while part := list(islice(rest, _MOST_PARAMETERS)):
        yield part


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))
