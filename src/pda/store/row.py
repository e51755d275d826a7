"""One queue entry, attempt or outcome → its row.

Owns their columns. Names get their numbers from `names`; whose the rows are, and what becomes of
them, is the business of `rows` and `sheets`.
"""

from __future__ import annotations

from pda.maillog.events import Attempt, Life, Outcome, Summary, Verdict
from pda.store.database import Row
from pda.store.delays import microseconds, packed
from pda.store.facts import InRow, PackedFacts
from pda.store.names import Manner, NewNames, Numbers
from pda.store.replies import PackedReplies


class RowOf:
    """Makes single rows, with these numbers of names; new names go where they are told to."""

    def __init__(self, numbers: Numbers, facts: PackedFacts, replies: PackedReplies) -> None:
        self.numbers = numbers
        self.facts = facts
        self.replies = replies

    def entry(self, new: NewNames, life: Life) -> Row:
        """The row of a life that has its number."""
        summary = life.summary
        assert summary is not None
        return (
            life.entry_id,
            self.numbers.hosts.number(life.host, new),
            life.queue_id,
            summary.born,
            self.numbers.clients.number(summary.client_id, new),
            summary.claimed_id,
            summary.message_id,
            summary.msg_id,
            summary.sender,
            summary.size,
            summary.nrcpt,
            summary.expired_at,
            summary.removed_at,
            summary.origin,
            bytearray(self.facts.pack(life.facts.packed(), in_row(summary))),
        )

    def attempt(self, new: NewNames, number: int, attempt: Attempt) -> Row:
        """The row of an attempt of the entry with this number."""
        delivery, verdict = attempt.delivery, attempt.verdict
        reason_id = 0
        reply: bytearray | str = ""
        if verdict is not None:
            reason_id = self.numbers.reasons.number(delivery.reason, new)
        else:
            reply = self.replies.pack(delivery.reason)
        return (
            number,
            attempt.digest,
            attempt.copy,
            attempt.at,
            attempt.grade,
            self._manner(new, attempt, verdict),
            delivery.recipient,
            delivery.orig_to,
            self.numbers.relays.number(delivery.relay, new),
            delivery.conn_use,
            microseconds(delivery.delay),
            packed(delivery.delays),
            delivery.tls,
            reason_id,
            reply,
        )

    def _manner(self, new: NewNames, attempt: Attempt, verdict: Verdict | None) -> int:
        delivery, verdicts = attempt.delivery, self.numbers.verdicts
        number = verdicts.number(verdict, new)
        return verdicts.manner(Manner(attempt.program, delivery.status, delivery.dsn, number), new)

    def outcome(self, new: NewNames, whose: tuple[int, str], outcome: Outcome, change: int) -> Row:
        """The row of what became of a recipient (`whose`: entry, and recipient as compared)."""
        return (
            *whose,
            address_of(whose[1], outcome),
            int(outcome.state),
            outcome.first_at,
            outcome.last_at,
            outcome.attempts,
            self.numbers.verdicts.number(outcome.verdict, new),
            change,
        )


def in_row(summary: Summary) -> InRow:
    """What the row of an entry says that its facts say too."""
    return InRow(summary.born, summary.message_id, summary.sender or "")


def address_of(recipient: str, outcome: Outcome) -> str:
    """The recipient as logged, where that is not how it is compared."""
    return outcome.recipient if outcome.recipient != recipient else ""
