"""Advice on addresses: it follows from the outcomes, in whatever order they came."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pda.maillog.bounce.categories import CATEGORIES
from pda.store import bounced
from pda.store.edits import NotThereError
from pda.store.suppressions import (
    Advice,
    SayOfAddress,
    Suppression,
    Thresholds,
    UnsayOfAddress,
)
from pda.times import moment
from tests.maillog.test_chain import THROUGH_A_FILTER
from tests.maillog.test_correlate import LONG_LIFE
from tests.maillog.test_lives import THREE_LIVES
from tests.store.test_rejudge import OTHERS, failing, step
from tests.support import NOW, Store, attempt, message

UNKNOWN = "host mx[192.0.2.1] said: 550 5.1.1 <ann@example.org>: User unknown"
FULL = "host mx[192.0.2.1] said: 552 5.2.2 Mailbox full"
BLOCKED = "host mx[192.0.2.1] said: 550 5.7.1 blocked using zen.spamhaus.org"
ANN = "ann@example.org"
USUAL = Thresholds()


def mail(
    n: int, status: str, reason: str = "250 Ok", dsn: str = "2.0.0", *, day: int = 1,
    client: str = "shop", to: str = ANN,
) -> list[bytes]:  # fmt: skip
    """A message to ann on some day."""
    queue_id, at = f"4jXPlN1VQlzJb{n:02}", f"2026-03-{day:02}T10:00:01.500000+00:00"
    tries = [attempt(status, queue_id=queue_id, to=to, at=at, reason=reason, dsn=dsn)]
    return message(queue_id, message_id=f"<98494.{n}.1@{client}>", deliveries=tries)


def unknown(n: int, **how: object) -> list[bytes]:
    return mail(n, "bounced", UNKNOWN, "5.1.1", **how)  # type: ignore[arg-type]


def full(n: int, **how: object) -> list[bytes]:
    return mail(n, "bounced", FULL, "5.2.2", **how)  # type: ignore[arg-type]


def advice(
    store: Store, client: str | None = None, by: Thresholds = USUAL, of: str = ANN
) -> Suppression:
    with store.reading() as connection:
        return Advice(connection, client, by).of([of])[of]


def listed(store: Store, client: str | None = None, by: Thresholds = USUAL) -> list[str]:
    found, after = [], ""
    with store.reading() as connection:
        while True:
            page = Advice(connection, client, by).page(after, 2)
            found += [one.recipient for one in page.suppressions]
            if page.next is None:
                return found
            after = page.next


def evidence(store: Store) -> list[object]:
    with store.reading() as connection:
        return list(connection.execute("SELECT * FROM bounced ORDER BY 1, 2").fetchall())


def recomputed(store: Store) -> list[object]:
    store.connection.execute("BEGIN IMMEDIATE")
    bounced.recompute(store.connection)
    found = store.connection.execute("SELECT * FROM bounced ORDER BY 1, 2").fetchall()
    store.connection.execute("ROLLBACK")
    return list(found)


LINES = [
    *LONG_LIFE, *THREE_LIVES, *THROUGH_A_FILTER, *failing("4jXPlN1VQlzJbSF"),
    *unknown(1), *full(2, day=2),
]  # fmt: skip


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.permutations(LINES), st.lists(st.integers(0, len(LINES)), max_size=6), st.booleans())
def test_the_evidence_is_what_recomputing_gives(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], cuts: list[int], restart: bool
) -> None:
    """Any order, cut anywhere, and judged by other rules afterwards."""
    folder = tmp_path_factory.mktemp("evidence")
    store = Store(folder)
    for begin, end in pairwise([0, *sorted(cuts), len(lines)]):
        store.add(lines[begin:end])
        assert evidence(store) == recomputed(store)
        if restart:
            store.close()
            store = Store(folder)
    assert evidence(store)
    while step(store, OTHERS, "others"):
        pass
    assert evidence(store) == recomputed(store)
    store.close()


def test_all_categories_that_are_kept_are_known() -> None:
    assert set(bounced.ABOUT_ADDRESS) <= {category.name for category in CATEGORIES}
    assert set(Thresholds().categories) <= set(bounced.ABOUT_ADDRESS)


def test_a_hard_bounce_says_why(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(unknown(1))
    found = advice(store)
    assert (found.suppressed, found.hard_messages, found.hard_days) == (True, 1, 1)
    assert found.why is not None
    assert (found.why.reply, found.why.dsn, found.why.client_id, found.why.category) == (
        UNKNOWN, "5.1.1", "shop", "invalid-recipient",
    )  # fmt: skip
    assert found.why.rule


def test_a_block_of_ours_is_no_evidence(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(mail(1, "bounced", BLOCKED, "5.7.1"))
    assert not advice(store, by=Thresholds(1, 1, 1, bounced.ABOUT_ADDRESS)).suppressed
    assert evidence(store) == []


def test_soft_bounces_need_messages_and_days(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add([*full(1), *full(2), *full(3, day=2)])
    assert not advice(store).suppressed
    assert listed(store) == []
    store.add(full(4, day=3))
    found = advice(store)
    assert (found.suppressed, found.soft_messages, found.soft_days) == (True, 4, 3)
    assert listed(store) == [ANN]
    assert listed(store, by=Thresholds(soft_messages=0)) == []


@pytest.mark.parametrize("delivered_first", [False, True])
def test_a_later_delivery_clears(tmp_path: Path, delivered_first: bool) -> None:
    """Whichever log is read first."""
    store, days = Store(tmp_path), (unknown(1, day=1), mail(2, "sent", day=2))
    for lines in days[::-1] if delivered_first else days:
        store.add(lines)
    found = advice(store)
    assert (found.suppressed, found.hard_messages, found.why) == (False, 0, None)
    assert found.delivered_at
    store.add(unknown(3, day=3))
    assert advice(store).suppressed


def test_each_client_by_its_own_mail(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add([*unknown(1), *mail(2, "sent", client="other", day=2)])
    store.add(unknown(3, client="other", to="bob@example.org"))
    assert advice(store, "shop").suppressed
    assert not advice(store, "other").suppressed
    assert not advice(store).suppressed
    assert advice(store, "shop", of="bob@example.org").why is None
    assert (listed(store, "shop"), listed(store, "other")) == ([ANN], ["bob@example.org"])
    assert listed(store, "nobody") == []


def say(store: Store, mail: str, client: str = "", at: int = NOW) -> None:
    store.make(SayOfAddress(ANN, client, mail, "asked us", "user ann"), at=at)  # type: ignore[arg-type]


def test_what_people_say(tmp_path: Path) -> None:
    store = Store(tmp_path)
    say(store, "never", "shop")
    assert (listed(store, "shop"), listed(store, "other"), listed(store)) == ([ANN], [], [])
    say(store, "never")
    assert (listed(store, "other"), listed(store)) == ([ANN], [ANN])
    say(store, "allowed", "shop")
    assert (listed(store, "shop"), listed(store, "other")) == ([], [ANN])
    said = advice(store, "shop").said
    assert said is not None
    assert (said.mail, said.note, said.who, said.at) == ("allowed", "asked us", "user ann", NOW)
    store.make(UnsayOfAddress(ANN, "shop"))
    assert listed(store, "shop") == [ANN]
    with pytest.raises(NotThereError):
        store.make(UnsayOfAddress(ANN, "shop"))


def test_allowed_until_it_bounces_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(unknown(1, day=1))
    day_two = NOW - 9 * 86_400_000_000
    say(store, "allowed", at=day_two)
    assert not advice(store).suppressed
    store.add(unknown(2, day=9))
    assert advice(store).suppressed


def test_what_is_too_old_is_no_evidence(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add([unknown(1, day=1)[3], unknown(2, day=5, to="bob@example.org")[3]])
    store.remove_older(NOW - 7 * 86_400_000_000)
    assert evidence(store) == recomputed(store)
    assert listed(store) == ["bob@example.org"]


def test_pages(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add([line for n in range(5) for line in unknown(n, to=f"r{n}@example.org")])
    store.add(mail(9, "sent", to="r1@example.org", day=2))
    assert listed(store) == [f"r{n}@example.org" for n in (0, 2, 3, 4)]


def test_failures_of_one_day_count_each(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for n in range(1, 6):
        store.add(unknown(n, day=1 + n % 2))
    store.add(full(6, day=2))
    found = advice(store)
    assert (found.hard_messages, found.hard_days, found.soft_messages, found.soft_days) == (
        5,
        2,
        1,
        1,
    )
    assert (found.first_at, found.last_at) == (
        moment("2026-03-01T10:00:01.5Z"), moment("2026-03-02T10:00:01.5Z")
    )  # fmt: skip
