"""Whatever is written, removed or begun anew: no Message-ID that is stored is held to be new."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pda.maillog.clients import ClientRules
from pda.maillog.correlate import Correlator
from pda.store import message_ids, pieces
from pda.store.database import Connection
from pda.store.erasure import EraseAddress, finish, search, step
from pda.store.message_ids import MessageIds, Span
from pda.store.writer import Writer
from tests.support import NOW, Store, message

NAMES = ["<1@a>", "<2@a>", "<3@a>", "<4@b>"]
STEPS = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 6), st.sampled_from(["", *NAMES])),
    st.tuples(st.just("change"), st.integers(1, 60), st.sampled_from(["", *NAMES])),
    st.tuples(st.just("remove"), st.integers(1, 60), st.just("")),
    st.tuples(st.just("restart"), st.just(0), st.just("")),
    st.tuples(st.just("ask"), st.just(0), st.just("")),
)


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    store = Store(tmp_path_factory.mktemp("ids"))
    store.connection.execute("PRAGMA synchronous = OFF")  # there are many small transactions
    yield store.connection
    store.close()


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of eight entries, of which few are remembered, and read in no time."""
    monkeypatch.setattr(message_ids, "WINDOW_BITS", 3)
    monkeypatch.setattr(message_ids, "MOST_WINDOWS", 3)
    monkeypatch.setattr(message_ids, "_WORTH_READING", 6)
    monkeypatch.setattr(message_ids, "_AT_A_TIME", 5)


def write(connection: Connection, number: int, message_id: str) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO entry (id, host_id, queue_id, born, client_id, message_id, size,"
        " nrcpt, expired_at, removed_at, facts) VALUES (?, 0, '', 0, 0, ?, 0, 0, 0, 0, '')",
        (number, message_id),
    )


def stored(connection: Connection, message_id: str) -> list[int]:
    rows = connection.execute("SELECT id FROM entry WHERE message_id = ?", (message_id,))
    return [int(str(number)) for (number,) in rows.fetchall()]


def last(connection: Connection) -> int:
    return int(str(connection.execute("SELECT coalesce(max(id), 0) FROM entry").fetchall()[0][0]))


def check(connection: Connection, known: MessageIds) -> None:
    found = [*known.where(NAMES)]
    assert [span for span, _ in found] == sorted(span for span, _ in found)
    for name in NAMES:
        spans = [span for span, some in found if name in some]
        for one in stored(connection, name):
            assert any(span.first <= one <= span.last for span in spans)


@pytest.mark.usefixtures("_small")
@given(steps=st.lists(STEPS, min_size=20, max_size=60))
@settings(max_examples=200, deadline=None)
def test_what_is_stored_is_never_left_out(
    connection: Connection, steps: list[tuple[str, int, str]]
) -> None:
    connection.execute("DELETE FROM entry")
    known = MessageIds(connection, 0)
    for what, number, message_id in steps:
        if what in {"append", "change"}:
            entry = last(connection) + number if what == "append" else number
            known.add([(entry, message_id)])
            write(connection, entry, message_id)
        elif what == "remove":  # never the last one
            connection.execute(
                "DELETE FROM entry WHERE id = ? AND id < ?", (number, last(connection))
            )
            known.forget_gone()
        elif what == "restart":
            known = MessageIds(connection, last(connection))
        else:
            check(connection, known)
        assert len(known._windows) <= message_ids.MOST_WINDOWS


def test_hardly_any_other_is_held_to_be_stored(connection: Connection) -> None:
    known = MessageIds(connection, 0)
    many = 1 << message_ids.WINDOW_BITS
    known.add((number, f"<{number}@shop>") for number in range(many))
    some = {f"<{number}@shop>" for number in range(many, many + 20_000)}
    [(span, found)] = known.where(some)
    assert span == (1, many - 1)
    assert len(found) < 100  # of which 28 are to be expected


def test_what_was_stored_before_is_read_a_few_at_a_time(connection: Connection) -> None:
    connection.execute("DELETE FROM entry")
    for number in range(1, 20):
        write(connection, number, f"<{number}@shop>")
    known = MessageIds(connection, 19)
    everywhere = Span(0, 19)
    names = {f"<{number}@new>" for number in range(message_ids._WORTH_READING // 2)}
    assert [*known.where(names)] == [(everywhere, [*names])]
    assert [*known.where(names)] == []
    assert [some for _, some in known.where(names | {"<7@shop>"})] == [["<7@shop>"]]


def test_what_is_of_entries_that_have_gone_is_forgotten(connection: Connection) -> None:
    connection.execute("DELETE FROM entry")
    known, window = MessageIds(connection, 0), 1 << message_ids.WINDOW_BITS
    for number in (1, window + 1, 2 * window + 1):
        known.add([(number, "<1@shop>")])
        write(connection, number, "<1@shop>")
    connection.execute("DELETE FROM entry WHERE id = 1")
    known.forget_gone()
    assert [span.first for span, _ in known.where({"<1@shop>"})] == [window, 2 * window]
    connection.execute("DELETE FROM entry")
    known.forget_gone()
    known.add([(3 * window, "<1@shop>")])
    assert [span.last for span, _ in known.where({"<1@shop>"})][-1] == 4 * window - 1


def of_id(store: Store, message_id: str) -> list[tuple[str, str]]:
    return store.writer._lives.of_messages({message_id}).get(message_id, [])


def test_the_writer_finds_what_it_wrote_and_what_others_did(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(message(message_id="<1@shop>"))
    store.add([*message("4jXPlN1VQl00000", message_id="<1@shop>")])
    store.writer.begin_anew()
    store.add([*message("4jXPlN1VQl00001", message_id="<1@shop>")])
    ids = ["4jXPlN1VQlzJbSD", "4jXPlN1VQl00000", "4jXPlN1VQl00001"]
    for _ in range(2):
        assert of_id(store, "<1@shop>") == [("mx1", one) for one in ids]  # in their order
        assert of_id(store, "<2@shop>") == []
        while pieces.merge(store.connection):
            pass
        store.writer = Writer(store.connection, Correlator(ClientRules(), 100))
    store.close()


@pytest.mark.usefixtures("_small")
def test_a_message_id_that_is_erased_is_found_by_its_pseudonym_at_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(message(message_id="<anna@shop.example>"))
    store.make(EraseAddress("anna@shop.example"))
    named = store.writer.removal.pseudonyms.text("<anna@shop.example>")
    for _ in range(20):  # so often that it would be read, and remembered
        assert of_id(store, "<anna@shop.example>") == [("mx1", "4jXPlN1VQlzJbSD")]
    assert step(store.connection, 100)
    assert of_id(store, named) == [("mx1", "4jXPlN1VQlzJbSD")]
    finish(store.connection, search(store.connection), NOW)
    store.writer.begin_anew()
    assert of_id(store, named) == [("mx1", "4jXPlN1VQlzJbSD")]
    assert of_id(store, "<anna@shop.example>") == []
    store.close()
