"""Texts under numbers: some of them remembered, and none in two ways."""

from __future__ import annotations

from pathlib import Path

import pytest

from pda.store import names
from pda.store.batch import Batch, put_names
from pda.store.names import Texts
from tests.support import Store


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_REMEMBERED", 3)


def test_what_is_used_again_and_again_is_remembered() -> None:
    texts, new = Texts("reason", None), Batch()
    for n in range(50):
        assert texts.number("often", new) == 1
        assert texts.number(f"once {n}", new) == n + 2
    assert len(new.names) == 51
    assert texts.number("once 49", new) == 51
    assert texts.number("once 0", new) == 52  # once more, under another number


def test_few_are_remembered() -> None:
    texts, new = Texts("reason", None), Batch()
    for n in range(50):
        texts.number(f"once {n}", new)
        assert len(texts._numbers) + len(texts._before) <= 6


def test_numbers_go_on_where_those_that_are_stored_end(tmp_path: Path) -> None:
    store, first, then = Store(tmp_path), Batch(), Batch()
    texts = Texts("reason", store.connection)
    for text in ("often", "a", "b", "c", "d", "e", "f", "often"):
        texts.number(text, first)
    put_names(store.connection, first.names)
    again = Texts("reason", store.connection)
    assert [again.number(text, then) for text in ("f", "often", "a")] == [7, 8, 9]
    assert then.names == [("reason", (9, "a"))]
    assert again.forget() == 9
    assert again.number("f", then) == 10
    store.close()
