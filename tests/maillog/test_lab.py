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
from pda.maillog.syslog import HeaderReader
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

_LAST_ONLY = "the line that does so names the last recipient only"
_NOQUEUE = "logged as NOQUEUE, before the message has a queue id"
NOT_TOLD = {
    # The truth's own gaps: "no-trace".
    ("utf8-not-offered", "příjemce@ok.test"): "the lab saw no notification; the log says bounced",
    ("local-pipeok", "pipeok@pda-lab.test"): "the lab cannot see a command's input; the log: sent",
    ("op-delete", "rcpt@softrcpt.test"): "the lab saw nothing; postsuper says removed",
    # What the log does not say.
    ("hdr-hold", "h@ok.test"): _LAST_ONLY,
    ("hdr-discard", "h@ok.test"): _LAST_ONLY,
    ("hdr-redirect", "h@ok.test"): "orig_to names the last recipient only, all go to the new one",
    ("milter-quarantine", "mi@ok.test"): _LAST_ONLY,
    ("milter-discard", "mi@ok.test"): _LAST_ONLY,
    ("acc-sender-hold", "acc@ok.test"): _NOQUEUE,
    ("acc-sender-disc", "acc@ok.test"): _NOQUEUE,
    ("acc-rcpt-holdme", "holdme@ok.test"): _NOQUEUE,
    ("acc-rcpt-holdme", "other@ok.test"): _NOQUEUE,
    ("acc-rcpt-discme", "discme@ok.test"): _NOQUEUE,
    ("acc-rcpt-discme", "other@ok.test"): _NOQUEUE,
    ("content-filter-discard", "f3@ok.test"): "the filter answers 250, and in its own words what it did",
    ("virtual-alias-catchall", "anything@catch.valias.test"): "two addresses become one; orig_to names the other",
    ("local-list", "list@pda-lab.test"): "its members are recipients of their own, the list is none",
    ("plus-and-special", "under_score.dot..dot@ok.test"): "the log quotes this local part, the truth does not",
}  # fmt: skip


@cache
def log_lines(form: str) -> list[bytes]:
    return gzip.decompress((LAB / f"mail.{form}.log.gz").read_bytes()).splitlines()


def read(lines: list[bytes]) -> list[Event]:
    return Pipeline(RULES).source(UTC, live=False).read(lines, WRITTEN)


def events(form: str) -> list[Event]:
    return read(log_lines(form))


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
    return [row for row in rows if row.get("queue_id")]


def test_the_truth_of_every_recipient(reference: Store) -> None:
    with reference.reading() as connection:
        outcomes = queries.outcomes(connection, Filter())
        attempts = queries.attempts(connection, Filter())
    wrong, right = [], list[tuple[str, str]]()
    for row in true_rows():
        found = states_by_recipient(row["queue_id"], outcomes, attempts)
        for recipient, result in row["result"].items():
            true = {part["outcome"] for part in result.get("parts", [])} or {result["outcome"]}
            if true == {"rejected"}:
                true = set()  # refused in the session: the sender was told, nothing was queued
            names = (recipient, recipient.rpartition("@")[0])  # local mail has no domain
            got = set().union(*(found.get(address_key(name), set()) for name in names))
            if got == true:
                right.append((row["scenario"], recipient))
            elif (row["scenario"], recipient) not in NOT_TOLD:
                wrong.append((row["scenario"], row["queue_id"], recipient, true, got))
    assert not wrong
    assert not NOT_TOLD.keys() & right, "told after all"
    assert len(right) > 500


# --- Order -------------------------------------------------------------------------------------


@cache
def by_process(form: str) -> list[list[bytes]]:
    """The lines of each process, in their order."""
    headers, found = HeaderReader(UTC, ""), dict[tuple[str, int | None], list[bytes]]()
    headers.begin(WRITTEN)
    for line in log_lines(form):
        header = headers.read(line.decode(), WRITTEN)
        assert header is not None
        found.setdefault((header.program, header.procid), []).append(line)
    return list(found.values())


def shuffled(seed: int, form: str) -> list[bytes]:
    """Any interleaving that keeps the order of each process."""
    processes = by_process(form)
    order = [number for number, lines in enumerate(processes) for _ in lines]
    random.Random(seed).shuffle(order)
    heads = [iter(lines) for lines in processes]
    return [next(heads[number]) for number in order]


def test_processes_write_one_entry_together() -> None:
    """Otherwise nothing would be shuffled."""
    processes = {lines[0].split(b"[")[0].split(b"/")[-1] for lines in by_process("rfc3339")}
    assert processes >= {b"smtpd", b"cleanup", b"qmgr", b"smtp", b"local", b"bounce", b"postsuper"}
    assert len(by_process("rfc3339")) > 50


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
    mixed = shuffled(seed, form)
    parts = [mixed[:cut], mixed[cut:]]
    store = Store(tmp_path_factory.mktemp("mixed"))
    for part in reversed(parts) if later_first else parts:
        store.add_events(read(part))
    found = told(store)
    store.close()
    assert found == told(reference)
