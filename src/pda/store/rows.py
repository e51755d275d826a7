"""Changes of what is known → rows.

Owns what each kind of change writes, and the numbers of entries and changes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import chain

from pda.maillog.events import Change, Life, Outcome, State, Summary
from pda.maillog.providers import provider_of
from pda.store import bounced
from pda.store.address_blocks import AddressBlocks, Named
from pda.store.batch import Batch, Progress, Reached
from pda.store.database import Connection
from pda.store.facts import PackedFacts
from pda.store.names import Numbers, number_of
from pda.store.replies import PackedReplies
from pda.store.row import RowOf, address_of
from pda.store.sheets import Sheet
from pda.store.terms import notification_terms, terms_of

_NAMELESS = Summary(born=0)
_VERDICT = 7
"""Where the number of the verdict stands in the row of an outcome."""


class Rows:
    """Makes rows for one database."""

    def __init__(self, connection: Connection) -> None:
        self.numbers = Numbers(connection)
        self.of = RowOf(self.numbers, PackedFacts(), PackedReplies())
        """Single ones."""
        self.addresses = AddressBlocks(connection)
        self.last_entry = _number(connection, "SELECT max(id) FROM entry")
        """The row of the newest queue entry."""
        self.last_change = _number(connection, "SELECT value FROM meta WHERE name = 'change'")

    def forget_texts(self) -> dict[str, int]:
        """From now on no number of a text up to these is given any more."""
        return {"relay": self.numbers.relays.forget(), "reason": self.numbers.reasons.forget()}

    def reserve(self, entries: int) -> int:
        """Numbers for so many entries; the first of them."""
        first = self.last_entry + 1
        self.last_entry += entries
        return first

    def batch(
        self,
        changes: list[Change],
        sheet: Sheet | None = None,
        first: int = 0,
        *,
        as_stored: bool = True,
    ) -> Batch:
        """What these changes write, and a sheet before them, whose place begins at `first`.

        What was known before them is `as_stored`, or has names and verdicts that are to come.
        """
        batch = Batch()
        named = self._place(batch, sheet, first) if sheet else []
        entries: dict[int, Life] = {}
        unread, known_to = _unread(changes), self.last_entry
        for change in changes:
            if change.withdrawn:
                self._withdraw(batch, change, unread.get(id(change.life), frozenset()))
            self._add(batch, change)
            if change.summary:
                entries[id(change.life)] = change.life
        batch.entries = [self.of.entry(batch, life) for life in entries.values()]
        batch.addresses, batch.replaced = self.addresses.rows(chain(named, _named(changes)))
        if as_stored:
            self._note_progress(batch, changes, known_to)
        batch.last_change = self.last_change
        return batch

    def _place(self, batch: Batch, sheet: Sheet, first: int) -> list[Named]:
        """Adds the rows of a sheet; the addresses that its entries have."""
        names = self.numbers.adopt(sheet.names, batch)
        placed = batch.placed = sheet.placed(first, self.last_change + 1, names)
        if placed.outcomes:
            self.last_change = number_of(placed.outcomes[-1][-1])
        batch.new_attempts = batch.added_attempts = len(placed.attempts)
        batch.clients = {str(row[1]) for table, row in sheet.names if table == "client"}
        return placed.named

    def _note_progress(self, batch: Batch, changes: list[Change], known_to: int) -> None:
        """How else the known entries count now, as far as that follows from the changes alone."""
        known = [one for one in changes if one.life.entry_id <= known_to]
        others = {one.life.entry_id for one in known if not _goes_on(one)}
        for change in known:
            number = change.life.entry_id
            if number not in others:
                batch.progress.setdefault(number, []).append(self._progress(batch, change))

    def _progress(self, batch: Batch, change: Change) -> Progress:
        life, known = change.life, change.known
        assert life.summary is not None
        number = life.entry_id
        touched = [recipient for recipient, _ in change.outcomes] + change.gone_outcomes
        return Progress(
            self.numbers.clients.number(life.summary.client_id, batch),
            self.numbers.hosts.number(life.host, batch),
            [batch.attempts[number, one.digest, one.copy] or () for one in change.attempts],
            [self._reached(batch, name, known[name]) for name in touched if name in known],
            [self._reached(batch, *reached) for reached in change.outcomes],
        )

    def _reached(self, batch: Batch, recipient: str, outcome: Outcome) -> Reached:
        verdict_id = self.numbers.verdicts.number(outcome.verdict, batch)
        provider = provider_of(outcome.relay)
        return recipient, int(outcome.state), outcome.last_at, verdict_id, provider

    def _add(self, batch: Batch, change: Change) -> None:
        life = change.life
        batch.added_attempts += change.added
        if change.vacated:
            batch.vacated.append((life.entry_id,))
            for recipient in change.gone_outcomes:
                batch.lose_evidence(recipient, life.entry_id)
            return
        if not life.entry_id:
            self.last_entry += 1
            life.entry_id = self.last_entry
        number = life.entry_id
        for attempt_key in change.gone:
            batch.attempts[(number, *attempt_key)] = None
        for attempt in change.attempts:
            key = number, attempt.digest, attempt.copy
            batch.attempts[key] = self.of.attempt(batch, number, attempt)
        for recipient in change.gone_outcomes:
            batch.outcomes[number, recipient] = None
            batch.lose_evidence(recipient, number)
        if change.outcomes:
            self._put_outcomes(batch, change)
        batch.terms += _terms(change)
        batch.new_attempts += len(change.attempts)

    def _put_outcomes(self, batch: Batch, change: Change) -> None:
        if len(change.recipients) < len(change.outcomes):  # of others something was known
            known = change.life.outcomes.keys() - set(change.recipients)
            for recipient, _ in change.outcomes:
                if recipient in known:
                    batch.lose_evidence(recipient, change.life.entry_id)
        for recipient, outcome in change.outcomes:
            self.put_outcome(batch, change.life, recipient, outcome)
        summary = change.life.summary
        assert summary is not None
        batch.clients.add(summary.client_id)

    def put_outcome(self, batch: Batch, life: Life, recipient: str, outcome: Outcome) -> None:
        """Adds the row of an outcome, and what it says about the address."""
        number, whose = life.entry_id, (life.entry_id, recipient)
        self.last_change += 1
        row = self.of.outcome(batch, whose, outcome, self.last_change)
        batch.outcomes[whose] = row
        if bounced.is_evidence(outcome):
            summary, verdict_id = life.summary, row[_VERDICT]
            assert summary is not None
            client_id = self.numbers.clients.number(summary.client_id, batch)
            key = recipient, number
            batch.evidence[key] = bounced.row(key, client_id, outcome, number_of(verdict_id))

    def _withdraw(self, batch: Batch, change: Change, unread: Collection[str]) -> None:
        """Numbers what nobody has to go by any more, in front of what comes in its place."""
        life, born = change.life, change.life.summary.born if change.life.summary else 0
        client = change.before.client_id if change.before else ""
        client_id = self.numbers.clients.number(client, batch)
        host_id = self.numbers.hosts.number(life.host, batch)
        for recipient, outcome in change.withdrawn:
            if recipient not in unread:
                self.last_change += 1
                address = address_of(recipient, outcome)
                about = recipient, address, client_id, host_id, life.queue_id, born
                batch.withdrawn.append((self.last_change, life.entry_id, *about))
                batch.clients.add(client)


def _goes_on(change: Change) -> bool:
    """Whether what an entry counted before goes on being counted, but for the changed outcomes."""
    before, now = change.before, change.life.summary
    if change.vacated or change.gone or change.added != len(change.attempts):
        return False
    if before is None or now is None or _as_counted(before) != _as_counted(now):
        return False
    # What hands a message on is no attempt, so that depends on the outcome.
    states = [outcome.state for _, outcome in change.outcomes]
    states += [change.known[recipient].state for recipient in change.gone_outcomes]
    states += [one.state for name, _ in change.outcomes if (one := change.known.get(name))]
    return State.HANDED_ON not in states


def _as_counted(summary: Summary) -> tuple[object, ...]:
    """All of a summary that matters to what is counted."""
    named = bool(summary.message_id), bool(summary.msg_id), bool(summary.origin)
    return summary.born, summary.client_id, *named


def _unread(changes: Iterable[Change]) -> dict[int, set[str]]:
    """What came into being with these changes nobody has read: recipients, by their life."""
    unread: dict[int, set[str]] = {id(one.life): set() for one in changes if one.withdrawn}
    for one in changes:
        if id(one.life) in unread:
            unread[id(one.life)].update(one.recipients)
    return unread


def _terms(change: Change) -> Iterator[tuple[int, int]]:
    """What the entry can be found by from now on."""
    number, summary = change.life.entry_id, change.life.summary
    if change.recipients or change.named:
        named = summary if change.named and summary else _NAMELESS
        for term in terms_of(named, change.recipients):
            yield term, number
    if summary and summary.notifications:
        for term in notification_terms(summary):
            yield term, number


def _named(changes: Iterable[Change]) -> Iterator[Named]:
    """The addresses that entries have from now on."""
    for change in changes:
        number, summary, before = change.life.entry_id, change.life.summary, change.before
        known = before is not None and summary is not None and before.sender == summary.sender
        if change.summary and summary and summary.sender and not known:
            yield number, summary.sender
        for recipient in change.recipients:
            if recipient:
                yield number, recipient
        for recipient, outcome in change.outcomes:
            if outcome.recipient != recipient:
                yield number, outcome.recipient


def _number(connection: Connection, query: str) -> int:
    row = connection.execute(query).fetchone()
    return number_of(row[0] or 0) if row else 0
