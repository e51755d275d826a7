"""Whatever is summed up, whenever, and whatever changes: what is known is what the rows say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pda.maillog import bounce
from pda.maillog.events import State
from pda.store import address_sums, addresses, erasure, pieces, summing
from pda.store.address_sums import address_of
from pda.store.addresses import Known
from pda.store.database import Connection, transaction
from pda.store.erasure import EraseAddress
from pda.store.summing import Made
from pda.store.terms import term
from tests.store.test_rejudge import step
from tests.support import NOW, Store, attempt, message

ANN, BOB = "ann@example.org", "bob@example.org"
WHO = [ANN, BOB]
CLIENTS = [None, "one", "two", "none"]
LAST = 40 << pieces.PIECE_BITS
_PLAIN = f"""
SELECT count(*), coalesce(sum(attempts), 0), sum(state IN (1, 2)), sum(state = 4),
    sum(state IN (3, 6)), min(first_at), max(last_at), max(last_at) FILTER (WHERE state IN (1, 2))
FROM outcome o JOIN entry e ON e.id = o.entry_id WHERE recipient = ?1
    AND state <> {State.HANDED_ON:d}
    AND (?2 IS NULL OR e.client_id = (SELECT id FROM client WHERE name = ?2))
"""
_LAST = f"""
SELECT change FROM outcome o JOIN entry e ON e.id = o.entry_id WHERE recipient = ?1
    AND state <> {State.HANDED_ON:d} AND (?3 IS NULL OR state = ?3)
    AND (?2 IS NULL OR e.client_id = (SELECT id FROM client WHERE name = ?2))
ORDER BY last_at DESC, change DESC LIMIT 1
"""


def plain(connection: Connection, recipient: str, client: str | None) -> Known | None:
    """What the rows say."""
    (count, *sums) = connection.execute(_PLAIN, (recipient, client)).fetchall()[0]
    if not count:
        return None
    last, hard = (
        connection.execute(_LAST, (recipient, client, state)).fetchone() for state in (None, 4)
    )
    assert last
    make: Callable[..., Known] = Known
    return make(count, count, *sums, last[0], hard[0] if hard else None)


def check(connection: Connection) -> None:
    for client in CLIENTS:
        known = addresses.of_recipients(connection, WHO, client)
        for one in WHO:
            assert known.get(one) == plain(connection, one, client)


def rests(connection: Connection, recipient: str = ANN) -> int:
    """How many of the outcomes are read still."""
    left = address_sums.read(connection, [address_of(recipient)]).rests
    return sum(
        len(connection.execute(
            "SELECT 1 FROM outcome WHERE recipient = ? AND entry_id BETWEEN ? AND ?",
            (recipient, one.first, one.last),
        ).fetchall())
        for one in left
    )  # fmt: skip


def write(connection: Connection, made: Made | None) -> bool:
    for part in summing.parts(made, 2) if made else ():
        summing.put(connection, part)
    return made is not None


def sum_up(connection: Connection, margin: int = 0) -> None:
    """All that can be."""
    while write(connection, summing.find_late(connection)):
        check(connection)
    if window := summing.open_spans(connection, margin):
        write(connection, summing.find_recent(connection, window))
    while write(connection, summing.find_wide(connection)):
        check(connection)


ENTRIES = st.builds(
    lambda base, more: base + more,
    st.sampled_from([1, 1024, 4096, 5 << 10, 1 << 18, (1 << 18) + 70_000, 3 << 18, LAST - 900]),
    st.integers(0, 12),
)
OUTCOMES = st.tuples(
    ENTRIES,
    st.sampled_from(WHO),
    st.sampled_from([State.PENDING, *State]),
    st.integers(1, 4),
    st.integers(1, 3),
)
Written = tuple[int, str, State, int, int]


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Connection:
    connection = Store(tmp_path_factory.mktemp("summing")).connection
    connection.execute("PRAGMA synchronous = OFF")  # there are many small transactions
    connection.execute("INSERT INTO client VALUES (1, 'one'), (2, 'two'), (3, 'none')")
    return connection


def clear(connection: Connection) -> None:
    for table in ("term", "term_piece", "entry", "outcome", "meta"):
        connection.execute(f"DELETE FROM {table}")
    for table in ("address_sum", "address_late", "address_span"):
        connection.execute(f"DELETE FROM {table}")


class Rows:
    """Writes rows as the writer does."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._change = 0
        self.put((LAST, "else@example.org", State.PENDING, 1, 1))

    def put(self, one: Written) -> None:
        entry, recipient, state, at, attempts = one
        self._change += 1
        with transaction(self._connection):
            address_sums.note(self._connection, [(entry, recipient)])
            self._connection.execute(
                "INSERT OR IGNORE INTO entry (id, host_id, queue_id, born, client_id, message_id,"
                " size, nrcpt, expired_at, removed_at, facts)"
                " VALUES (?, 0, '', 0, ?, '', 0, 0, 0, 0, '')",
                (entry, 1 + entry % 2),
            )
            self._connection.execute(
                "INSERT OR REPLACE INTO outcome VALUES (?, ?, NULL, ?, ?, ?, ?, NULL, ?)",
                (entry, recipient, int(state), at, at + attempts, attempts, self._change),
            )
            pieces.put(self._connection, [(term("recipient", recipient), entry)])

    def remove(self, one: Written) -> None:
        entry, recipient, *_ = one
        with transaction(self._connection):
            address_sums.note(self._connection, [(entry, recipient)])
            self._connection.execute(
                "DELETE FROM outcome WHERE entry_id = ? AND recipient = ?", (entry, recipient)
            )
            pieces.remove(self._connection, [(term("recipient", recipient), entry)])


STEPS = st.sampled_from(["sum up", "merge", "late", "put", "between", "remove"])


@settings(max_examples=60, deadline=None)
@given(st.lists(OUTCOMES, min_size=20, max_size=60), st.lists(st.tuples(STEPS, OUTCOMES)))
def test_at_any_moment(
    connection: Connection, outcomes: list[Written], steps: list[tuple[str, Written]]
) -> None:
    clear(connection)
    rows = Rows(connection)
    for one in outcomes:
        rows.put(one)
    while pieces.merge(connection):
        pass
    sum_up(connection)
    for what, one in steps:
        if what == "sum up":
            sum_up(connection)
        elif what == "merge":
            pieces.merge(connection)
        elif what == "late":
            write(connection, summing.find_late(connection))
        elif what == "between":  # what is found, and what is written
            found = summing.find_late(connection)
            rows.put(one)
            write(connection, found)
        else:
            (rows.put if what == "put" else rows.remove)(one)
        check(connection)


def often(connection: Connection, entries: list[int]) -> Rows:
    clear(connection)
    rows = Rows(connection)
    for number, entry in enumerate(entries):
        rows.put((entry, ANN, State(1 + number % 4), number, 1))
    while pieces.merge(connection):
        pass
    return rows


NARROW = [*range(LAST - 5000, LAST, 10)]
WIDE = [*range(5, LAST, 20_021)]


@pytest.mark.parametrize(("entries", "most"), [(NARROW, 110), (WIDE, 8)])
def test_few_are_read(connection: Connection, entries: list[int], most: int) -> None:
    often(connection, entries)
    assert rests(connection) == len(entries)
    sum_up(connection)
    check(connection)
    assert rests(connection) <= most


def test_what_changed_is_summed_up_again(connection: Connection) -> None:
    rows = often(connection, WIDE)
    sum_up(connection)
    rows.put((WIDE[3], ANN, State.HARD_BOUNCE, 99, 7))
    check(connection)
    assert rests(connection) > 8
    sum_up(connection)
    check(connection)
    assert rests(connection) <= 8
    assert connection.execute("SELECT count(*) FROM address_late").fetchall() == [(0,)]


def test_what_is_removed_is_not_summed_up_again(connection: Connection) -> None:
    rows = often(connection, WIDE)
    sum_up(connection)
    for entry in WIDE:
        rows.remove((entry, ANN, State.DELIVERED, 1, 1))
    sum_up(connection)
    check(connection)
    assert connection.execute("SELECT count(*) FROM address_sum").fetchall() == [(0,)]


def test_where_too_much_has_changed_all_is_begun_anew(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = often(connection, WIDE)
    sum_up(connection)
    monkeypatch.setattr(summing, "_TOO_LATE", 3)
    for entry in WIDE[:2]:
        rows.put((entry, ANN, State.HARD_BOUNCE, 99, 7))
    assert not summing.begin_anew(connection)
    rows.put((WIDE[3], ANN, State.HARD_BOUNCE, 99, 7))
    assert summing.begin_anew(connection)
    check(connection)
    assert rests(connection) == len(WIDE)
    sum_up(connection)
    check(connection)
    assert rests(connection) <= 8


def test_a_domain_is_not_taken_for_an_address(connection: Connection) -> None:
    """Though it stands among the terms too, far more often."""
    often(connection, WIDE)
    connection.execute("BEGIN")
    pieces.put(connection, [(term("domain", "example.org"), entry) for entry in WIDE * 2])
    connection.execute("COMMIT")
    sum_up(connection)
    found = connection.execute("SELECT DISTINCT address FROM address_sum").fetchall()
    assert found == [(address_of(ANN),)]


OTHERS = bounce.load(b"""<bounces>
<regex type="hard" category="other"><or>mailbox full</or></regex>
</bounces>""")
FULL = "host mx[192.0.2.1] said: 552 5.2.2 Mailbox full"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Twelve messages to ann, some of them deferred, among 1,100."""
    store = Store(tmp_path)
    lines = []
    for n in range(1100):
        to = ANN if n % 100 == 0 else f"somebody{n}@example.net"
        lines += mail(n, to, "deferred" if n % 200 == 0 else "sent")
    store.add(lines)
    sum_up(store.connection)
    assert rests(store.connection) <= 1
    return store


def mail(n: int, to: str, status: str, day: int = 1) -> list[bytes]:
    queue_id, at = f"4jXPlN1VQlz{n:04}x", f"2026-03-{day:02}T10:00:01.500000+00:00"
    tries = [attempt(status, queue_id=queue_id, to=to, at=at, reason=FULL, dsn="4.2.2")]
    return message(queue_id, message_id=f"<98494.{n}.1@one>", deliveries=tries)


def test_a_late_delivery(store: Store) -> None:
    store.add(mail(200, ANN, "sent", day=4)[1:])
    found = addresses.of_recipients(store.connection, [ANN], None)[ANN]
    assert found == plain(store.connection, ANN, None)
    assert found.delivered == 6
    assert rests(store.connection) == 11
    sum_up(store.connection)
    assert found == plain(store.connection, ANN, None)
    assert rests(store.connection) <= 1


def test_an_erased_address(store: Store) -> None:
    pseudonym = store.make(EraseAddress(ANN))
    while erasure.step(store.connection, 100):
        known = addresses.of_recipients(store.connection, [ANN, pseudonym], None)
        for one in (ANN, pseudonym):
            assert known.get(one) == plain(store.connection, one, None)
    erasure.finish(store.connection, erasure.search(store.connection), NOW)
    sum_up(store.connection)
    assert addresses.of_recipients(store.connection, [ANN], None) == {}
    of_ann = "SELECT count(*) FROM address_sum WHERE address = ?"
    assert store.connection.execute(of_ann, (address_of(ANN),)).fetchall() == [(0,)]


def test_removed_for_its_age(store: Store) -> None:
    store.add(mail(300, ANN, "sent", day=5)[1:])
    store.remove_older(NOW, latest=NOW)
    check(store.connection)
    assert addresses.of_recipients(store.connection, [ANN], None) == {}


def test_other_rules(store: Store) -> None:
    while step(store, OTHERS, "others", 300):
        check(store.connection)
    assert rests(store.connection) == 11
    sum_up(store.connection)
    check(store.connection)
    assert rests(store.connection) <= 1
