"""One run of a real Postfix whose truth is known, in the four formats rsyslog writes it in.

The lab's files are read where they stand and are no part of this project.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pda.maillog.events import Event, address_key
from pda.maillog.pipeline import Pipeline
from pda.store import queries
from pda.store.queries import AttemptRow, Filter, OutcomeRow
from tests.support import RULES, SHARED, Store, needs_shared

pytestmark = needs_shared

LAB = SHARED / "lab"
FORMATS = ["rfc3339", "trad", "pda", "rfc5424"]
WRITTEN = int(datetime(2026, 11, 22, 10, 30, tzinfo=UTC).timestamp()) * 1_000_000
WORDS = {
    "delivered": "sent", "finally-ok": "sent", "soft-bounce": "bounced", "hard-bounce": "bounced",
    "undetermined-bounce": "bounced", "expired": "expired", "discarded": "discarded",
    "held": "queued:hold",
}  # fmt: skip

NOT_TOLD = {
    # The truth's own gaps.
    "utf8-not-offered": "the lab saw no notification; the log says bounced",
    "local-pipeok": "the lab cannot look into a command's standard input; the log says sent",
    "dsn-never": "the lab saw nothing; the sender wanted no notification",
    "null-sender-bounced": "nobody is told when a message without sender bounces",
    "bounce-undeliverable": "about the notification, not the message",
    "bounce-rejected": "about the notification, not the message",
    "op-delete": "the lab saw nothing; postsuper says removed",
    # What the log does not say.
    "hdr-hold": "a line that holds a message names the last recipient only",
    "milter-quarantine": "a line that holds a message names the last recipient only",
    "hdr-discard": "a line that discards a message names the last recipient only",
    "milter-discard": "a line that discards a message names the last recipient only",
    "acc-sender-hold": "logged as NOQUEUE, before the message has a queue id",
    "acc-rcpt-holdme": "logged as NOQUEUE, before the message has a queue id",
    "acc-sender-disc": "logged as NOQUEUE, before the message has a queue id",
    "acc-rcpt-discme": "logged as NOQUEUE, before the message has a queue id",
    "content-filter-discard": "the filter answers 250; that it throws away is in its own words",
    "hdr-redirect": "orig_to names the last recipient only, all go to the new one",
    "virtual-alias-catchall": "two addresses become one; orig_to names one of them",
    "local-list": "a list's members are recipients of their own, under the same message",
    "plus-and-special": "the log quotes the local part, the truth does not",
}


@cache
def events(form: str) -> list[Event]:
    lines = gzip.decompress((LAB / f"mail.{form}.log.gz").read_bytes()).splitlines()
    return Pipeline(RULES).source(UTC, live=False).read(lines, WRITTEN)


def told(store: Store) -> list[tuple[str, str, str, str, str]]:
    """What must be the same whatever the format and the order."""
    with store.reading() as connection:
        return sorted(
            (o.queue_id, o.recipient, o.state, o.client_id, o.origin)
            for o in queries.outcomes(connection, Filter())
        )


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(tmp_path_factory.mktemp("reference"))
    store.add_events(events("rfc3339"))
    yield store
    store.close()


@pytest.mark.parametrize("form", FORMATS[1:])
def test_every_format_tells_the_same(form: str, reference: Store, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add_events(events(form))
    assert told(store) == told(reference)


def test_all_formats_one_after_the_other_count_once(tmp_path: Path, reference: Store) -> None:
    store = Store(tmp_path)
    for form in FORMATS:
        store.add_events(events(form))
    assert told(store) == told(reference)
    with store.reading() as one, reference.reading() as other:
        assert len(queries.attempts(one, Filter())) == len(queries.attempts(other, Filter()))


# --- The truth ---------------------------------------------------------------------------------


def states_by_recipient(
    queue_id: str, outcomes: list[OutcomeRow], attempts: list[AttemptRow]
) -> dict[str, set[str]]:
    """What is told of a message: by recipient, and by the recipient it was expanded from."""
    mine = [o for o in outcomes if o.queue_id == queue_id or o.origin.endswith(f"/{queue_id}")]
    expanded = {
        (a.queue_id, address_key(a.recipient)): address_key(a.orig_to)
        for a in attempts
        if a.orig_to
    }
    found: dict[str, set[str]] = {}
    for outcome in mine:
        key = address_key(outcome.recipient)
        for name in {key, expanded.get((outcome.queue_id, key), key)}:
            found.setdefault(name, set()).add(WORDS.get(outcome.state, outcome.state))
    return found


def true_rows() -> list[dict[str, Any]]:
    rows = map(json.loads, gzip.decompress((LAB / "truth.jsonl.gz").read_bytes()).splitlines())
    return [row for row in rows if row.get("queue_id") and row["scenario"] not in NOT_TOLD]


def test_the_truth_of_every_recipient(reference: Store) -> None:
    with reference.reading() as connection:
        outcomes = queries.outcomes(connection, Filter())
        attempts = queries.attempts(connection, Filter())
    wrong, right = [], 0
    for row in true_rows():
        found = states_by_recipient(row["queue_id"], outcomes, attempts)
        for recipient, result in row["result"].items():
            true = {part["outcome"] for part in result.get("parts", [])} or {result["outcome"]}
            if true == {"rejected"}:
                true = set()  # refused in the session: the sender was told, nothing was queued
            names = (recipient, recipient.rpartition("@")[0])  # local mail has no domain
            got = set().union(*(found.get(address_key(name), set()) for name in names))
            if got == true:
                right += 1
            else:
                wrong.append((row["scenario"], row["queue_id"], recipient, true, got))
    assert not wrong
    assert right > 500


# --- Order -------------------------------------------------------------------------------------


def shuffled(seed: int, whole: list[Event]) -> list[Event]:
    """Any interleaving that keeps the order of each process (here: of each queue entry's agent)."""
    queues: dict[tuple[str, str], list[Event]] = {}
    for event in whole:
        kind = type(event.said).__name__
        queues.setdefault((event.queue_id, kind), []).append(event)
    order = [key for key, queue in queues.items() for _ in queue]
    random.Random(seed).shuffle(order)
    heads = {key: iter(queue) for key, queue in queues.items()}
    return [next(heads[key]) for key in order]


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 2**32), st.integers(0, 4000), st.booleans(), st.sampled_from(FORMATS))
@example(seed=454, cut=463, later_first=True, form="rfc3339")  # a Message-ID comes last of all
def test_any_interleaving_and_any_cut(
    tmp_path_factory: pytest.TempPathFactory,
    reference: Store,
    seed: int,
    cut: int,
    later_first: bool,
    form: str,
) -> None:
    mixed = shuffled(seed, events(form))
    parts = [mixed[:cut], mixed[cut:]]
    store = Store(tmp_path_factory.mktemp("mixed"))
    for part in reversed(parts) if later_first else parts:
        store.add_events(part)
    found = told(store)
    store.close()
    assert found == told(reference)
