"""History under other rules: the same as if they had always been in force."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pda import config
from pda.ingest import Ingest
from pda.maillog import bounce
from pda.maillog.correlate import gather
from pda.maillog.events import Event
from pda.maillog.pipeline import Pipeline
from pda.maillog.rejudge import rejudge_told
from pda.store import verdicts
from pda.store.driver import dbapi2
from pda.work import Work
from tests.maillog.test_correlate import LONG_LIFE
from tests.maillog.test_lives import THREE_LIVES
from tests.support import NOW, RULES, Store, attempt, message

OTHERS = bounce.load(b"""<bounces>
<regex type="hard" category="first"><or>user unknown</or><or>refused</or></regex>
<regex type="soft" category="second"><or>no such user</or><or>550</or></regex>
</bounces>""")
REASONS = (
    ("550 5.1.1 No such user", "5.1.1", "bounced"),
    ("connect to mx.example[192.0.2.1]:25: Connection refused", "4.4.1", "deferred"),
    ("450 4.2.1 user unknown for now", "4.2.1", "deferred"),
    ("554 gibberish", "5.0.0", "bounced"),
)


def failing(queue_id: str) -> list[bytes]:
    """A message whose recipients fail, each for another reason."""
    return message(
        queue_id,
        deliveries=[
            attempt(status, queue_id=queue_id, to=f"r{n}@example.org", reason=reason, dsn=dsn)
            for n, (reason, dsn, status) in enumerate(REASONS)
        ],
    )


LINES = [*failing("4jXPlN1VQlzJbSD"), *failing("4jXPlN1VQlzJbSF"), *LONG_LIFE, *THREE_LIVES]


def read(lines: list[bytes], rules: bounce.Rules) -> list[Event]:
    return Pipeline(rules).source().read(lines, NOW)


def judged(store: Store) -> dict[str, list[object]]:
    """All that follows from verdicts, in an order of its own."""
    asked = {
        "attempts": "SELECT e.queue_id, a.digest, a.copy, v.bounce_type, v.category, v.rule"
        " FROM attempt_told a JOIN entry e ON e.id = a.entry_id"
        " LEFT JOIN verdict v ON v.id = a.verdict_id",
        "outcomes": "SELECT e.queue_id, o.recipient, o.state, o.first_at, o.last_at, o.attempts,"
        " v.bounce_type, v.category, v.rule FROM outcome o JOIN entry e ON e.id = o.entry_id"
        " LEFT JOIN verdict v ON v.id = o.verdict_id",
    }
    with store.reading() as connection:
        return {
            name: sorted(connection.execute(sql).fetchall(), key=repr)
            for name, sql in asked.items()
        }


def changes(store: Store) -> dict[object, int]:
    with store.reading() as connection:
        rows = connection.execute("SELECT entry_id, recipient, change FROM outcome").fetchall()
    return {row[:2]: int(str(row[2])) for row in rows}


def step(store: Store, rules: bounce.Rules, digest: str, entries: int = 1) -> bool:
    """Judges a little more; whether there is more."""
    batch = store.writer.rejudge(rules.classify, digest, entries, NOW)
    store.writer.commit(batch)
    return not store.writer.judging.finished_at


def judge_all(store: Store, rules: bounce.Rules, digest: str) -> None:
    while step(store, rules, digest):
        pass


@pytest.fixture
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[object]]:
    """Of a store that never knew other rules."""
    store = Store(tmp_path_factory.mktemp("expected"))
    store.add_events(read(LINES, OTHERS))
    found = judged(store)
    store.close()
    return found


def test_attempts_and_outcomes_follow(tmp_path: Path, expected: dict[str, list[object]]) -> None:
    store = Store(tmp_path)
    store.add_events(read(LINES, RULES))
    everything = store.everything()
    assert judged(store) != expected
    judge_all(store, OTHERS, "others")
    assert judged(store) == expected
    now = store.everything()
    assert now["attempts"] == everything["attempts"]
    assert now["entries"] == everything["entries"]


def test_only_what_changes_gets_a_change_number(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add_events(read(LINES, RULES))
    before, states = changes(store), judged(store)["outcomes"]
    judge_all(store, RULES, "the same rules under another name")
    assert changes(store) == before
    assert store.writer.judging.changed == 0
    judge_all(store, OTHERS, "others")
    after = changes(store)
    raised = [key for key in before if after[key] != before[key]]
    assert min(after[key] for key in raised) > max(before.values())
    assert len(set(after.values())) == len(after)
    differing = set(map(repr, judged(store)["outcomes"])) - set(map(repr, states))
    assert len(raised) == len(differing) > 0


def test_the_same_list_is_not_gone_through_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add_events(read(LINES, RULES))
    judge_all(store, OTHERS, "others")
    done = store.writer.judging
    assert (done.digest, done.finished_at) == ("others", NOW)
    store.close()
    store = Store(tmp_path)
    assert store.writer.judging == done
    assert not step(store, OTHERS, "others")
    assert store.writer.judging.changed == done.changed


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    lines=st.permutations(LINES),
    cuts=st.lists(st.integers(0, len(LINES)), min_size=1, max_size=4),
    swap=st.integers(0, 3),
    restarts=st.sets(st.integers(0, 4)),
    limit=st.sampled_from([2, 100]),
)
def test_while_lines_come_and_services_stop(
    tmp_path_factory: pytest.TempPathFactory,
    expected: dict[str, list[object]],
    *,
    lines: list[bytes],
    cuts: list[int],
    swap: int,
    restarts: set[int],
    limit: int,
) -> None:
    """New rules between two batches; a little of history is judged after each batch."""
    folder = tmp_path_factory.mktemp("found")
    store = Store(folder, limit)
    for n, (begin, end) in enumerate(pairwise([0, *sorted(cuts), len(lines)])):
        if n in restarts:
            store.close()
            store = Store(folder, limit)
        # Read under the old rules, and stored when the new ones are in force already.
        new = gather(read(lines[begin:end], RULES))
        if n >= swap:
            rejudge_told(new, OTHERS.classify)
        store.add_told(new)
        if n >= swap:
            step(store, OTHERS, "others")
    judge_all(store, OTHERS, "others")
    assert judged(store) == expected
    store.close()


def test_memory_does_not_bring_old_verdicts_back(tmp_path: Path) -> None:
    """A recipient's outcome is derived again from remembered attempts."""
    store = Store(tmp_path)
    unknown = attempt("deferred", reason="450 4.2.1 user unknown for now", dsn="4.2.1")
    store.add_events(read(message(deliveries=[unknown])[:4], RULES))
    judge_all(store, OTHERS, "others")
    expired = b"2026-03-15T10:00:00.000000+00:00 mx1 postfix/qmgr[42]: 4jXPlN1VQlzJbSD:"
    store.add_events(
        read([expired + b" from=<news@example.com>, status=expired, returned to sender"], OTHERS)
    )
    (outcome,) = judged(store)["outcomes"]
    assert outcome[-3:] == ("soft", "first", "regex-1")  # type: ignore[index]


def test_shuffling_lines_changes_no_verdict(tmp_path_factory: pytest.TempPathFactory) -> None:
    found = []
    for seed in range(5):
        lines = list(LINES)
        random.Random(seed).shuffle(lines)
        store = Store(tmp_path_factory.mktemp("shuffled"))
        store.add(lines)
        found.append(judged(store))
        store.close()
    assert all(one == found[0] for one in found)


def test_a_full_disk_while_history_is_judged(
    tmp_path: Path, expected: dict[str, list[object]]
) -> None:
    store = Store(tmp_path)
    store.add_events(read(LINES, RULES))
    batch = store.writer.rejudge(OTHERS.classify, "others", 1, NOW)
    store.connection.execute("PRAGMA query_only = ON")
    with pytest.raises(dbapi2.OperationalError):
        store.writer.commit(batch)
    store.connection.execute("PRAGMA query_only = OFF")
    store.writer.commit(batch)
    judge_all(store, OTHERS, "others")
    assert judged(store) == expected


async def test_what_was_read_under_the_old_rules_is_stored_under_the_new(
    tmp_path: Path, expected: dict[str, list[object]]
) -> None:
    """The rules are swapped while a batch waits to be written."""
    store = Store(tmp_path)
    ingest = Ingest(Pipeline(OTHERS), store.writer, config.zone)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ingest.write)
        await ingest._send.send(Work(gather(read(LINES, RULES)), RULES))
        ingest.closing()
    assert judged(store) == expected


async def test_the_live_stream_takes_turns_with_history(tmp_path: Path) -> None:
    """Between two pieces of history there is a place for whoever waits."""
    store = Store(tmp_path)
    store.add_events(read([x for n in range(1500) for x in failing(f"4jXPlN1VQlz{n:04}")], RULES))
    ingest, new = Ingest(Pipeline(OTHERS), store.writer, config.zone), failing("4jXPlN1VQlzzzz")
    pieces: list[int] = []

    async def judge() -> None:
        while not store.writer.is_judged_by("others"):
            await ingest.rejudge(OTHERS.classify, "others")
            pieces.append(ingest.writer_state.attempts)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ingest.write)
        nursery.start_soon(judge)
        await ingest._send.send(Work(gather(read(new, OTHERS)), OTHERS))
        ingest.closing()
    assert len(pieces) == 4
    assert pieces[-2] == 4  # stored before history was through
    assert store.writer.judging.finished_at


def test_hits_and_failures(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(failing("4jXPlN1VQlzJbSD"))
    store.add(failing("4jXPlN1VQlzJbSF"))
    with store.reading() as connection:
        hits = {verdict.rule: (n, text) for verdict, n, _, text in verdicts.hits(connection)}
        assert hits["postfix-connection-refused"] == (2, REASONS[1][0])
        assert sum(count for _, count, _, _ in verdicts.hits(connection)) == 8
        failures = list(verdicts.failures(connection))
        assert len(failures) == 8
        unknown = list(verdicts.failures(connection, unclassified=True))
    assert {failure.reason for failure, _, _ in unknown} == {REASONS[3][0]}
    for failure, at, verdict in failures:
        assert RULES.classify(failure) == verdict
        assert at


def test_hits_are_counted_without_reading_the_attempts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(failing("4jXPlN1VQlzJbSD"))
    with store.reading() as reader:
        plan = reader.execute("EXPLAIN QUERY PLAN " + verdicts._HITS).fetchall()
    assert "SCAN attempt USING COVERING INDEX attempt_failure" in str(plan)
    store.close()
