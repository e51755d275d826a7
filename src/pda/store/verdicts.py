"""What is stored of failures and the verdicts on them.

Owns the questions behind the proof of a rule list: how often each verdict was given, and all
failures one by one. Takes reading connections; nothing is copied, so what is removed is gone here
too. Times are µs since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import msgspec

from pda.maillog.events import Failure, Verdict
from pda.store.database import Connection, each_row

_AT_A_TIME = 2000

# All of it out of the index; the text is that of the manner whose hit was the last one.
_HITS = """
SELECT v.bounce_type, v.category, v.rule, g.hits, g.last_at, (
    SELECT r.name FROM attempt a INDEXED BY attempt_failure JOIN reason r ON r.id = a.reason_id
    WHERE a.manner_id = g.manner_id AND a.at = g.last_at AND a.reason_id IS NOT NULL LIMIT 1)
FROM (
    SELECT m.verdict_id, h.manner_id, sum(h.hits) AS hits, max(h.last_at) AS last_at FROM (
        SELECT manner_id, count(*) AS hits, max(at) AS last_at
        FROM attempt INDEXED BY attempt_failure WHERE reason_id IS NOT NULL GROUP BY manner_id
    ) h JOIN manner m ON m.id = h.manner_id GROUP BY m.verdict_id
) g JOIN verdict v ON v.id = g.verdict_id
"""
# CROSS JOIN fixes the order: through the table as it lies, or through the few that are wanted.
_FAILURES = """
SELECT a.reason, a.dsn, a.status, a.relay, a.at, v.bounce_type, v.category, v.rule
FROM attempt_told a CROSS JOIN verdict v ON v.id = a.verdict_id
"""
_UNCLASSIFIED = """
SELECT r.name, m.dsn, m.status, '', a.at, v.bounce_type, v.category, v.rule
FROM verdict v CROSS JOIN manner m ON m.verdict_id = v.id
    CROSS JOIN attempt a INDEXED BY attempt_failure
        ON a.manner_id = m.id AND a.reason_id IS NOT NULL
    JOIN reason r ON r.id = a.reason_id
WHERE v.category = 'undetermined'
"""


def hits(connection: Connection) -> list[tuple[Verdict, int, int, str]]:
    """Each verdict that was given, how often, when last, and the text of that time."""
    rows = connection.execute(_HITS).fetchall()
    return [
        (
            _verdict(str(bounce_type), str(category), str(rule)),
            int(str(count)),
            int(str(at)),
            str(sample),
        )
        for bounce_type, category, rule, count, at, sample in rows
    ]


def failures(
    connection: Connection, *, unclassified: bool = False
) -> Iterator[tuple[Failure, int, Verdict]]:
    """All failed attempts, or those that no rule knows: the failure, when, and its verdict.

    These without their relays: the index has all the rest, and what they are grouped by.
    """
    cursor = connection.execute(_UNCLASSIFIED if unclassified else _FAILURES)
    for reason, dsn, status, relay, at, *verdict in each_row(cursor, _AT_A_TIME):
        failure = Failure(str(reason), str(dsn), str(status), str(relay))
        yield failure, int(str(at)), _verdict(*map(str, verdict))


@lru_cache(4096)
def _verdict(bounce_type: str, category: str, rule: str) -> Verdict:
    return msgspec.convert((bounce_type, category, rule), Verdict)
