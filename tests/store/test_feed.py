"""The feed: whoever reads on from its cursor ends with what the store has."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pda.maillog.events import State
from pda.store import feed
from pda.store.database import Connection, Cursor, Value
from tests.maillog.test_chain import THROUGH_A_FILTER
from tests.maillog.test_correlate import LONG_LIFE
from tests.maillog.test_lives import THREE_LIVES
from tests.store.test_rejudge import OTHERS, failing, step
from tests.support import Store, attempt, line, message

LINES = [*LONG_LIFE, *THREE_LIVES, *THROUGH_A_FILTER, *failing("4jXPlN1VQlzJbSF")]


class Reader:
    """Somebody who keeps what the feed says."""

    def __init__(self, client: str | None = None, *, final: bool = False) -> None:
        self.client, self.final = client, final
        self.cursor = 0
        self.known: dict[str, tuple[str, str]] = {}
        self.told: list[feed.Change] = []

    def read(self, store: Store, limit: int = 3) -> None:
        """All that there is."""
        with store.reading() as connection:
            more = True
            while more:
                found = feed.changes(connection, self.cursor, limit, self.client, final=self.final)
                self.take(found)
                more = found.more

    def take(self, found: feed.Changes) -> None:
        numbers = [self.cursor, *(change.change for change in found.changes), found.cursor]
        assert numbers == sorted(numbers)
        for change in found.changes:
            self.told.append(change)
            if change.state == feed.WITHDRAWN:
                self.known.pop(change.key, None)
            else:
                self.known[change.key] = change.client_id, change.state
        self.cursor = found.cursor


def stored(
    store: Store, client: str | None = None, *, final: bool = False
) -> dict[str, tuple[object, str]]:
    """What a reader should have."""
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT o.entry_id, o.recipient, c.name, o.state FROM outcome o"
            " JOIN entry e ON e.id = o.entry_id JOIN client c ON c.id = e.client_id"
        ).fetchall()
    return {
        f"{number!s}:{recipient!s}": (name, State(int(str(state))).label)
        for number, recipient, name, state in rows
        if state != State.HANDED_ON
        and client in (None, name)
        and (State(int(str(state))).is_final or not final)
    }


READERS = [(None, False), (None, True), ("shop", False), ("shop", True), ("c8", False), ("", True)]


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.permutations(LINES), st.lists(st.integers(0, len(LINES)), max_size=8), st.data())
def test_every_reader_ends_with_what_is_stored(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[bytes],
    cuts: list[int],
    data: st.DataObject,
) -> None:
    """Any order, read at any moment, with restarts that forget everything, and other rules."""
    folder = tmp_path_factory.mktemp("feed")
    readers = [Reader(client, final=final) for client, final in READERS]
    bounds = [0, *sorted(cuts), len(lines)]
    store = Store(folder)
    for begin, end in pairwise(bounds):
        store.add(lines[begin:end])
        for reader in data.draw(st.lists(st.sampled_from(readers), unique=True)):
            reader.read(store)
        if data.draw(st.booleans()):
            store.close()
            store = Store(folder)
    while step(store, OTHERS, "others"):
        data.draw(st.sampled_from(readers)).read(store)
    for reader in readers:
        reader.read(store)
        assert reader.known == stored(store, reader.client, final=reader.final)
    store.close()


def test_nothing_new_is_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    reader = Reader()
    store.add(LINES)
    reader.read(store)
    told = len(reader.told)
    store.correlator.forget_all()
    store.add(random.Random(1).sample(LINES, len(LINES)))
    reader.read(store)
    assert len(reader.told) == told


def test_what_was_told_of_a_filter_hop_is_withdrawn_only_if_it_was_read(tmp_path: Path) -> None:
    """The first entry is handed on once the second one is known."""
    second = next(n for n, one in enumerate(THROUGH_A_FILTER) if b"orig_queue_id" in one)
    early, late = Reader(final=True), Reader(final=True)
    (tmp_path / "early").mkdir()
    (tmp_path / "late").mkdir()
    store = Store(tmp_path / "early")
    store.add(THROUGH_A_FILTER[:second])
    early.read(store)
    store.add(THROUGH_A_FILTER[second:])
    early.read(store)
    assert [change.state for change in early.told].count(feed.WITHDRAWN) == 2
    assert early.known == stored(store, final=True)
    at_once = Store(tmp_path / "late")
    at_once.add(THROUGH_A_FILTER)
    late.read(at_once)
    assert [change.state for change in late.told] == ["delivered", "hard-bounce"]


def test_a_late_client_sees_what_became_of_its_mail_before(tmp_path: Path) -> None:
    store = Store(tmp_path)
    everybody, shop = Reader(), Reader("shop")
    store.add([attempt()])
    shop.read(store)
    everybody.read(store)
    assert not shop.told
    store.add(message())
    shop.read(store)
    everybody.read(store)
    assert list(shop.known.values()) == [("shop", "delivered")]
    assert [(change.client_id, change.state) for change in everybody.told] == [
        ("", "delivered"), ("", "withdrawn"), ("shop", "delivered"),
    ]  # fmt: skip


def test_a_bounce_says_why(tmp_path: Path) -> None:
    store, reader = Store(tmp_path), Reader()
    reply = "host mx[192.0.2.1] said: 550 5.1.1 User unknown"
    store.add(message(deliveries=[attempt("bounced", reason=reply, dsn="5.1.1")]))
    reader.read(store)
    (change,) = reader.told
    assert (change.category, change.dsn, change.reply, change.final) == (
        "invalid-recipient", "5.1.1", reply, True,
    )  # fmt: skip


def test_a_question_looks_at_so_many_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_MOST_NUMBERS", 2)
    store, reader = Store(tmp_path), Reader("shop")
    others = [message(f"4jXPlN1VQlzJb{n:02}", message_id=f"<98494.{n}.1@other>",
                      deliveries=[attempt(queue_id=f"4jXPlN1VQlzJb{n:02}")]) for n in range(7)]  # fmt: skip
    store.add([each for lines in others for each in lines])
    store.add(message(deliveries=[attempt()]))
    with store.reading() as connection:
        first = feed.changes(connection, 0, 100, "shop")
    assert (first.changes, first.cursor, first.more) == ([], 2, True)
    reader.read(store)
    assert list(reader.known.values()) == [("shop", "delivered")]


def test_numbers_left_behind_cost_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "_MOST_NUMBERS", 2)
    store = Store(tmp_path)
    store.add([line("4jXPlN1VQlzJbSD: removed", program="qmgr")])
    for n in range(10):
        store.add([attempt("deferred", delay=f"{n}.5", dsn="4.0.0", reason="later")])
    with store.reading() as connection:
        found = feed.changes(connection, 0, 100, None)
    assert [change.attempts for change in found.changes] == [10]
    assert not found.more


def test_a_cursor_of_another_database(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.reading() as connection, pytest.raises(feed.UnknownCursorError):
        feed.changes(connection, 1, 100, None)


class Explaining:
    """A connection that tells how each question is answered."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.plans: list[str] = []

    def execute(self, sql: str, values: Sequence[Value] = ()) -> Cursor:
        if sql.lstrip().startswith("SELECT o.change"):
            rows = self.connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
            self.plans.append("\n".join(str(row[3]) for row in rows))
        return self.connection.execute(sql, values)


@pytest.mark.parametrize("client", [None, "shop"])
def test_a_question_goes_by_the_number_of_the_change(tmp_path: Path, client: str | None) -> None:
    """Never by all that a client has."""
    store = Store(tmp_path)
    store.add(LINES)
    with store.reading() as connection:
        explaining = Explaining(connection)
        feed.changes(explaining, 0, 10, client, final=True)  # type: ignore[arg-type]
    (plan,) = explaining.plans
    assert plan.startswith("SEARCH n USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)")
    assert "SCAN" not in plan
    assert "entry_client" not in plan
