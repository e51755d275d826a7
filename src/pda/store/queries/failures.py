"""Failed attempts over time, counted from the index that holds all of them by time.

Owns a question that what is counted by day cannot answer. It looks at every failure of the time:
who asks sees to it that there are not too many. Times are µs since the epoch.
"""

from __future__ import annotations

from pda.store.database import Connection, Value
from pda.store.names import number_of
from pda.store.queries.filters import where
from pda.store.queries.stats import Counts, Point, Scope

_OF_CLIENT = """
EXISTS (SELECT 1 FROM entry e INDEXED BY entry_client
    WHERE e.client_id = (SELECT id FROM client WHERE name = ?) AND e.id = a.entry_id)
"""


def failures(connection: Connection, scope: Scope, step: int) -> list[Point]:
    """How many of each category in steps of this length, of a client or of all.

    Nothing else of the scope is looked at.
    """
    known: tuple[tuple[str, Value], ...] = (
        ("a.at >= ?", scope.since),
        ("a.at <= ?", scope.until),
        (_OF_CLIENT, scope.client),
    )
    sql, values = where([(sql, [value]) for sql, value in known if value is not None])
    rows = connection.execute(
        "SELECT a.at / ?, v.category, count(*) FROM verdict v"
        " CROSS JOIN manner m ON m.verdict_id = v.id AND m.status IN ('deferred', 'bounced')"
        " CROSS JOIN attempt a INDEXED BY attempt_failure"
        "     ON a.manner_id = m.id AND a.reason_id IS NOT NULL"
        f" WHERE {sql} GROUP BY 1, 2 ORDER BY 1, 2",
        [step, *values],
    ).fetchall()
    return [
        Point(number_of(at) * step, str(name), Counts(attempts=number_of(count)))
        for at, name, count in rows
    ]
