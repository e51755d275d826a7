"""`/metrics`: the format is Prometheus', and every counter is in it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from pda import config
from pda.ingest import Ingest
from pda.maillog.correlate import gather
from pda.maillog.pipeline import Pipeline
from pda.metrics import Metrics
from pda.receive import Counters
from pda.store.removal import raise_horizon
from pda.times import moment
from pda.web.pages.system import FATES
from tests.support import NOW, RULES, Store, attempt, line, message

LISTENERS = ("udp://127.0.0.1:5514", "tcp://[::1]:5514")


@pytest.fixture
def ingest(tmp_path: Path) -> Ingest:
    return Ingest(Pipeline(RULES), Store(tmp_path).writer, config.zone)


def samples(metrics: Metrics) -> dict[tuple[str, str], float]:
    """By name and the values of the labels, in the order of their names."""
    found: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        assert family.documentation, family.name
        one: Sample
        for one in family.samples:
            key = one.name, " ".join(one.labels[label] for label in sorted(one.labels))
            assert key not in found
            found[key] = one.value
    return found


def test_every_counter_of_every_listener(ingest: Ingest) -> None:
    counters = {}
    for offset, name in enumerate(LISTENERS):
        names = [field.name for field in fields(Counters)]
        counters[name] = Counters(**{one: 100 * offset + n for n, one in enumerate(names)})
    found = samples(Metrics(counters, ingest, {}))
    gauges = {"connections_open", "receive_buffer", "last_line_at", "unacknowledged"}
    for name, one in counters.items():
        for field in fields(Counters):
            suffix = "" if field.name in gauges else "_total"
            assert found[f"pda_receive_{field.name}{suffix}", name] == getattr(one, field.name)


def test_lines_and_records(ingest: Ingest) -> None:
    source = ingest.pipeline.source()
    source.read([*message(deliveries=[attempt(), attempt("bounced", dsn="5.1.1")]), b"junk"], NOW)
    source.read([line("connect from x[192.0.2.1]", program="smtpd"), line("what?")], NOW)
    found = samples(Metrics({}, ingest, {}))
    expected = {"events": 6, "ignored": 1, "unknown": 1, "headerless": 1, "incomplete": 0}
    for result, count in expected.items():
        assert found["pda_lines_total", result] == count
    assert sum(v for (name, _), v in found.items() if name == "pda_lines_total") == 9
    assert found["pda_records_total", "delivery smtp"] == 2
    assert found["pda_records_total", "unknown smtp"] == 1


def test_each_line_has_one_fate(tmp_path: Path) -> None:
    """A stream with all of them; what each is, is known beforehand."""
    store = Store(tmp_path)
    ingest = Ingest(Pipeline(RULES), store.writer, config.zone)
    raise_horizon(store.connection, moment("2026-03-10T00:00:00Z"))
    store.writer.removal.refresh()
    live, door = ingest.pipeline.source(), "NOQUEUE: reject: RCPT from x[192.0.2.1]: 550 no"
    old = attempt(queue_id="4jXPlN1VQlzJbSX", at="2026-03-09T10:00:01.500000+00:00")
    whole = message(deliveries=[attempt(), attempt("bounced", to="b@example.org", dsn="5.1.1")])
    repeated = line(f"message repeated 3 times: [ {attempt().decode().partition(': ')[2]}]",
                    at="2026-03-10T10:00:02.000000+00:00")  # fmt: skip
    others = [b"junk", line("what?"), line("connect from x[192.0.2.1]", program="smtpd"),
              line(door, program="smtpd")]  # fmt: skip
    read = [*whole, old, *others, *whole, old]
    for lines in ([*whole, old, *others], [*whole, old]):
        store.add_told(gather(live.read(lines, NOW)))
    expected = {"new": 6, "known": 6, "refused": 2, "at_the_door": 1, "ignored": 1, "unknown": 1,
                "headerless": 1}  # fmt: skip
    assert {name: n for name, n in ingest.fates().items() if n} == expected
    assert sum(expected.values()) == len(read) == ingest.pipeline.tally.lines
    store.add_told(gather(live.read([repeated], NOW)))
    live.read_partial(b"<22>half", NOW)
    now, tally = ingest.fates(), ingest.pipeline.tally
    assert (now["new"], now["incomplete"], tally.repeats) == (9, 1, 2)
    assert sum(now.values()) == tally.lines + tally.repeats
    found = samples(Metrics({}, ingest, {}))
    assert found["pda_line_fates", "known"] == now["known"]
    assert now.keys() == FATES.keys()  # the words for them on the page


def test_what_is_worked_out_and_waits_still_has_one_fate(tmp_path: Path) -> None:
    store = Store(tmp_path)
    ingest = Ingest(Pipeline(RULES), store.writer, config.zone)
    live = ingest.pipeline.source()
    store.add_told(gather(live.read(message(deliveries=[attempt()]), NOW)))
    ingest._waiting = 3
    found = ingest.fates()
    assert (found["new"], found["known"], found["waiting"]) == (
        ingest.pipeline.tally.events - 3,
        0,
        3,
    )


def test_lines_that_were_lost_before(ingest: Ingest) -> None:
    source = ingest.pipeline.source()
    for n in range(3):
        lost = f"2026-03-10T10:00:0{n}Z mx1.example rsyslogd: imuxsock lost 5 messages from pid 7 due to rate-limiting"
        source.read([lost.encode()], NOW)
    source.read(
        [
            f"2026-03-10T10:00:00Z h{n} rsyslogd: 1 messages lost due to rate-limiting".encode()
            for n in range(2000)
        ],
        NOW,
    )
    found = samples(Metrics({}, ingest, {}))
    assert found["pda_lost_before_total", "mx1"] == 15
    assert sum(name == "pda_lost_before_total" for name, _ in found) == 1000
    assert ingest.counters()["ignored"] == 2003


def test_names_from_a_hostile_log_make_no_new_series(ingest: Ingest) -> None:
    tags = ['a"}1\\n\x1b{x="é,\\xff', *[f"smtp{n}" for n in range(50)]]
    texts = [f"2026-03-10T10:00:00Z mx1 postfix/{tag}[1]: what?".encode() for tag in tags]
    ingest.pipeline.source().read(texts, NOW)
    found = samples(Metrics({}, ingest, {}))
    of_records = {name: value for name, value in found.items() if name[0] == "pda_records_total"}
    assert of_records == {("pda_records_total", "unknown other"): 51}


def test_writing_and_sizes(ingest: Ingest) -> None:
    state = ingest.writer_state
    state.commits, state.seconds, state.failures, state.attempts, state.lost_events = (
        4,
        0.5,
        3,
        2,
        1,
    )
    found = samples(Metrics({}, ingest, {"database octets": 8192, "open entries": 7}))
    assert {name: found[name, ""] for name, _ in found if "_line" not in name} == {
        "pda_commits_total": 4, "pda_commit_seconds_total": 0.5, "pda_commit_failures_total": 3,
        "pda_attempts_written_total": 2, "pda_events_lost_total": 1, "pda_writer_refused": 0,
        "pda_write_ahead_log_held": 0, "pda_oldest_unstored_seconds": 0,
        "pda_database_octets": 8192, "pda_open_entries": 7,
    }  # fmt: skip
    state.refused = "disk full"
    assert samples(Metrics({}, ingest, {}))["pda_writer_refused", ""] == 1
