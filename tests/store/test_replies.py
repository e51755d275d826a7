"""Replies come out of a row as they went in, and the usual ones take less room."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pda.store import packing, queries, replies
from pda.store.erasure import EraseAddress, erasures, finish, search, step
from pda.store.queries import Filter
from tests.support import LONG_ID, NOW, Store, attempt, message

USUAL = "250 2.0.0 OK  1756724846 b44a7defda-b44a7defdasi811097.811097 - gsmtp"


@given(reply=st.text(st.characters()) | st.text("250 OK.-\0ü", max_size=400))
def test_they_come_out_as_they_went_in(reply: str) -> None:
    packed = replies.PackedReplies().pack(reply)
    assert replies.text_of(packed) == reply
    assert len(packed if isinstance(packed, bytearray) else packed.encode("utf-8", "replace")) <= (
        len(reply.encode("utf-8", "surrogatepass"))
    )


def test_a_usual_one_takes_two_thirds() -> None:
    assert len(replies.PackedReplies().pack(USUAL)) <= 0.67 * len(USUAL)


@pytest.mark.parametrize("reply", [USUAL, "250 ok", ""])
def test_a_list_and_a_second_reading_know_it(tmp_path: Path, reply: str) -> None:
    store = Store(tmp_path)
    lines = message(deliveries=[attempt(reason=reply)])
    for _ in range(2):
        store.add(lines)
        with store.reading() as reading:
            assert [one.reason for one in queries.attempts(reading, Filter())] == [reply]
        store.writer.begin_anew()
    store.close()


def test_an_address_is_erased_there(tmp_path: Path) -> None:
    """Also where it stands in the reply to another one alone, and in its own without domain."""
    store = Store(tmp_path)
    deliveries = [
        attempt(reason="250 2.0.0 Ok: queued as 4ABC for ann.smith@example.org and all the others"),
        attempt(to="ann.smith@example.org", reason="250 2.0.0 Ok: saved in the box of ann.smith"),
    ]
    store.add(message(deliveries=deliveries))
    packed = "SELECT count(*) FROM attempt WHERE typeof(reply) = 'blob'"
    assert store.connection.execute(packed).fetchall() == [(2,)]
    pseudonym = store.make(EraseAddress("ann.smith@example.org"))
    while step(store.connection, 100):
        pass
    finish(store.connection, search(store.connection), NOW)
    with store.reading() as reading:
        rows = queries.attempts(reading, Filter(queue_id=LONG_ID))
        assert sorted(one.recipient for one in rows) == sorted(["rcpt@example.org", pseudonym])
        assert not [one.reason for one in rows if "ann.smith" in one.reason]
        assert [one for one in rows if pseudonym in one.reason] != []
        (erasure,) = erasures(reading)
    assert erasure.rows >= 2
    store.close()


def test_a_dictionary_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many use it: each story of a message does."""
    packing.Packing("replies-1")

    def files(_: str) -> Path:
        raise AssertionError

    monkeypatch.setattr(packing, "files", files)
    assert packing.Packing("replies-1").pack(USUAL.encode())
