"""What tidies up takes a few megabytes at a time, however many entries there are."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pda.store import address_runs, retention, summing
from pda.store.database import transaction
from tests.store.test_address_blocks import fill
from tests.support import Store

BLOCKS, ADDRESSES = 64, 1024
LAST = BLOCKS * ADDRESSES
MOST = 6_000_000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A piece of entries that hardly changes any more, each with an address of its own."""
    store = Store(tmp_path_factory.mktemp("tidying"))
    every = [(n, f"recipient{n * 7919 % LAST}@d{n % 900}.example") for n in range(1, LAST + 1)]
    fill(store.connection, [every[at : at + ADDRESSES] for at in range(0, LAST, ADDRESSES)])
    with transaction(store.connection):
        store.connection.execute("INSERT INTO client (id, name) VALUES (1, 'shop')")
        store.connection.executemany(
            "INSERT INTO entry (id, host_id, client_id, born) VALUES (?, 1, 1, ?)",
            [(number, number) for number in range(1, LAST + 2)],
        )
    yield store
    store.close()


@contextmanager
def within(most: int) -> Iterator[None]:
    """What is done takes no more memory, octets."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] <= most
    finally:
        tracemalloc.stop()


def test_sums_are_made(store: Store) -> None:
    addresses = 8000
    with transaction(store.connection):
        store.connection.executemany(
            "INSERT INTO outcome VALUES (?, ?, NULL, 1, 0, 0, 1, NULL, ?)",
            [(n, f"recipient{n % addresses}@shop.example", n) for n in range(1, LAST)],
        )
    with within(MOST):
        made = summing.find_recent(store.connection, (0, LAST - 1))
    assert len(made.sums) == addresses


def test_blocks_are_put_together(store: Store) -> None:
    with within(MOST):
        changed = address_runs.find_together(store.connection)
    assert changed is not None
    assert len(changed.gone) == BLOCKS
    address_runs.put(store.connection, changed)


def test_what_has_gone_is_taken_out_of_blocks(store: Store) -> None:
    with transaction(store.connection):
        store.connection.execute("DELETE FROM entry WHERE id % 2 AND id < ?", (LAST,))
        address_runs.leave(store.connection, range(1, LAST, 2))
    with within(MOST):
        changed = address_runs.find_left(store.connection)
    assert changed is not None
    assert len(changed.put) == len(changed.gone) > 0


def test_what_is_too_old_is_looked_for(store: Store) -> None:
    with within(MOST):
        born = retention.find_older(store.connection, LAST)
    assert len(born.numbers) == LAST // 2 - 1
    assert list(born.numbers) == sorted(born.numbers)
