"""No line, however absurd its numbers and times, costs more than itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pda.store import queries
from pda.store.queries import Filter
from pda.times import rfc3339
from tests.support import LONG_ID, Store, attempt, events, line

NUMBER = st.one_of(
    st.sampled_from(
        ["0", "00", "9" * 9, "9" * 18, "9" * 19, "9" * 20, "9" * 30, "9" * 400, "9" * 5000]
    ),
    st.integers(0, 2**70).map(str),
)
FIELDS = [
    "from=<a@b>, size={}, nrcpt=1 (queue active)",
    "from=<a@b>, size=1, nrcpt={} (queue active)",
    "uid={} from=<a@b>",
    "to=<a@b>, relay=x, conn_use={}, delay=1, dsn=2.0.0, status=sent (250 ok)",
    "to=<a@b>, relay=x, delay={}, delays=1/2/3/4, dsn=2.0.0, status=sent (250 ok)",
    "to=<a@b>, relay=x, delay=1, delays={0}/{0}/3/4, dsn=2.0.0, status=deferred (no)",
    "to=<a@b>, relay=x, delay=1, delays=1/2/3/4, dsn=2.{0}.{0}, status=sent (250 ok)",
]
STAMPS = [
    "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "2026-02-30T00:00:00Z",
    "2026-01-01T25:61:61Z", "2026-01-01T00:00:00+99:99", "1969-12-31T23:59:59Z",
    "9999 Dec 31 23:59:59.999", "0000 Jan 00 00:00:00",
]  # fmt: skip


def told(store: Store) -> None:
    """Everything that is stored can be asked for and written."""
    with store.reading() as connection:
        for attempt_row in queries.attempts(connection, Filter()):
            rfc3339(attempt_row.at)
        for outcome in queries.outcomes(connection, Filter()):
            rfc3339(outcome.first_at)
        for message in queries.messages(connection, Filter()):
            rfc3339(message.born)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(FIELDS), NUMBER)
def test_absurd_numbers(tmp_path_factory: pytest.TempPathFactory, field: str, number: str) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    store.add([line(f"{LONG_ID}: {field.format(number)}"), attempt()])
    told(store)
    store.close()


@pytest.mark.parametrize("stamp", STAMPS)
def test_absurd_times(tmp_path: Path, stamp: str) -> None:
    store = Store(tmp_path)
    store.add([attempt(at=stamp), attempt(to="other@example.org")])
    told(store)


@pytest.mark.parametrize("pid", ["9" * 20, "9" * 5000])
def test_absurd_process_ids(pid: str) -> None:
    absurd = attempt().replace(b"[42]", f"[{pid}]".encode())
    assert len(events([absurd])) == 1
