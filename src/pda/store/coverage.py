"""How complete the picture is: what the log should have said and did not.

Owns the one question. It looks at the queue entries that were heard of last, so that it takes no
longer with millions of them. Takes a reading connection; times are µs since the epoch.
"""

from __future__ import annotations

import msgspec

from pda.store.database import Connection, Value
from pda.store.names import number_of

ENTRIES = 50_000
"""Looked at: those that were heard of last."""
LIFETIME = 6 * 86_400_000_000
"""After which a message has to be finished: Postfix's five days, and one for its notification."""
SILENCE = 3_600_000_000
"""Between two messages of a host, from which it is told as a gap."""
_MOST_GAPS = 20

# In the order of their rows, and nothing of them kept: all in memory would take 20 MB.
_RECENT = """
WITH recent AS (
    SELECT e.id, e.host_id, e.born, e.sender, e.nrcpt, e.removed_at, e.expired_at
    FROM entry e
    WHERE e.id > (SELECT coalesce(max(id), 0) FROM entry) - ?1
        AND (?2 IS NULL OR e.client_id = (SELECT id FROM client WHERE name = ?2))
)
"""
_SUMS = f"""{_RECENT},
known AS (
    SELECT r.born, r.sender IS NULL AS is_headless, r.nrcpt, r.removed_at,
        max(r.born, r.expired_at, coalesce(max(o.last_at), 0)) AS heard_at,
        count(o.recipient) AS outcomes
    FROM recent r LEFT JOIN outcome o ON o.entry_id = r.id GROUP BY r.id
)
SELECT count(*), coalesce(min(born), 0), coalesce(sum(is_headless), 0),
    coalesce(sum(removed_at = 0 AND heard_at < ?3 - ?4), 0),
    coalesce(sum(removed_at > 0 AND nrcpt > outcomes), 0),
    coalesce(sum(nrcpt - outcomes) FILTER (WHERE removed_at > 0 AND nrcpt > outcomes), 0)
FROM known
"""
_GAPS = f"""{_RECENT},
steps AS (
    SELECT host_id, lag(born) OVER (PARTITION BY host_id ORDER BY born) AS since, born AS until
    FROM recent
)
SELECT h.name, s.since, s.until FROM steps s JOIN host h ON h.id = s.host_id
WHERE s.until - s.since >= ?3 ORDER BY s.until - s.since DESC LIMIT {_MOST_GAPS}
"""


class Gap(msgspec.Struct, frozen=True):
    """A time in which no message of a host began."""

    host: str
    since: int
    until: int


class Coverage(msgspec.Struct, frozen=True):
    """What is missing of the messages that were heard of last."""

    entries: int
    """Queue entries that were looked at."""
    since: int
    """When the oldest of them began; 0 where there is none."""
    headless: int
    """Of which no line tells the sender: their beginning was never seen."""
    unfinished: int
    """That should have left the queue by now, and were never seen to."""
    short: int
    """Removed entries with fewer recipients than the queue manager had counted."""
    recipients_missing: int
    """Of these, together."""
    gaps: list[Gap]
    """The longest silences of each host, longest first."""


def coverage(
    connection: Connection, client: str | None, now: int, entries: int = ENTRIES
) -> Coverage:
    """How complete it is, of all or of one client's mail."""
    of_recent: list[Value] = [entries, client]
    (sums,) = connection.execute(_SUMS, [*of_recent, now, LIFETIME]).fetchall()
    gaps = [
        Gap(str(host), number_of(since), number_of(until))
        for host, since, until in connection.execute(_GAPS, [*of_recent, SILENCE]).fetchall()
    ]
    return Coverage(*map(number_of, sums), gaps)  # type: ignore[call-arg,arg-type]  # in this order
