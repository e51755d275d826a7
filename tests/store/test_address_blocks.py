"""Whatever is asked for, the entries that have it are found, and no others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pda.store import address_blocks, address_runs
from pda.store.address_blocks import AddressBlocks, Named, Search
from pda.store.address_runs import Changed
from pda.store.database import Connection, open_reader
from tests.support import Store, attempt, message

ADDRESSES = [
    "ann@example.org",
    "Ann.Bo@Example.org",
    "bo@example.net",
    "bo@ann.example",
    '"a@b"@example.org',
    "root",
    "@odd@example.org",
    "line\nend@x.example",
    "\x00mark\x01@x\x01.example",
    "bücher@bücher.example",
    "ÄÖ@x.example",
]
TEXTS = st.text("abnor@.x\n\x00\x01ÄüB", max_size=4) | st.text(max_size=3)
LAST = 200_000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("blocks"))


def fill(connection: Connection, batches: list[list[Named]]) -> None:
    """As the writer does it, from nothing."""
    connection.execute("DELETE FROM address_block")
    blocks = AddressBlocks(connection)
    for batch in batches:
        put(connection, blocks, batch)


def put(connection: Connection, blocks: AddressBlocks, batch: list[Named]) -> None:
    """Writes what a batch names."""
    rows, replaced = blocks.rows(batch)
    connection.executemany(address_blocks.DROP, replaced)
    connection.executemany(address_blocks.PUT, rows)


def found(connection: Connection, text: str, low: int = 0, high: int = LAST) -> set[int]:
    return set(Search(connection, text).between(low, high))


def lower(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass").lower()


@given(
    batches=st.lists(
        st.lists(st.tuples(st.integers(1, LAST), st.sampled_from(ADDRESSES) | TEXTS), min_size=1)
    ),
    text=TEXTS | st.sampled_from([one[2:7] for one in ADDRESSES]),
    between=st.tuples(st.integers(0, LAST), st.integers(0, LAST)),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_none_is_missed(
    store: Store, batches: list[list[Named]], text: str, between: tuple[int, int]
) -> None:
    fill(store.connection, batches)
    low, high = sorted(between)
    every = {
        number
        for batch in batches
        for number, address in batch
        if lower(text) in lower(address) and low <= number <= high
    }
    # Among what is found is what stands so beside a mark, or with an `@` where there is none.
    assert every <= found(store.connection, text, low, high)


@pytest.mark.parametrize(
    ("text", "numbers"),
    {
        "ann": {1, 2, 4},
        "ANN@EX": {1},
        "n.bo@example.org": {2},
        "o@": {2, 3, 4},
        "bo@example.net": {3},
        "@ann": {4},
        "a@b": {5},
        '@b"@example': {5},
        "example": {1, 2, 3, 4, 5, 7, 8, 9, 10, 11},
        "org": {1, 2, 5, 7},
        "roo": {6},
        "bücher": {10},
        "ÄÖ": {11},
        "äö": set(),
        "nobody": set(),
        "ann@example.net": set(),
    }.items(),
)
def test_no_others_are_found(store: Store, text: str, numbers: set[int]) -> None:
    fill(store.connection, [list(enumerate(ADDRESSES, 1))])
    assert found(store.connection, text) == numbers


def test_what_comes_together_is_kept_together(store: Store) -> None:
    few = [[(number, f"r{number}@example.org")] for number in range(1, 1500)]
    late = [[(65_000, "late@example.org"), (70_000, "now@example.org")]]
    fill(store.connection, few + late)
    blocks = store.connection.execute(
        "SELECT first, last FROM address_block ORDER BY number"
    ).fetchall()
    small = [(number, number) for number in range(1025, 1500)]
    assert blocks == [(1, 1024), *small, (65_000, 65_000), (70_000, 70_000)]
    assert found(store.connection, "r77@") == {77}
    assert found(store.connection, "example.org", 1024, 1026) == {1024, 1025, 1026}


def tidied(connection: Connection, find: Callable[[Connection], Changed | None]) -> int:
    """As the service does it; how often there was something."""
    times = 0
    while changed := find(connection):
        address_runs.put(connection, changed)
        times += 1
    return times


def stored(connection: Connection, *entries: int) -> None:
    """Entries that are there, as far as blocks are concerned."""
    connection.executemany(
        "INSERT INTO entry (id, host_id) VALUES (?, 1)", [(number,) for number in entries]
    )


def test_entries_go(store: Store) -> None:
    fill(store.connection, [[(n, f"r{n % 9}@x.example"), (n, "s@y.example")] for n in range(1, 99)])
    stored(store.connection, 50, *range(95, 100))
    address_runs.leave(store.connection, [*range(1, 50), *range(51, 95)])
    assert found(store.connection, "r5@x") >= {59, 95}  # for whoever compares the entry itself
    assert tidied(store.connection, address_runs.find_left) == 1
    assert found(store.connection, "") == {50, 95, 96, 97, 98}
    assert found(store.connection, "r5@x") == {50, 95}
    store.connection.execute("DELETE FROM entry WHERE id < 99")
    address_runs.leave(store.connection, range(1, 99))
    store.connection.execute("DELETE FROM entry")
    assert store.connection.execute("SELECT * FROM address_block").fetchall() == []


def test_the_writer_keeps_them(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(message(deliveries=[attempt(to="Ann@Example.ORG")]))
    store.add([attempt(to="bo@bücher.example", at="2026-03-10T11:00:00+00:00", delay="3600")])
    reader = open_reader(store.path, store.key)
    for text in ("ann@example.org", "news@", "bo@bücher", "bo@xn--bcher-kva"):
        assert found(reader, text) == {1}, text
    before = reader.execute("SELECT first, last FROM address_block").fetchall()
    assert before == [(1, 1), (1, 1)]
    address_runs.recompute(store.connection)
    assert found(reader, "bo@bücher") == found(reader, "news@") == {1}


def test_blocks_are_put_together_where_nothing_comes_any_more(store: Store) -> None:
    batches = [[(1024 * n + 1 + k, f"r{k}@d{n}.example") for k in range(1024)] for n in range(33)]
    fill(store.connection, batches)
    stored(store.connection, 65000)
    assert not address_runs.find_together(store.connection)  # its piece is not at its end
    stored(store.connection, 65536)
    assert tidied(store.connection, address_runs.find_together) == 1
    store.connection.execute("DELETE FROM entry")
    blocks = store.connection.execute("SELECT DISTINCT number < 0, first, last FROM address_block")
    assert blocks.fetchall() == [(1, 1, 33 * 1024)]
    assert found(store.connection, "r77@") == {1024 * n + 78 for n in range(33)}
    assert found(store.connection, "r1023@d31") == {1024 * 32}
    assert found(store.connection, "d3.ex", 1, 3 * 1024 + 2) == {3 * 1024 + 1, 3 * 1024 + 2}
    blocks_again = AddressBlocks(store.connection)
    put(store.connection, blocks_again, [(66_000, "new@x.example")])
    assert found(store.connection, "new@x") == {66_000}
    assert found(store.connection, "r5@d32") == {32 * 1024 + 6}


def test_an_address_stands_once_for_a_stretch_of_pieces(store: Store) -> None:
    everybody = [f"r{k}@d{k % 50}.example" for k in range(5000)]
    fill(store.connection, [])
    for piece in range(5):
        named = [(65536 * piece + 10 * k, one) for k, one in enumerate(everybody, 1)]
        blocks = AddressBlocks(store.connection)
        for begin in range(0, len(named), 250):
            put(store.connection, blocks, named[begin : begin + 250])
            blocks.close()
    stored(store.connection, 5 * 65536)
    assert tidied(store.connection, address_runs.find_together) == 6  # five pieces, then four of it
    store.connection.execute("DELETE FROM entry")
    spans = store.connection.execute(
        "SELECT first, last FROM address_block ORDER BY last"
    ).fetchall()
    assert spans == [(10, 3 * 65536 + 50_000)] * 2 + [(4 * 65536 + 10, 4 * 65536 + 50_000)] * 2
    assert found(store.connection, "r4999@d49.", 0, 2**40) == {65536 * n + 50_000 for n in range(5)}
    assert found(store.connection, "r4@", 65536, 3 * 65536) == {65536 * n + 50 for n in (1, 2)}


def test_a_page_looks_through_a_block_once(store: Store) -> None:
    fill(store.connection, [[(number, "ann@example.org") for number in range(1, 2000)]])
    search = Search(store.connection, "ann")
    assert search.between(1900, 1950) == list(range(1900, 1951))
    store.connection.execute("UPDATE address_block SET addresses = x''")  # else an error
    assert search.between(1880, 1950) == list(range(1880, 1951))


@pytest.mark.parametrize("wide", [False, True])
def test_addresses_are_rewritten_with_the_last_entry_of_a_block(store: Store, wide: bool) -> None:
    batches = [[(n, "Ann@Example.org"), (n, "bo@x.example")] for n in range(1, 50)]
    fill(store.connection, batches)
    if wide:
        stored(store.connection, 65536)
        tidied(store.connection, address_runs.find_together)
        store.connection.execute("DELETE FROM entry")
    for between in ((1, 20), (21, 49)):
        address_runs.rewrite(
            store.connection, between, lambda one: one.replace("ann@", "erased@"), "ann"
        )
    assert found(store.connection, "ann") == set()
    every = set(range(1, 50))
    assert found(store.connection, "erased@example.org") == found(store.connection, "bo@") == every
