"""Whatever is asked for, the entries that have it are found, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pda.store import address_blocks
from pda.store.address_blocks import AddressBlocks, Named
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
    address_blocks.prepare(connection)
    rows = connection.execute(address_blocks.FIND, (low, high, text, text)).fetchall()
    return {int(str(number)) for (number,) in rows}


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


def test_entries_go(store: Store) -> None:
    fill(store.connection, [[(n, f"r{n % 9}@x.example"), (n, "s@y.example")] for n in range(1, 99)])
    store.connection.execute("INSERT INTO entry (id, host_id) VALUES (50, 1)")
    address_blocks.drop(store.connection, range(1, 95))
    store.connection.execute("DELETE FROM entry")
    assert found(store.connection, "") == {95, 96, 97, 98}
    assert found(store.connection, "r5@x") == {95}
    address_blocks.drop(store.connection, range(95, 99))
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
    address_blocks.recompute(store.connection)
    assert found(reader, "bo@bücher") == found(reader, "news@") == {1}


def test_blocks_are_put_together_where_nothing_comes_any_more(store: Store) -> None:
    batches = [[(1024 * n + 1 + k, f"r{k}@d{n}.example") for k in range(1024)] for n in range(33)]
    fill(store.connection, batches)
    store.connection.execute("INSERT INTO entry (id, host_id) VALUES (65000, 1)")
    assert not address_blocks.pack(store.connection)  # its piece is not at its end
    store.connection.execute("INSERT INTO entry (id, host_id) VALUES (65536, 1)")
    times = 0
    while address_blocks.pack(store.connection):
        times += 1
    store.connection.execute("DELETE FROM entry")
    sizes = store.connection.execute(
        "SELECT count(*), sum(number < 0) FROM address_block"
    ).fetchall()
    assert (times, sizes) == (2, [(9, 8)])  # one is left that has no others beside it
    assert found(store.connection, "r77@") == {1024 * n + 78 for n in range(33)}
    assert found(store.connection, "r1023@d31") == {1024 * 32}
    assert found(store.connection, "d3.ex", 1, 3 * 1024 + 2) == {3 * 1024 + 1, 3 * 1024 + 2}
    blocks = AddressBlocks(store.connection)
    put(store.connection, blocks, [(66_000, "new@x.example")])
    assert found(store.connection, "new@x") == {66_000}
    assert found(store.connection, "r5@d32") == {32 * 1024 + 6}
