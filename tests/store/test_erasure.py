"""One person erased everywhere: afterwards nothing in the whole database names the address."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pda.maillog.correlate import gather
from pda.maillog.events import refused_told
from pda.maillog.pipeline import Pipeline
from pda.store import erasure, queries, replies
from pda.store.address_blocks import Search
from pda.store.database import Connection, Value
from pda.store.edits import NotThereError
from pda.store.erasure import EraseAddress
from pda.store.facts import InRow, PackedFacts
from pda.store.queries import Filter
from tests.support import NOW, RULES, Store, attempt, line, message

ANN = "Ann.Smith@Example.org"
OTHER = "4jXPlN1VQlzJbSX"
LINES = [
    *message(
        message_id="<17-ann.smith=example.org@lists.example>",
        sender="bounce+ann.smith=example.org@news.example",
        deliveries=[
            attempt("bounced", to=ANN, dsn="5.1.1",
                    reason=f"host mx[192.0.2.1] said: 550 5.1.1 <{ANN}>: ann.smith is unknown"),
            attempt(to="Bob@example.org"),
            attempt("deferred", to="team@example.org", reason=f"forwarded to {ANN}: full", dsn="4.2.2"),
        ],
    ),
    line(
        f"4jXPlN1VQlzJbSD: info: header To: Ann Smith <{ANN}> from x[192.0.2.9]; from=<{ANN}>"
        f" to=<{ANN}> proto=ESMTP helo=<x>",
        program="cleanup",
    ),
    line(
        "4jXPlN1VQlzJbSX: client=app[192.0.2.9], sasl_method=PLAIN, sasl_username=ann.smith@example.org",
        program="smtpd",
    ),
    *message(OTHER, sender="ANN.SMITH@example.org", message_id="<1@x.example>", deliveries=[attempt(queue_id=OTHER)]),
    attempt(queue_id="4jXPlN1VQlzJbSY", to="ann.smith+news@example.org"),
]  # fmt: skip


def everything(connection: Connection) -> Iterator[str]:
    """Every value of every row of every table, facts unpacked; blocks are asked by `naming`."""
    facts = PackedFacts()
    tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'address_block'"
    for (table,) in connection.execute(tables).fetchall():
        columns = [
            str(row[1]) for row in connection.execute(f'PRAGMA table_info("{table!s}")').fetchall()
        ]
        for row in connection.execute(f'SELECT * FROM "{table!s}"').fetchall():
            named = dict(zip(columns, row, strict=True))
            for column, value in named.items():
                octets: Value = value
                if column == "facts":
                    octets = facts.unpack(value, in_row(named))
                elif (table, column) == ("attempt", "reply"):
                    octets = replies.text_of(value)
                text = octets.decode("utf-8", "replace") if isinstance(octets, bytes) else octets
                yield f"{table!s}.{column}: {text}"


def in_row(named: dict[str, Value]) -> InRow:
    return InRow.of(named["born"], named["message_id"], named["sender"])


def naming(store: Store, *words: str) -> list[str]:
    """Where one of these words stands, in whatever case."""
    found = [
        f"address_block: {number}"
        for word in words
        for number in Search(store.connection, word).between(0, 2**40)
    ]
    return found + [
        one for one in everything(store.connection) if any(word in one.lower() for word in words)
    ]


def erase(store: Store, address: str, entries: int = 1) -> str:
    """All of it, as the service does it."""
    pseudonym = store.make(EraseAddress(address))
    while erasure.step(store.connection, entries):
        pass
    with store.reading() as reading:
        found = erasure.search(reading)
    erasure.finish(store.connection, found, NOW)
    store.writer.begin_anew()
    return pseudonym


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.add(LINES)
    assert len(naming(store, "ann.smith")) >= 8
    return store


def test_nothing_names_who_was_erased(store: Store) -> None:
    # What others keep: any table, also one that is added later.
    store.connection.execute("CREATE TABLE later (id INTEGER PRIMARY KEY, body BLOB, note TEXT)")
    body = bytearray(json.dumps({"recipients": [ANN]}).encode())
    store.connection.execute("INSERT INTO later VALUES (1, ?, ?)", (body, f"by {ANN}"))
    pseudonym = erase(store, "ann.smith@example.org")
    assert naming(store, "ann.smith", "ann smith") == []
    assert pseudonym.endswith("@example.org")
    assert naming(store, "bob@example.org")
    assert naming(
        store, "bounce+erased-", f"<{pseudonym}>: {pseudonym.partition('@')[0]} is unknown"
    )
    (one,) = erasure.erasures(store.connection)
    assert (one.entries_left, one.finished_at) == (0, NOW)
    assert one.rows >= 8
    deeds = store.connection.execute("SELECT action, target FROM audit").fetchall()
    assert deeds == [("erase address", pseudonym)]


def test_it_is_found_by_its_pseudonym_only(store: Store) -> None:
    pseudonym = erase(store, ANN)
    with store.reading() as reading:
        (row,) = queries.outcomes(reading, Filter(recipient=pseudonym))
        assert row.state == "hard-bounce"
        assert not queries.outcomes(reading, Filter(recipient=ANN))
        assert queries.outcomes(reading, Filter(recipient="Bob@example.org"))
        found = queries.messages(reading, Filter(message_id=row.message_id))
        assert [one.queue_id for one in found] == ["4jXPlN1VQlzJbSD"]


def test_figures_stay_as_they_were(store: Store) -> None:
    with store.reading() as reading:
        before = queries.totals(reading), [row.recipients for row in queries.states(reading)]
    erase(store, ANN)
    with store.reading() as reading:
        now = queries.totals(reading), [row.recipients for row in queries.states(reading)]
    assert now == before


@pytest.mark.parametrize("again", ["before the walk", "in its middle", "afterwards"])
def test_lines_that_come_later_are_known_and_name_nobody(store: Store, again: str) -> None:
    """The same lines again, and new ones of entries that are stored or remembered."""
    later = [
        *LINES,
        attempt("deferred", to=ANN, at="2026-03-10T11:00:01.500000+00:00", delay="3600",
                reason=f"said: 450 {ANN} busy", dsn="4.2.2"),
        attempt("deferred", queue_id=OTHER, to=ANN, at="2026-03-10T11:00:01.500000+00:00",
                delay="3600", reason="busy", dsn="4.2.2"),
    ]  # fmt: skip
    store.make(EraseAddress(ANN))
    if again == "in its middle":
        erasure.step(store.connection, 1)
    if again != "afterwards":
        store.add(later)
    while erasure.step(store.connection, 1):
        pass
    with store.reading() as reading:
        found = erasure.search(reading)
    erasure.finish(store.connection, found, NOW)
    store.writer.begin_anew()
    store.add(later)
    assert naming(store, "ann.smith", "ann smith") == []
    with store.reading() as reading:
        assert len(queries.attempts(reading, Filter())) == 7
        assert queries.totals(reading).outcomes == 6


def test_it_goes_on_after_a_restart(store: Store, tmp_path: Path) -> None:
    store.make(EraseAddress(ANN))
    erasure.step(store.connection, 1)
    store.close()
    again = Store(tmp_path)
    assert again.writer.removal.is_erasing
    again.add(LINES)
    while erasure.step(again.connection, 1):
        pass
    erasure.finish(again.connection, erasure.search(again.connection), NOW)
    assert naming(again, "ann.smith", "ann smith") == []
    third = Store(tmp_path)
    third.add(LINES)
    assert naming(third, "ann.smith", "ann smith") == []


def test_a_client_that_is_named_so_stays_one_client(store: Store) -> None:
    pseudonym = erase(store, ANN)
    store.add(LINES)
    with store.reading() as reading:
        assert pseudonym in queries.clients(reading)
        assert len([name for name in queries.clients(reading) if "erased" in name]) == 1


def test_names_that_come_afterwards_keep_their_numbers(store: Store) -> None:
    """Whatever writes rows numbers hosts and clients together, after an erasure too."""
    erase(store, ANN)
    text = "NOQUEUE: reject: RCPT from x[192.0.2.1]: 550 5.1.1 no; from=<a@b.c> to=<d@e.f>"
    reject = line(text, program="smtpd", host="mx8")
    pipeline = Pipeline(RULES).source()
    read = pipeline.read(
        [reject, line("4jXPlN1VQlzJbSZ: removed", program="qmgr", host="mx9")], NOW
    )
    store.add_told([*gather(read), *refused_told(pipeline.refused())])
    names = store.connection.execute(
        "SELECT name FROM reject r JOIN host h ON h.id = r.host_id UNION ALL"
        " SELECT name FROM entry e JOIN host h ON h.id = e.host_id WHERE queue_id LIKE '%SZ'"
    ).fetchall()
    assert names == [("mx8",), ("mx9",)]


def test_twice_and_two_people(store: Store) -> None:
    first = erase(store, ANN)
    assert erase(store, ANN.lower()) == first
    erase(store, "bob@example.org")
    assert naming(store, "ann.smith", "bob@") == []
    assert len(erasure.erasures(store.connection)) == 2


def test_the_stored_row_of_a_later_outcome_is_the_one_that_stays(store: Store) -> None:
    """Between the order and the walk both rows are there: that of the pseudonym is newer."""
    pseudonym = store.make(EraseAddress(ANN))
    store.add([attempt(to=ANN, at="2026-03-10T11:00:01.500000+00:00", delay="3600")])
    while erasure.step(store.connection, 10):
        pass
    with store.reading() as reading:
        (row,) = queries.outcomes(reading, Filter(recipient=pseudonym))
    assert (row.state, row.attempts) == ("finally-ok", 2)


@pytest.mark.parametrize("steps", [0, 1, 9])
def test_what_is_delivered_meanwhile_is_no_evidence(store: Store, steps: int) -> None:
    """Evidence against the address, under whichever name, goes with the failure that it is of."""
    bounced = "SELECT recipient, entry_id FROM bounced"
    assert len(store.connection.execute(bounced).fetchall()) == 1
    store.make(EraseAddress(ANN))
    for _ in range(steps):
        erasure.step(store.connection, 1)
    store.add([attempt(to=ANN, at="2026-03-10T11:00:01.500000+00:00", delay="3600")])
    while erasure.step(store.connection, 1):
        pass
    with store.reading() as reading:
        found = erasure.search(reading)
    erasure.finish(store.connection, found, NOW)
    assert store.connection.execute(bounced).fetchall() == []


def test_evidence_stays_under_the_pseudonym(store: Store) -> None:
    pseudonym = erase(store, ANN)
    rows = store.connection.execute("SELECT recipient, entry_id FROM bounced").fetchall()
    assert rows == [(pseudonym, 1)]


def test_what_is_no_address(store: Store) -> None:
    with pytest.raises(NotThereError, match="no address"):
        store.make(EraseAddress("ann"))
    assert erasure.erasures(store.connection) == []
