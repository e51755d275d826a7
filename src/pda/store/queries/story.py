"""The whole story of one message.

Owns what is told of a queue entry: every line about it in order, each recipient's attempts, and the
entries that it is linked with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from pda.maillog.events import (
    AnyRecord,
    EntryKey,
    Fact,
    HandedOn,
    Notification,
    TakenOver,
    address_key,
    unpack_facts,
)
from pda.store.database import Connection, Value
from pda.store.facts import InRow, PackedFacts
from pda.store.names import number_of
from pda.store.pieces import LAST, find_between
from pda.store.queries.rows import (
    ATTEMPTS,
    MESSAGES,
    OUTCOMES,
    AttemptRow,
    MessageRow,
    OutcomeRow,
)
from pda.store.terms import term


class StoryEvent(msgspec.Struct, frozen=True):
    """What one line said."""

    at: int
    syslog_name: str
    """As `postfix/submission`."""
    kind: str
    """What `pda parse` calls the record."""
    record: AnyRecord


class RecipientStory(msgspec.Struct, frozen=True):
    """What became of one recipient, and how."""

    recipient: str
    """As compared; empty where an entry expired whose deferrals were never seen."""
    outcome: OutcomeRow
    attempts: list[AttemptRow]
    """By time, with the reply as logged and the verdict on it."""


class Link(msgspec.Struct, frozen=True):
    """Another queue entry of the same matter."""

    relation: str
    """`continues-as`, `continued-from` (hops), `notification` (about this message),
    `notification-about` (this one is the notification)."""
    host: str
    queue_id: str
    id: int | None
    """None where it is not known here, or not the asker's."""


class Story(msgspec.Struct, frozen=True):
    """One message."""

    message: MessageRow
    events: list[StoryEvent]
    """By time; the deliveries are with the recipients."""
    recipients: list[RecipientStory]
    links: list[Link]


_OF_NUMBERS = (
    "SELECT e.id, e.queue_id, e.facts, e.born, e.message_id, e.sender FROM entry e"
    " JOIN host h ON h.id = e.host_id JOIN client c ON c.id = e.client_id"
)


def story(connection: Connection, number: int, client: str | None = None) -> Story | None:
    """The story of a queue entry; None where there is no such, or it is another client's."""
    found = connection.execute(
        f"{MESSAGES.select('e.facts, ')} WHERE e.id = ? AND c.name = coalesce(?, c.name)",
        (number, client),
    ).fetchone()
    if found is None:
        return None
    (message,) = MESSAGES.made([found], skipped=1)
    facts = _facts(found[0], InRow.of(message.born, message.message_id, message.sender))
    return Story(
        message=message,
        events=[_event(fact) for fact in facts],
        recipients=_recipients(connection, number),
        links=[
            *_links(connection, message, facts, client),
            *_notified_about(connection, message, client),
        ],
    )


def _facts(octets: Value, in_row: InRow) -> list[Fact]:
    facts = unpack_facts(PackedFacts().unpack(octets, in_row))
    return sorted(facts, key=lambda fact: fact.at)


def _event(fact: Fact) -> StoryEvent:
    return StoryEvent(fact.at, fact.syslog_name, fact.record.kind(), fact.record)


def _recipients(connection: Connection, number: int) -> list[RecipientStory]:
    outcomes = connection.execute(
        f"{OUTCOMES.select('o.recipient, ')} WHERE e.id = ? ORDER BY o.recipient",
        (number,),
    ).fetchall()
    attempts = connection.execute(
        f"{ATTEMPTS.select()} WHERE e.id = ? ORDER BY a.at, a.digest, a.copy",
        (number,),
    ).fetchall()
    tries: dict[str, list[AttemptRow]] = {}
    for row in ATTEMPTS.made(attempts):
        tries.setdefault(address_key(row.recipient), []).append(row)
    return [
        RecipientStory(str(key), outcome, tries.get(str(key), []))
        for (key, *_), outcome in zip(outcomes, OUTCOMES.made(outcomes, skipped=1), strict=True)
    ]


def _links(
    connection: Connection, message: MessageRow, facts: Iterable[Fact], client: str | None
) -> Iterator[Link]:
    for fact in facts:
        near = message.born
        match fact.record:
            case HandedOn(host=host, to_queue_id=queue_id):
                relation = "continues-as"
            case TakenOver(host=host, from_queue_id=queue_id):
                relation = "continued-from"
            case Notification(notification_queue_id=queue_id):
                relation, host, near = "notification", message.host, fact.at
            case _:
                continue
        number = _nearest(connection, (host, queue_id), near, client)
        yield Link(relation, host, queue_id, number)


def _notified_about(
    connection: Connection, message: MessageRow, client: str | None
) -> Iterator[Link]:
    """The message that a notification is about."""
    if message.sender != "":
        return
    key = message.host, message.queue_id
    rows = connection.execute(
        f"{_OF_NUMBERS} WHERE e.id IN ({find_between(1)}) AND h.name = ?"
        " AND c.name = coalesce(?, c.name)",
        (0, LAST, term("notification", message.queue_id), message.host, client),
    ).fetchall()
    for number, queue_id, octets, *in_row in rows:
        for fact in _facts(octets, InRow.of(*in_row)):
            said = isinstance(fact.record, Notification) and fact.record.notification_queue_id
            if said == message.queue_id and _nearest(connection, key, fact.at, None) == message.id:
                yield Link("notification-about", message.host, str(queue_id), number_of(number))


def _nearest(connection: Connection, key: EntryKey, near: int, client: str | None) -> int | None:
    """Of the lives of a queue id the one nearest in time."""
    row = connection.execute(
        "SELECT e.id FROM entry e JOIN host h ON h.id = e.host_id"
        " JOIN client c ON c.id = e.client_id"
        " WHERE e.queue_id = ? AND h.name = ? AND c.name = coalesce(?, c.name)"
        " ORDER BY abs(e.born - ?) LIMIT 1",
        (key[1], key[0], client, near),
    ).fetchone()
    return row[0] if row and isinstance(row[0], int) else None
