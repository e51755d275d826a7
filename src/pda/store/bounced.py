"""Final failures that say something about the address: the evidence for advice.

Owns the table, which follows from the outcomes and nothing else: the writer keeps it with every
change of one, and `recompute` makes the same of all that is stored. A refusal of this side (block
list, policy, authentication, content) is no evidence against an address.
"""

from __future__ import annotations

from pda.maillog.events import Outcome, State
from pda.store.database import Connection, Row

ABOUT_ADDRESS = (
    "invalid-recipient",
    "inactive-mailbox",
    "mailbox-moved",
    "bad-domain",
    "mailbox-full",
    "recipient-filtered",
)
"""Categories whose failures are kept."""
TABLES = (
    """
CREATE TABLE bounced (
    recipient TEXT NOT NULL, entry_id INTEGER NOT NULL, client_id INTEGER NOT NULL,
    at INTEGER NOT NULL, hard INTEGER NOT NULL, verdict_id INTEGER NOT NULL,
    PRIMARY KEY (recipient, entry_id)
) WITHOUT ROWID
""",
    "CREATE INDEX bounced_client ON bounced (client_id, recipient)",
)
_FINAL = frozenset([State.HARD_BOUNCE, State.SOFT_BOUNCE, State.EXPIRED])
_ABOUT = frozenset(ABOUT_ADDRESS)
_ALL = 2**62
_FILL = f"""
INSERT OR REPLACE INTO bounced
SELECT o.recipient, o.entry_id, e.client_id, o.last_at, o.state = {State.HARD_BOUNCE:d}, v.id
FROM outcome o JOIN verdict v ON v.id = o.verdict_id JOIN entry e ON e.id = o.entry_id
WHERE o.entry_id > ? AND o.entry_id <= ?
    AND o.state IN ({", ".join(f"{state:d}" for state in _FINAL)})
    AND v.category IN ({", ".join(f"'{category}'" for category in ABOUT_ADDRESS)})
"""
LAST_FAILURE = """
    LEFT JOIN attempt a ON o.verdict_id IS NOT NULL AND a.entry_id = o.entry_id
        AND (a.digest, a.copy) = (
            SELECT l.digest, l.copy FROM attempt l WHERE l.entry_id = o.entry_id
                AND l.recipient = coalesce(o.address, o.recipient) AND l.reason_id IS NOT NULL
            ORDER BY l.at DESC LIMIT 1)
    LEFT JOIN manner m ON m.id = a.manner_id LEFT JOIN reason r ON r.id = a.reason_id
"""
"""Joins the last failed attempt `a` (manner `m`, reply `r`) of an outcome `o` without delivery."""
PUT = "INSERT OR REPLACE INTO bounced VALUES (?, ?, ?, ?, ?, ?)"
REMOVE = "DELETE FROM bounced WHERE recipient = ? AND entry_id = ?"


def is_evidence(outcome: Outcome) -> bool:
    """Whether an outcome says something about its address."""
    verdict = outcome.verdict
    return verdict is not None and outcome.state in _FINAL and verdict.category in _ABOUT


def row(key: tuple[str, int], client_id: int, outcome: Outcome, verdict_id: int) -> Row:
    """The row of such an outcome, by recipient and entry."""
    hard = outcome.state is State.HARD_BOUNCE
    return (*key, client_id, outcome.last_at, hard, verdict_id)


def recompute(connection: Connection) -> None:
    """The table, anew from the outcomes, in the transaction that is open."""
    connection.execute("DELETE FROM bounced")
    fill(connection, 0, _ALL)


def fill(connection: Connection, after: int, to: int) -> None:
    """Puts in what the outcomes of these queue entries say."""
    connection.execute(_FILL, (after, to))
