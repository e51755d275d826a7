"""What was refused: each line once, as it was, and only whose it surely was."""

from __future__ import annotations

from datetime import UTC
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pda.maillog.clients import Binding, ClientRules, at_the_door
from pda.maillog.correlate import Correlator, gather
from pda.maillog.events import refused_told, without_places
from pda.maillog.events.refused import with_places
from pda.maillog.pipeline import Pipeline
from pda.store import rejects
from pda.store.edits import Edit
from pda.store.erasure import EraseAddress, finish, search, step
from pda.store.rejects import RejectFilter, RejectRow
from tests.support import LONG_ID, NOW, RULES, Store, line, message

AT = "2026-03-10T10:00:{:02}.123456+00:00"
FROM = "unknown[203.0.113.9]"
USER_UNKNOWN = (
    f"NOQUEUE: reject: RCPT from {FROM}: 550 5.1.1 <ann@example.org>: Recipient address rejected:"
    " User unknown in local recipient table; from=<eve@spam.example> to=<ann@example.org>"
    " proto=ESMTP helo=<mail.spam.example>"
)
LISTED = (
    "NOQUEUE: reject: RCPT from [203.0.113.9]:4242: 550 5.7.1 Service unavailable; client"
    " [203.0.113.9] blocked using zen.spamhaus.org; from=<eve@spam.example>, to=<bob@Example.ORG>,"
    " proto=ESMTP, helo=<x>"
)
MILTER = (
    f"{LONG_ID}: milter-reject: END-OF-MESSAGE from app[192.0.2.9]: 5.7.1 Command rejected;"
    " from=<news@example.com> to=<carl@example.org> proto=ESMTP helo=<app>"
)
HEADER = (
    f"{LONG_ID}: reject: header Subject: win from app[192.0.2.9]; from=<news@example.com>"
    " to=<carl@example.org> proto=ESMTP helo=<app>: 5.7.1 no lottery"
)
AUTHENTICATED = (
    f"NOQUEUE: reject: RCPT from {FROM}: 554 5.7.1 <x@y.example>: Relay access denied;"
    " from=<news@shop.example> to=<x@y.example> proto=ESMTP helo=<app> sasl_method=PLAIN"
    " sasl_username=shop"
)
LINES = [
    line(USER_UNKNOWN, program="smtpd", at=AT.format(1)),
    line(LISTED, program="postscreen", at=AT.format(2)),
    *message(),
    line(MILTER, program="cleanup", at=AT.format(3)),
    line(HEADER, program="cleanup", at=AT.format(4)),
    line(AUTHENTICATED, program="smtpd", at=AT.format(5)),
    line("NOQUEUE: warn: RCPT from x[192.0.2.1]: noted; from=<a@b> to=<c@d>", program="smtpd"),
]


def add(store: Store, lines: list[bytes]) -> None:
    """As the first hop does it."""
    source = Pipeline(RULES).source(UTC)
    told = [*gather(source.read(lines, NOW)), *refused_told(source.refused())]
    store.add_told(store.writer.removal.admit(told))


def found(store: Store, **wanted: object) -> list[RejectRow]:
    with store.reading() as connection:
        return rejects.page(connection, RejectFilter(**wanted), "", 100).rows  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    add(store, LINES)
    return store


def test_all_that_was_refused_latest_first(store: Store) -> None:
    rows = found(store)
    assert [(row.program, row.action, row.stage, row.queue_id) for row in rows] == [
        ("smtpd", "reject", "RCPT", ""),
        ("cleanup", "reject", "header", LONG_ID),
        ("cleanup", "milter-reject", "END-OF-MESSAGE", LONG_ID),
        ("postscreen", "reject", "RCPT", ""),
        ("smtpd", "reject", "RCPT", ""),
    ]
    first = rows[-1]
    assert (first.reply_code, first.dsn, first.client_ip, first.client_host, first.sender) == (
        "550", "5.1.1", "203.0.113.9", "unknown", "eve@spam.example",
    )  # fmt: skip
    assert first.reply == (
        "550 5.1.1 <ann@example.org>: Recipient address rejected: User unknown in local recipient"
        " table"
    )
    assert "client [203.0.113.9] blocked" in rows[3].reply
    assert rows[1].reply == "5.7.1 no lottery"


def test_received_again_is_the_same(store: Store) -> None:
    whole_seconds = [one.replace(b".123456+00:00", b"+00:00") for one in LINES]
    for lines in (LINES, whole_seconds, LINES[::-1]):
        add(store, lines)
    assert len(found(store)) == 5
    assert {row.at % 1_000_000 for row in found(store)} == {123456}


def test_the_finer_stamp_wins(tmp_path: Path) -> None:
    store = Store(tmp_path)
    add(store, [one.replace(b".123456+00:00", b"+00:00") for one in LINES])
    assert {row.at % 1_000_000 for row in found(store)} == {0}
    add(store, LINES)
    assert {row.at % 1_000_000 for row in found(store)} == {123456}


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({"client_ip": "203.0.113.9"}, 3),
        ({"sender": "eve@spam.example"}, 2),
        ({"recipient": "bob@EXAMPLE.org"}, 1),
        ({"recipient": "@example.org"}, 4),
        ({"reply": "USER unknown"}, 1),
        ({"host": "mx1"}, 5),
        ({"host": "mx2"}, 0),
        ({"queue_id": LONG_ID}, 2),
        ({"client": "shop"}, 1),
        ({"client": ""}, 4),
        ({"since": NOW - 7_200_000_000 + 3_000_000}, 3),
        ({"until": NOW - 7_200_000_000 + 3_000_000}, 3),
        ({"sender": "eve@spam.example", "recipient": "@example.org", "reply": "zen"}, 1),
    ],
)
def test_filters(store: Store, wanted: dict[str, object], count: int) -> None:
    assert len(found(store, **wanted)) == count


def test_pages_look_at_so_many(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejects, "_MOST_LOOKED_AT", 2)
    rows, after, pages = list[RejectRow](), "", 0
    with store.reading() as connection:
        while True:
            page = rejects.page(connection, RejectFilter(reply="User unknown"), after, 1)
            rows, pages = rows + page.rows, pages + 1
            if page.next is None:
                break
            after = page.next
    assert (len(rows), pages) == (1, 3)


def test_an_address_that_was_erased(store: Store) -> None:
    erase: Edit[str] = EraseAddress("ann@example.org")
    store.make(erase)
    while step(store.connection, 100):
        pass
    finish(store.connection, search(store.connection), NOW)
    store.writer.removal.refresh()
    add(store, [LINES[0].replace(b"10:00:01", b"11:00:01")])
    rows = found(store, sender="eve@spam.example", reply="User unknown")
    assert len(rows) == 2
    for row in rows:
        assert "ann@" not in row.recipient + row.reply
        assert row.recipient.startswith("erased-")
        assert row.recipient in row.reply


def test_whose_mail_it_surely_was() -> None:
    rules = ClientRules(
        bindings={
            "shop": Binding(networks=(ip_network("192.0.2.0/24"),)),
            "news": Binding(sasl_users=frozenset(["news"])),
            "other": Binding(networks=(ip_network("192.0.2.128/25"),)),
        }
    )
    assert at_the_door("192.0.2.1", "", rules) == "shop"
    assert at_the_door("192.0.2.200", "", rules) == ""
    assert at_the_door("203.0.113.1", "news", rules) == "news"
    assert at_the_door("203.0.113.1", "shop", rules) == ""
    assert at_the_door("203.0.113.1", "free", rules) == "free"
    assert at_the_door("203.0.113.1", "", rules) == ""
    assert Correlator(rules).client_at_the_door("192.0.2.1", "") == "shop"


NAMES = st.tuples(*[st.text("ab@.\x01", max_size=8)] * 4)


@given(st.text("ab@. \x01\x02", max_size=60), NAMES)
def test_a_reply_comes_back_as_it_was(reply: str, named: tuple[str, str, str, str]) -> None:
    harmless = reply.replace("\x01", "?").replace("\x02", "?")
    assert without_places(with_places(reply, named), named) == harmless
