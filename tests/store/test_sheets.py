"""Rows that were made without the database: the same as those that the writer makes itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pda.maillog import memory
from pda.maillog.clients import ClientRules
from pda.maillog.correlate import gather
from pda.maillog.events import Event, Told
from pda.maillog.wholes import whole, worked_out
from pda.store import bounced
from pda.store.batch import Batch
from pda.store.database import Value
from pda.store.sheets import Sheet, Sheets
from tests.maillog.test_chain import (
    ANOTHER_HOST,
    FILTER,
    FIRST,
    SECOND,
    THROUGH_A_FILTER,
    entry,
    sent,
)
from tests.maillog.test_chain import told as told_of
from tests.maillog.test_correlate import LONG_LIFE
from tests.maillog.test_lives import THREE_LIVES
from tests.store.test_address_blocks import found as found_by_address
from tests.store.test_counting import counted, recounted
from tests.support import Store, attempt, events, message
from tools.simulator import Plan, generate

GENERATED = [
    text.encode() for text in generate(Plan(messages=60, days=3, lifetime_days=1, hosts=("a", "b")))
]
SHORT = [
    text.encode() for text in generate(Plan(messages=30, days=3, lifetime_days=1, short_ids=True))
]
POOL = [*LONG_LIFE, *THREE_LIVES, *THROUGH_A_FILTER, *ANOTHER_HOST, *GENERATED, *SHORT]


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_AWAKE", memory._AWAKE)


def made(told: Sequence[Told]) -> tuple[list[Told], Sheet | None]:
    """As the reading process does it, octets and all."""
    lives, others = worked_out(told, ClientRules())
    if not lives:
        return others, None
    octets = msgspec.msgpack.encode(Sheets().of(lives, [*map(whole, lives)]))
    return others, msgspec.msgpack.decode(octets, type=Sheet)


def add(store: Store, some: Sequence[Event]) -> None:
    """Events into the database by way of a sheet."""
    store.writer.commit(store.writer.prepare(*made(gather(some))))


def derived(store: Store) -> dict[str, set[tuple[Value, ...]]]:
    """What else follows from the rows, whatever numbers the entries have."""
    asked = {
        "terms": "SELECT DISTINCT e.queue_id, e.born, t.hash FROM term t JOIN entry e"
        " ON e.id = t.entry_id",
        "evidence": "SELECT e.queue_id, b.recipient, c.name, b.at, b.hard, v.category FROM bounced b"
        " JOIN entry e ON e.id = b.entry_id JOIN client c ON c.id = b.client_id"
        " JOIN verdict v ON v.id = b.verdict_id",
        "verdicts": "SELECT e.queue_id, o.recipient, o.address, v.category, v.rule FROM outcome o"
        " JOIN entry e ON e.id = o.entry_id LEFT JOIN verdict v ON v.id = o.verdict_id",
        "attempts": "SELECT e.queue_id, a.* FROM attempt_told a JOIN entry e ON e.id = a.entry_id",
    }
    found = {name: {*store.connection.execute(sql).fetchall()} for name, sql in asked.items()}
    found["attempts"] = {(row[0], *row[2:-1]) for row in found["attempts"]}
    return found


def check(store: Store) -> None:
    """What is kept with the rows is what they say."""
    assert counted(store.connection) == recounted(store)
    rows = "SELECT recipient, entry_id, client_id, at, hard, verdict_id FROM bounced ORDER BY 1, 2"
    kept = store.connection.execute(rows).fetchall()
    store.connection.execute("BEGIN")
    bounced.recompute(store.connection)
    assert store.connection.execute(rows).fetchall() == kept
    store.connection.execute("ROLLBACK")
    outside = """
        SELECT count(*) FROM entry e LEFT JOIN stretch s ON s.number = e.id >> 10
        WHERE s.number IS NULL OR e.born NOT BETWEEN s.first_born AND s.last_born OR s.last_at <
            (SELECT max(o.last_at) FROM outcome o WHERE o.entry_id = e.id)
    """
    assert store.connection.execute(outside).fetchall() == [(0,)]
    changes = store.connection.execute("SELECT count(DISTINCT change), count(*) FROM outcome")
    told = "SELECT change, entry_id FROM {} ORDER BY change"
    assert store.connection.execute(told.format("changed")).fetchall() == (
        store.connection.execute(told.format("outcome")).fetchall()
    )
    ((different, every),) = changes.fetchall()
    assert different == every
    for number, address in store.connection.execute(
        "SELECT entry_id, recipient FROM outcome WHERE recipient <> ''"
        " UNION SELECT id, sender FROM entry WHERE sender <> ''"
    ).fetchall():
        assert number in found_by_address(store.connection, str(address).lower())


@settings(
    max_examples=25, deadline=timedelta(seconds=20), phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    order=st.none() | st.randoms(use_true_random=False),
    parts=st.lists(st.tuples(st.integers(1, 400), st.booleans()), min_size=1, max_size=6),
    limit=st.sampled_from([3, 100_000]),
    awake=st.sampled_from([2, 4000]),
)
def test_whatever_comes_on_sheets_the_database_is_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    order: object,
    parts: list[tuple[int, bool]],
    limit: int,
    awake: int,
) -> None:
    """Parts of a log on sheets or as they are, in order or mixed, some of them twice."""
    memory._AWAKE = awake
    lines = [*POOL]
    if order is not None:
        shuffle: Callable[[list[bytes]], None] = order.shuffle  # type: ignore[attr-defined]
        shuffle(lines)
    expected = Store(tmp_path_factory.mktemp("expected"), limit)
    found = Store(tmp_path_factory.mktemp("found"), limit)
    for size, on_sheet in [*parts, (len(POOL), True)]:
        some = events(lines[:size])
        expected.add_events(some)
        add(found, some) if on_sheet else found.add_events(some)
        lines = lines[size:] + lines[: size // 3]
    assert found.everything() == expected.everything()
    assert derived(found) == derived(expected)
    check(found)
    expected.close()
    found.close()


def test_what_is_left_of_a_sheet_is_what_the_rest_would_have_made() -> None:
    told = [one for one in gather(events(GENERATED)) if made([one])[1]]
    _, sheet = made(told)
    assert sheet is not None
    assert sheet.without(()) is sheet
    for gone in ({0}, {len(told) - 1}, set(range(1, len(told), 2))):
        rest = sheet.without(gone)
        _, wanted = made([one for n, one in enumerate(told) if n not in gone])
        assert wanted is not None
        assert [one.key for one in rest.wholes] == [one.key for one in wanted.wholes]
        for table in ("entries", "attempts", "outcomes", "evidence", "terms", "named"):
            assert len(getattr(rest, table)[0]) == len(getattr(wanted, table)[0]), table
        assert rest.lines == wanted.lines
        assert rest.first_at == wanted.first_at
    assert sheet.without(range(len(told))).room == 0


def test_a_sheet_is_made_of_what_surely_is_one_new_message() -> None:
    others, sheet = made(gather(events([*message(), attempt(queue_id="4jXPlN1VQl00000")])))
    assert sheet is not None
    assert [one.key for one in sheet.wholes] == [("mx1", "4jXPlN1VQlzJbSD")]
    assert [one.queue_id for one in others] == ["4jXPlN1VQl00000"]
    others, sheet = made(gather(events(THREE_LIVES)))  # of one id
    assert (len(others), sheet) == (1, None)


@pytest.mark.parametrize("first", [True, False])
def test_entries_that_are_known_go_the_usual_way(tmp_path: Path, first: bool) -> None:
    """Nothing is written twice, whichever way it came first; also when it is forgotten."""
    store = Store(tmp_path)
    some = events(GENERATED)
    add(store, some) if first else store.add_events(some)
    before, new = store.everything(), store.writer.new_lines
    changes = store.connection.execute("SELECT max(change) FROM outcome").fetchall()
    for _ in range(2):
        add(store, some)
        store.add_events(some)
        assert store.everything() == before
        assert store.writer.new_lines == new
        assert store.connection.execute("SELECT max(change) FROM outcome").fetchall() == changes
        store.correlator.forget_all()
    check(store)
    store.close()


FILTERED = [
    entry(
        FIRST,
        [sent("a@x.example", FILTER, f"250 2.0.0 Ok: queued as {SECOND}")],
        client="outside[9.9.9.9]",
    ),
    entry(
        SECOND,
        [sent("a@x.example", "mx.x.example[192.0.2.1]:25", "250 Ok")],
        client="localhost[127.0.0.1]",
        second=2,
    ),
]
"""Neither names the other but in a reply."""


@pytest.mark.parametrize("parts", [FILTERED, FILTERED[::-1], [FILTERED[0] + FILTERED[1]]])
@pytest.mark.parametrize("forget", ["all", "but the name", "nothing"])
def test_what_goes_on_as_another_entry_is_no_news_by_itself(
    tmp_path: Path, parts: list[list[bytes]], forget: str
) -> None:
    """Also where the other one came before, and is not remembered any more."""
    store = Store(tmp_path)
    for some in parts:
        others, sheet = made(gather(events(some)))
        assert sheet is not None
        assert not others
        add(store, events(some))
        if forget == "all":
            store.correlator.forget_all()
        elif forget == "but the name":
            store.correlator.missing([])
    assert told_of(store) == [(SECOND, "a@x.example", "delivered", "shop", f"mx1/{FIRST}")]
    check(store)
    store.close()


def test_a_sheet_that_the_disk_takes_back_is_written_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    half = len(GENERATED) // 2
    batches: list[Batch] = []
    for some in (GENERATED[:half], GENERATED[half:]):
        store.writer.restore(*batches)
        batches.append(store.writer.prepare(*made(gather(events(some)))))
        store.writer.insert(batches[-1])
        store.connection.execute("ROLLBACK")
    store.writer.commit(*batches)
    expected = Store(tmp_path / "expected")
    expected.add(GENERATED)
    assert store.everything() == expected.everything()
    check(store)
    for one in (store, expected):
        one.close()
