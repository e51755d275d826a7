"""The whole story of one message."""

from __future__ import annotations

from pathlib import Path

from pda.store import queries
from pda.store.queries import Filter
from tests.support import LONG_ID, Store, attempt, line, message

BOUNCE_ID = "4jXPlN1VQlzJbSZ"


def test_a_story(tmp_path: Path) -> None:
    store = Store(tmp_path)
    refused = attempt(
        "bounced", dsn="5.1.1", reason="host mx.example.org[192.0.2.1] said: 550 5.1.1 unknown user"
    )
    notified = line(
        f"4jXPlN1VQlzJbSD: sender non-delivery notification: {BOUNCE_ID}", program="bounce",
        at="2026-03-10T10:00:03+00:00",
    )  # fmt: skip
    store.add([*message(deliveries=[refused, notified]), *message(BOUNCE_ID, sender="")])
    with store.reading() as connection:
        rows = queries.messages(connection, Filter())
        told = {
            row.queue_id: queries.story(connection, row.id) for row in rows
        }  # fmt: skip
        assert queries.story(connection, 4711) is None
        assert queries.story(connection, rows[0].id, "another client") is None
        assert queries.story(connection, rows[0].id, "shop") is not None
    store.close()
    story = told["4jXPlN1VQlzJbSD"]
    assert story is not None
    assert [event.kind for event in story.events] == [
        "smtpd-client", "message-id", "qmgr-from", "notification", "removed",
    ]  # fmt: skip
    (recipient,) = story.recipients
    assert (recipient.recipient, recipient.outcome.state) == ("rcpt@example.org", "hard-bounce")
    (tried,) = recipient.attempts
    assert (tried.category, tried.dsn, tried.provider) == ("invalid-recipient", "5.1.1", "other")
    assert tried.reason.endswith("unknown user")
    (link,) = story.links
    other = told[BOUNCE_ID]
    assert other is not None
    assert (link.relation, link.queue_id, link.id) == ("notification", BOUNCE_ID, other.message.id)
    (back,) = other.links
    about = "notification-about", "4jXPlN1VQlzJbSD", story.message.id
    assert (back.relation, back.queue_id, back.id) == about


def test_a_notification_is_the_one_that_had_the_id_then(tmp_path: Path) -> None:
    """An expiry comes days after the message, and a short id names many in between."""
    store = Store(tmp_path)
    short, days = "1C2D3E4F5A", ("10", "13", "15")
    store.add(message())
    for day in days:
        notification = message(short, sender="", message_id=f"<{day}@mx1>")
        store.add([one.replace(b"-03-10T", b"-03-%sT" % day.encode()) for one in notification])
    told = f"{LONG_ID}: sender non-delivery notification: {short}"
    store.add([line(told, program="bounce", at="2026-03-15T10:00:00+00:00")])
    with store.reading() as connection:
        ids = {row.message_id: row.id for row in queries.messages(connection, Filter())}
        story = queries.story(connection, ids["<98494.7.1@shop>"])
        backward = [queries.story(connection, ids[f"<{day}@mx1>"]) for day in days]
    store.close()
    assert story is not None
    assert [link.id for link in story.links] == [ids["<15@mx1>"]]
    about = [[link.id for link in one.links] for one in backward if one]
    assert about == [[], [], [ids["<98494.7.1@shop>"]]]
