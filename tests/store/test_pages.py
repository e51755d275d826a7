"""Pages: the same rows as the whole lists, whatever the filter, whatever arrives meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pda.maillog.events import State
from pda.store import queries
from pda.store.database import Connection
from pda.store.queries import Bounds, CursorError, Filter, Page, deferrals
from tests.support import Store, attempt, message

ATTEMPTS, OUTCOMES, MESSAGES = "attempts", "outcomes", "messages"
PAGES: dict[str, Callable[..., Page[Any]]] = {
    ATTEMPTS: queries.attempts_page,
    OUTCOMES: queries.outcomes_page,
    MESSAGES: queries.messages_page,
}
WHOLE: dict[str, Callable[..., list[Any]]] = {
    ATTEMPTS: queries.attempts,
    OUTCOMES: queries.outcomes,
    MESSAGES: queries.messages,
}


def queue_id(number: int) -> str:
    return f"4jXPlN1V{number:04d}zJbS"


def lines(number: int) -> list[bytes]:
    """A message to two recipients: to one at the second try, to the other not at all."""
    name, shop = queue_id(number), f"shop{number % 3}"
    minute = f"2026-03-10T10:{number:02d}"
    refused = {"reason": "host mx.example.org[192.0.2.1] said: 550 5.1.1 user unknown"}
    return message(
        name,
        message_id=f"<98494.{number}.1@{shop}>",
        sender=f"news{number % 2}@example.com",
        deliveries=[
            attempt("deferred", queue_id=name, to="Ann@Example.org", at=f"{minute}:01.5+00:00",
                    reason="connection timed out", dsn="4.4.1"),
            attempt("bounced", queue_id=name, to=f"bob_{number}@x.example", dsn="5.1.1",
                    at=f"{minute}:02.5+00:00", delay="2.5", **refused),
            attempt("sent", queue_id=name, to="Ann@Example.org", at=f"{minute}:31.5+00:00",
                    delay="31.5"),
        ],
    )  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(tmp_path_factory.mktemp("pages"))
    for number in range(30):
        store.add(lines(number))
    yield store
    store.close()


def every(connection: Connection, what: str, wanted: Filter, **how: Any) -> list[Any]:
    """All pages, one after the other."""
    found, after = [], ""
    while True:
        page = PAGES[what](connection, wanted, after, **how)
        found += page.rows
        if page.next is None:
            assert page.complete
            return found
        assert len(page.rows) == how["limit"] or not page.complete
        after = page.next


FILTERS = {
    "all": (Filter(), 90, 60, 30),
    "client": (Filter(client="shop1"), 30, 20, 10),
    "nobody": (Filter(client="nobody"), 0, 0, 0),
    "host": (Filter(host="mx1"), 90, 60, 30),
    "other host": (Filter(host="mx2"), 0, 0, 0),
    "queue id": (Filter(queue_id=queue_id(7)), 3, 2, 1),
    "message id": (Filter(message_id="<98494.7.1@shop1>"), 3, 2, 1),
    "without brackets": (Filter(message_id="98494.7.1@shop1"), 3, 2, 1),
    "msgId": (Filter(message_id="98494.7.1"), 3, 2, 1),
    "sender": (Filter(sender="news1@Example.com"), 45, 30, 15),
    "sender's local part in another case": (Filter(sender="News1@example.com"), 0, 0, 0),
    "recipient": (Filter(recipient="Ann@example.ORG"), 60, 30, 30),
    "its local part in another case": (Filter(recipient="ann@example.org"), 0, 0, 0),
    "domain": (Filter(domain="X.example"), 30, 30, 30),
    "end of a domain": (Filter(domain="example"), 0, 0, 0),
    "text": (Filter(text="BOB_1@"), 1, 1, 1),
    "text of a sender": (Filter(text="news1"), 45, 30, 15),
    "text that is no pattern": (Filter(text="bob%"), 0, 0, 0),
    "status": (Filter(status="bounced"), 30, 30, 30),
    "sent": (Filter(status="sent"), 30, 30, 30),
    "state": (Filter(state=State.FINALLY_OK), 60, 30, 30),
    "category": (Filter(category="invalid-recipient"), 30, 30, 30),
    "bounce type of no outcome": (Filter(bounce_type="soft"), 30, 0, 0),
    "dsn": (Filter(dsn="5.1"), 30, 30, 30),
    "dsn is no prefix of text": (Filter(dsn="5.1.10"), 0, 0, 0),
    "relay": (Filter(relay="MX.example.org"), 90, 60, 30),
    "provider": (Filter(provider="other"), 90, 60, 30),
    "client and domain": (Filter(client="shop2", domain="example.org"), 20, 10, 10),
}


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("name", FILTERS)
def test_pages_hold_what_a_filter_chooses(store: Store, name: str, newest_first: bool) -> None:
    wanted, *counts = FILTERS[name]
    with store.reading() as connection:
        for what, count in zip(PAGES, counts, strict=True):
            for limit in (7, 1000):
                rows = every(connection, what, wanted, limit=limit, newest_first=newest_first)
                assert len(rows) == count, (what, limit)
                whole = WHOLE[what](connection, wanted)
                assert sorted(map(repr, rows)) == sorted(map(repr, whole))
                ids = [row.id for row in rows]
                assert ids == sorted(ids, reverse=newest_first)


@pytest.mark.parametrize("close", [0, 4])
def test_sent_after_a_failure_that_was_not_asked_for(
    store: Store, monkeypatch: pytest.MonkeyPatch, close: int
) -> None:
    monkeypatch.setattr(deferrals, "_CLOSE", close)
    for wanted in Filter(status="sent"), Filter(status="sent", client="shop1"), Filter():
        with store.reading() as connection:
            rows = every(connection, ATTEMPTS, wanted, limit=50)
        late = [row.recipient for row in rows if row.deferred_before]
        assert late == [row.recipient for row in rows if row.status == "sent"] != []


GREY = {"dsn": "4.7.1", "reason": "host mx.a.example[192.0.2.1] said: 450 4.7.1 Greylisted"}
GONE = {"dsn": "5.1.1", "reason": "host mx.a.example[192.0.2.1] said: 550 5.1.1 User unknown"}
UNLIKE = message(
    deliveries=[
        attempt("deferred", to="ann@a.example", **GREY),
        attempt("bounced", to="ann@a.example", delay="60", **GONE),
        attempt("sent", to="info@b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example"),
    ],
)
"""A recipient whose attempts say different things, and one whose address is no ASCII."""
OF_ONE = {
    "status of one attempt, verdict of another": (
        Filter(status="deferred", category="invalid-recipient"), 0, 1, 1,
    ),
    "status and verdict of one": (Filter(status="bounced", category="invalid-recipient"), 1, 1, 1),
    "state of one recipient, address of another": (
        Filter(domain="a.example", state=State.DELIVERED), 0, 0, 0,
    ),
    "status of one recipient, text of another": (Filter(text="ann@", status="sent"), 0, 0, 0),
    "status and state of another": (Filter(status="sent", state=State.HARD_BOUNCE), 0, 0, 0),
    "address in Unicode": (Filter(recipient="info@b\u00fccher.example"), 1, 1, 1),
    "address with A-labels": (Filter(recipient="info@XN--BCHER-KVA.example"), 1, 1, 1),
    "domain in Unicode": (Filter(domain="B\u00dcCHER.example"), 1, 1, 1),
    "domain with A-labels": (Filter(domain="xn--bcher-kva.example"), 1, 1, 1),
    "text as logged": (Filter(text="b\u00fccher"), 1, 1, 1),
    "its status": (Filter(domain="xn--bcher-kva.example", status="sent"), 1, 1, 1),
    "its state": (Filter(domain="xn--bcher-kva.example", state=State.DELIVERED), 1, 1, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_ONE)
def test_all_that_is_said_holds_of_one_recipient(tmp_path: Path, name: str) -> None:
    wanted, *counts = OF_ONE[name]
    store = Store(tmp_path)
    store.add(UNLIKE)
    with store.reading() as connection:
        found = [len(every(connection, what, wanted, limit=10)) for what in PAGES]
    store.close()
    assert found == counts


def test_rows_of_one_message_stand_by_time(store: Store) -> None:
    with store.reading() as connection:
        wanted = Filter(queue_id=queue_id(7))
        rows = every(connection, ATTEMPTS, wanted, limit=1, newest_first=False)
    assert [row.at for row in rows] == sorted(row.at for row in rows)
    assert [row.delay for row in rows] == [1.5, 2.5, 31.5]


@pytest.mark.parametrize("what", PAGES)
def test_a_time_range(store: Store, what: str) -> None:
    with store.reading() as connection:
        times = sorted(
            getattr(row, {ATTEMPTS: "at", OUTCOMES: "last_at", MESSAGES: "born"}[what])
            for row in WHOLE[what](connection, Filter())
        )
        since, until = times[5], times[-5]
        rows = every(connection, what, Filter(since=since, until=until), limit=4)
    assert len(rows) == sum(since <= at <= until for at in times)


@pytest.mark.parametrize("newest_first", [True, False])
def test_what_arrives_meanwhile_is_never_in_between(tmp_path: Path, newest_first: bool) -> None:
    store = Store(tmp_path)
    for number in range(20):
        store.add(lines(number))
    found, after, number = [], "", 20
    while True:
        with store.reading() as connection:
            page = queries.attempts_page(connection, Filter(), after, 7, newest_first=newest_first)
        found += page.rows
        if page.next is None or number == 40:
            break
        after = page.next
        store.add(lines(number))
        number += 1
    store.close()
    keys = [(row.queue_id, row.at) for row in found]
    assert len(set(keys)) == len(keys)
    begun_with = {(queue_id(n), at) for n in range(20) for at in range(3)}
    assert sum(key[0] in {name for name, _ in begun_with} for key in keys) == 60


def test_work_is_bounded_and_goes_on(store: Store) -> None:
    bounds = Bounds(entries=4)
    wanted = Filter(dsn="5.1.1", sender="news1@example.com")
    with store.reading() as connection:
        page = queries.attempts_page(connection, wanted, limit=10, bounds=bounds)
        assert not page.complete
        assert len(page.rows) == 2
        rows = every(connection, ATTEMPTS, wanted, limit=10, bounds=bounds)
        assert len(rows) == 15
        in_no_time = Bounds(seconds=0)
        assert len(every(connection, ATTEMPTS, wanted, limit=10, bounds=in_no_time)) == 15


@pytest.mark.parametrize(
    "cursor", ["x", "äöü", "AAAA", "kgGTAQID", "kgGRoWE", "!!!!", "ks8AAAAAAAAAAZA" * 9]
)
def test_no_cursor_of_ours(store: Store, cursor: str) -> None:
    with store.reading() as connection, pytest.raises(CursorError, match="no cursor"):
        queries.messages_page(connection, Filter(), cursor)


def test_a_page_knows_its_end(store: Store) -> None:
    with store.reading() as connection:
        page = queries.messages_page(connection, Filter(), limit=30)
        assert (len(page.rows), page.next, page.complete) == (30, None, True)
        page = queries.messages_page(connection, Filter(), limit=29)
        assert page.next is not None
        assert len(queries.messages_page(connection, Filter(), page.next, 29).rows) == 1


def test_a_text_among_many_entries(tmp_path: Path) -> None:
    """Where blocks of addresses are looked through."""
    store = Store(tmp_path)
    ids = {n: f"4jXPlN1VQlz{n:04}x" for n in range(2500)}
    store.add([
        one for n, queue_id in ids.items()
        for one in message(
            queue_id, deliveries=[attempt(queue_id=queue_id, to=f"r{n}@example.org")]
        )
    ])  # fmt: skip
    with store.reading() as connection:
        page = queries.outcomes_page(connection, Filter(text="r77@"))
        assert [row.queue_id for row in page.rows] == [ids[77]]
        assert queries.outcomes_page(connection, Filter(text="nowhere")).rows == []
