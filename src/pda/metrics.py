"""What was received, dropped, ignored, unparsed and written, for Prometheus.

Owns the names of the metrics. They are read from the counters of the rooms when they are asked
for; nothing counts for this module's sake.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pda.housekeeping import Kept
from pda.ingest import Ingest
from pda.journal import JournalState
from pda.receive import Counters
from pda.web.ports import RulesStatus

_GAUGES = frozenset(["connections_open", "receive_buffer", "last_line_at", "unacknowledged"])


class Metrics(Collector):
    """All metrics of one service."""

    def __init__(
        self,
        listeners: Mapping[str, Counters],
        ingest: Ingest,
        sizes: Mapping[str, int],
        rules: RulesStatus | None = None,
        kept: Kept | None = None,
        journal: JournalState | None = None,
    ) -> None:
        self._listeners = listeners
        self._ingest = ingest
        self._sizes = sizes
        self._rules = rules
        self._kept = kept
        self._journal = journal

    def text(self) -> bytes:
        """In Prometheus' text format."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """All metrics, as they stand now."""
        yield from _received(self._listeners)
        yield _labelled(
            "pda_lines", "What became of the lines", "result", self._ingest.counters().items()
        )
        yield _labelled(
            "pda_line_fates",
            "Each line once",
            "fate",
            self._ingest.fates().items(),
            GaugeMetricFamily,
        )
        yield _labelled(
            "pda_lost_before",
            "Lines that a mail host's syslog daemon says it has lost",
            "host",
            self._ingest.pipeline.tally.lost_before.copy().items(),
        )
        yield self._records()
        yield from self._written()
        yield from _sizes(self._sizes)
        if self._kept is not None:
            yield from _kept(self._kept)
        if self._journal is not None:
            yield from _journal(self._journal)
        if self._rules is not None:
            yield from _rules(self._rules)

    def _records(self) -> Metric:
        family = CounterMetricFamily(
            "pda_records", "Lines of Postfix's by program and kind", labels=["program", "kind"]
        )
        for (program, kind), count in self._ingest.pipeline.tally.kinds.copy().items():
            family.add_metric([program, kind], count)
        return family

    def _written(self) -> Iterator[Metric]:
        state = self._ingest.writer_state
        for name, text, value in (
            ("pda_commits", "Transactions", state.commits),
            ("pda_commit_seconds", "Spent in transactions", state.seconds),
            ("pda_commit_failures", "Transactions that the disk refused", state.failures),
            ("pda_attempts_written", "Delivery attempts stored", state.attempts),
            ("pda_events_lost", "Events given up at a stop", state.lost_events),
        ):
            yield CounterMetricFamily(name, text, value=value)
        oldest = self._ingest.oldest_unstored
        age = max(0.0, time.time() - oldest / 1e6) if oldest else 0.0
        yield GaugeMetricFamily("pda_oldest_unstored_seconds", "Since it was received", value=age)
        for name, text, set_ in (
            ("pda_writer_refused", "1 while the disk refuses", bool(state.refused)),
            ("pda_write_ahead_log_held", "1 while who reads keeps it large", state.log_held),
        ):
            yield GaugeMetricFamily(name, text, value=float(set_))


def _received(listeners: Mapping[str, Counters]) -> Iterator[Metric]:
    """`pda_receive_…`, one for each of `receive.Counters`."""
    for name in asdict(Counters()):
        text = f"{name.replace('_', ' ')} of a listener"
        kind = GaugeMetricFamily if name in _GAUGES else CounterMetricFamily
        family = kind(f"pda_receive_{name}", text, labels=["listener"])
        for address, counters in listeners.items():
            family.add_metric([address], getattr(counters, name))
        yield family


def _labelled(
    name: str,
    text: str,
    label: str,
    values: Iterable[tuple[str, int]],
    kind: type[CounterMetricFamily | GaugeMetricFamily] = CounterMetricFamily,
) -> Metric:
    family = kind(name, text, labels=[label])
    for value, count in values:
        family.add_metric([value], count)
    return family


def _sizes(sizes: Mapping[str, int]) -> Iterator[Metric]:
    for name, value in sizes.items():
        yield GaugeMetricFamily(f"pda_{name.replace(' ', '_')}", name, value=value)


def _kept(kept: Kept) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "pda_removed_entries", "Queue entries removed for their age", value=kept.removed
    )
    yield CounterMetricFamily(
        "pda_removed_unsettled_entries",
        "Of them, for room: something was heard of them since",
        value=kept.unsettled,
    )
    yield CounterMetricFamily(
        "pda_removed_texts", "Replies and relays that nothing referred to", value=kept.texts
    )
    yield GaugeMetricFamily(
        "pda_horizon_at", "Older lines are refused, us since the epoch; 0: none", value=kept.horizon
    )


def _journal(state: JournalState) -> Iterator[Metric]:
    for name, text, value in (
        ("pda_journal_kept", "Lines acknowledged since they were in the journal", state.kept),
        ("pda_journal_read_again", "Lines that a killed process left there", state.read_again),
        ("pda_journal_damaged", "Places and files that could not be read", state.damaged),
        ("pda_journal_failures", "Writes that the disk refused", state.failures),
    ):
        yield CounterMetricFamily(name, text, value=value)
    yield GaugeMetricFamily(
        "pda_journal_waiting", "Lines of it that are not in the database yet", value=state.waiting
    )


def _rules(rules: RulesStatus) -> Iterator[Metric]:
    for name, text, value in (
        ("pda_rules", "Rules in force", rules.rules),
        ("pda_rules_loaded_at", "When they came into force, us since the epoch", rules.loaded_at),
        ("pda_rules_refused", "1 if the last reload was refused", int(bool(rules.refused))),
        ("pda_rules_entries_left", "Queue entries not judged by them yet", rules.entries_left),
        ("pda_rules_changed", "Attempts that got another verdict by them", rules.changed),
    ):
        yield GaugeMetricFamily(name, text, value=value)
