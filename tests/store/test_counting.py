"""What is counted is a function of the rows, in whatever way these came about."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pda.maillog.correlate import gather
from pda.maillog.events import Failure, Verdict
from pda.store import queries
from pda.store.counting import Counting
from pda.store.database import Connection, DatabaseError, Value
from pda.store.tally import COUNTED, GONE, class_of, seconds_of
from tests.support import NOW, Store, attempt, events, line, message
from tools.simulator import Plan, generate

SHORT_LIVES = [
    text.encode()
    for text in generate(
        Plan(messages=60, days=3, lifetime_days=1, short_ids=True, hosts=("mx1", "mx2"))
    )
]
LATE_CLIENT = [
    line("4jXPlN1VQlzJbSD: client=app.example.com[192.0.2.9]", program="smtpd"),
    attempt("deferred", dsn="4.2.2"),
    attempt(at="2026-03-10T11:00:01.500000+00:00", delay="3601"),
    # The same in whole seconds: known again, and its stamp made finer by the other.
    attempt("deferred", dsn="4.2.2", at="2026-03-10T10:00:01+00:00"),
    line("4jXPlN1VQlzJbSD: message-id=<98494.7.1@shop>", program="cleanup"),
    line("4jXPlN1VQlzJbSD: from=<a@b.example>, size=1, nrcpt=1 (queue active)", program="qmgr"),
]
POOL = [*SHORT_LIVES, *LATE_CLIENT]


def counted(connection: Connection) -> dict[str, list[tuple[Value, ...]]]:
    return {
        table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4, 5").fetchall()
        for table in ("counted", "counted_delay", "counted_domain", "counted_failure")
    }


def recounted(store: Store) -> dict[str, list[tuple[Value, ...]]]:
    """As counted from the rows, which leaves the store as it is."""
    store.connection.execute("BEGIN")
    try:
        Counting(store.connection).begin_anew(7)
        return counted(store.connection)
    finally:
        store.connection.execute("ROLLBACK")


def total(store: Store, name: str) -> int:
    sql = f"SELECT sum({name}) FROM counted WHERE piece = 0"
    (found,) = store.connection.execute(sql).fetchone() or (0,)
    assert isinstance(found, int)
    return found


def hard(_: Failure) -> Verdict:
    return Verdict("hard", "policy", "another")


@settings(
    max_examples=15, deadline=timedelta(seconds=20), phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    order=st.randoms(use_true_random=False),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=6),
    limit=st.sampled_from([3, 100_000]),
)
def test_kept_is_what_the_rows_say(
    tmp_path_factory: pytest.TempPathFactory, order: object, sizes: list[int], limit: int
) -> None:
    shuffle: Callable[[list[bytes]], None] = order.shuffle  # type: ignore[attr-defined]
    lines = POOL + LATE_CLIENT
    shuffle(lines)
    store = Store(tmp_path_factory.mktemp("counting"), limit)
    try:
        for size in sizes:
            store.add(lines[:size])
            lines = lines[size:] + lines[: size // 3]
            assert counted(store.connection) == recounted(store)
        store.writer.commit(store.writer.rejudge(hard, "another list", 10_000, 1))
        assert counted(store.connection) == recounted(store)
    finally:
        store.close()


def test_what_comes_while_other_rules_are_half_applied(tmp_path: Path) -> None:
    """What is remembered has other verdicts then than what is stored."""
    store = Store(tmp_path)
    first, last = SHORT_LIVES[::2], SHORT_LIVES[1::2]
    store.add(first + LATE_CLIENT[:2])
    judging = store.writer.rejudge(hard, "another list", 3, 1)
    store.writer.commit(judging)
    assert not judging.judging or not judging.judging.finished_at
    for lines in (last, LATE_CLIENT[2:3], LATE_CLIENT):
        store.add(lines)
        assert counted(store.connection) == recounted(store)
    while not store.writer.is_judged_by("another list"):
        store.writer.commit(store.writer.rejudge(hard, "another list", 50, 1))
    store.add(first + LATE_CLIENT[2:])
    assert counted(store.connection) == recounted(store)
    store.close()


def test_batches_of_one_transaction_and_what_is_rolled_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    batches = []
    for part in (SHORT_LIVES[:150], LATE_CLIENT[:3] + SHORT_LIVES[100:300], LATE_CLIENT):
        batches.append(store.writer.prepare(gather(events(part))))
        store.writer.insert(batches[-1])
    refuse = "CREATE TEMP TRIGGER refuse BEFORE INSERT ON meta BEGIN SELECT raise(ABORT, 'no'); END"
    store.connection.execute(refuse)  # goes with the transaction
    with pytest.raises(DatabaseError):
        store.writer.insert(batches[-1])
    store.writer.commit(*batches)
    assert total(store, "attempts") > 0
    assert counted(store.connection) == recounted(store)
    store.close()


def test_a_whole_log(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(SHORT_LIVES)
    assert counted(store.connection) == recounted(store)
    assert total(store, "entries") >= 60
    assert total(store, "attempts") > total(store, "sent") > 0
    assert sum(total(store, name) for name in ("sent", "deferred", "bounced")) == total(
        store, "attempts"
    )
    assert total(store, "handed_on") > 0  # and no attempt
    (rows,) = store.connection.execute("SELECT count(*) FROM attempt").fetchone() or (0,)
    assert isinstance(rows, int)
    assert total(store, "attempts") < rows
    store.close()


def test_a_client_that_is_named_late_takes_all_along(tmp_path: Path) -> None:
    store = Store(tmp_path, limit=1)
    for said in LATE_CLIENT:
        store.add([said])
        assert counted(store.connection) == recounted(store)
    store.close()


def test_what_is_sent_again_counts_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    lines = message(deliveries=[attempt()])
    store.add(lines)
    once = counted(store.connection)
    store.add(lines)
    assert counted(store.connection) == once
    store.close()


def test_rows_that_go_are_counted_no_more(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(message(deliveries=[attempt()]))
    connection = store.connection
    connection.execute("BEGIN")
    with Counting(connection).around([1]):
        for table, key in (("entry", "id"), ("attempt", "entry_id"), ("outcome", "entry_id")):
            connection.execute(f"DELETE FROM {table} WHERE {key} = 1")
    connection.execute("COMMIT")
    assert not any(counted(connection).values())
    store.close()


def test_what_is_removed_for_its_age_goes_on_being_counted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    later = "4jXPlN1VQlzJbSX"
    store.add(
        message(deliveries=[attempt()]) + message(later, deliveries=[attempt(queue_id=later)])
    )
    before = counted(store.connection)
    assert store.remove_older(NOW).removed == 1
    now = counted(store.connection)
    assert {table: [row for row in rows if row[0] != GONE] for table, rows in now.items()} == before
    with store.reading() as connection:
        totals = queries.totals(connection)
        assert (totals.entries, totals.attempts, totals.outcomes) == (1, 1, 1)
        assert [one.recipients for one in queries.states(connection)] == [1]
    store.close()


def test_what_cannot_be_written_is_not_counted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(message(deliveries=[attempt()]))
    before = counted(store.connection)
    store.connection.execute("BEGIN")
    with pytest.raises(ZeroDivisionError), Counting(store.connection).around([1]):
        raise ZeroDivisionError
    store.connection.execute("ROLLBACK")
    assert counted(store.connection) == before
    store.close()


@pytest.mark.parametrize("seconds", [0.0011, 0.03, 0.5, 1.0, 1.3, 12, 300, 432_000])
def test_a_delay_is_known_to_a_tenth(seconds: float) -> None:
    assert seconds_of(class_of(seconds)) == pytest.approx(seconds, rel=0.1)


@pytest.mark.parametrize("seconds", [0, 0.001, "0", "", "x", "nan", -5, 1e300])
def test_no_delay_to_speak_of(seconds: str | float) -> None:
    assert seconds_of(class_of(seconds)) == 0


def test_states_are_counted_by_their_numbers() -> None:
    assert COUNTED[9:] == (
        "pending", "delivered", "finally_ok", "soft_bounce", "hard_bounce", "undetermined_bounce",
        "expired", "held", "discarded", "handed_on",
    )  # fmt: skip
