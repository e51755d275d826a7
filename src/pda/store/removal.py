"""What may not be stored any more: lines that are too old, and addresses that were erased.

Owns the horizon before which lines are refused, the secret and the hashes of erased addresses, and
what becomes of lines because of them: so neither retention nor erasure is undone by a later import.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import TypeVar

from pda.maillog.events import Attempt, Fact, Refusal, Told, refused_told
from pda.maillog.pseudonyms import Pseudonyms
from pda.store.database import Connection
from pda.store.sheets import Sheet

TABLES = (
    "CREATE TABLE erasure_secret (id INTEGER PRIMARY KEY CHECK (id = 1), secret BLOB NOT NULL)",
    """
CREATE TABLE erased (
    hash BLOB PRIMARY KEY, address TEXT, done_to INTEGER NOT NULL, rows INTEGER NOT NULL,
    erased_at INTEGER NOT NULL, finished_at INTEGER NOT NULL
) WITHOUT ROWID
""",
)
_SECRET_OCTETS = 32
_Said = TypeVar("_Said", Fact, Attempt, Refusal)


class Removal:
    """What one database refuses; looked up anew by `refresh`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.refused = 0
        """Lines that were too old."""
        self.refused_attempts = 0
        self.refresh()

    def refresh(self) -> None:
        """Horizon and erased addresses as the database has them now."""
        self.horizon = horizon(self._connection)
        self.pseudonyms = pseudonyms(self._connection)
        left = "SELECT count(*) FROM erased WHERE address IS NOT NULL"
        self.is_erasing = self._connection.execute(left).fetchall() != [(0,)]

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to be refused."""
        return bool(self.horizon or self.pseudonyms)

    def takes(self, sheet: Sheet) -> bool:
        """Whether a sheet may be stored as it is; else what its entries tell is to be admitted."""
        return not self.pseudonyms and sheet.first_at >= self.horizon

    def admit(self, told: Sequence[Told]) -> list[Told]:
        """What of this may be stored, and how."""
        if self.horizon:
            told = list(self._young(told))
        return self.pseudonyms.told(told) if self.pseudonyms else list(told)

    def _young(self, told: Iterable[Told]) -> Iterable[Told]:
        for one in told:
            young_facts, young = self._kept(one.facts), self._kept(one.attempts)
            dropped = one.events - len(young_facts) - len(young)
            self.refused += dropped
            self.refused_attempts += len(one.attempts) - len(young)
            if one.refused:
                yield from refused_told(self._kept(one.refused))
            elif not dropped:
                yield one
            elif young_facts or young:
                yield Told(one.host, one.queue_id, young_facts, young)

    def _kept(self, said: list[_Said]) -> list[_Said]:
        horizon = self.horizon
        return [one for one in said if one.at >= horizon]


def horizon(connection: Connection) -> int:
    """Before which lines are refused, µs since the epoch; 0 where all are taken."""
    row = connection.execute("SELECT value FROM meta WHERE name = 'horizon'").fetchone()
    return int(str(row[0])) if row else 0


def raise_horizon(connection: Connection, at: int) -> None:
    """Lines before it are refused from now on; it never goes back."""
    connection.execute(
        "INSERT INTO meta VALUES ('horizon', ?)"
        " ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
        (at,),
    )


def pseudonyms(connection: Connection) -> Pseudonyms:
    """The hashes of all that was erased."""
    hashes = [row[0] for row in connection.execute("SELECT hash FROM erased").fetchall()]
    return Pseudonyms(_secret(connection), [one for one in hashes if isinstance(one, bytes)])


def secret_for_writing(connection: Connection) -> Pseudonyms:
    """The same, with a secret made where there is none yet; within a transaction."""
    connection.execute(
        "INSERT OR IGNORE INTO erasure_secret VALUES (1, ?)",
        (bytearray(secrets.token_bytes(_SECRET_OCTETS)),),
    )
    return pseudonyms(connection)


def _secret(connection: Connection) -> bytes:
    row = connection.execute("SELECT secret FROM erasure_secret").fetchone()
    return row[0] if row and isinstance(row[0], bytes) else b""
