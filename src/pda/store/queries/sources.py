"""What leads to the queue entries that may have what is asked for.

Owns the choice of an index for a filter. A source names too many entries rather than too few: the
conditions of the filter decide.
"""

from __future__ import annotations

import msgspec

from pda.maillog.events import address_key
from pda.store.database import Value
from pda.store.queries.filters import Filter, message_ids
from pda.store.terms import PIECE_BITS, term

_PIECE = 1 << PIECE_BITS
_FEW = 2000


class Source(msgspec.Struct, frozen=True):
    """Queue entries, as a part of SQL."""

    sql: str = ""
    """The ids of entries from `:low` to `:high`; empty for all of them."""
    values: list[Value] = []
    width: int = _FEW
    """How many entries are looked at first; 0: all at once."""
    scans: bool = False
    """Whether every entry between two numbers is looked at."""

    def within(self, low: int, high: int) -> tuple[str, list[Value]]:
        """The condition for an entry `e` of this source between two numbers."""
        between: list[Value] = [low, high]
        if not self.sql:
            return "e.id BETWEEN ? AND ?", between
        return f"e.id IN ({self.sql})", [*between, *self.values]


_PIECES = f"""
WITH RECURSIVE span (low, high) AS (SELECT ?, min(?, (SELECT max(id) FROM entry))),
piece (number) AS (
    SELECT low >> {PIECE_BITS} FROM span UNION ALL
    SELECT number + 1 FROM piece, span WHERE number < high >> {PIECE_BITS}
)
SELECT t.entry_id FROM span CROSS JOIN piece p CROSS JOIN term t
    ON t.piece = p.number AND t.hash IN (?, ?) AND t.entry_id BETWEEN span.low AND span.high
"""
_QUEUE_ID = """
WITH span (low, high) AS (SELECT ?, ?)
SELECT id FROM entry, span WHERE queue_id = ? AND id BETWEEN low AND high
"""


def source_of(wanted: Filter) -> Source:
    """The narrowest that a filter allows."""
    if wanted.queue_id is not None:
        return Source(_QUEUE_ID, [wanted.queue_id], width=0)
    if wanted.message_id is not None:
        forms = message_ids(wanted.message_id)
        hashes: list[Value] = [term("message-id", form) for form in (forms[0], forms[-1])]
        return Source(_PIECES, hashes, width=_PIECE)
    if wanted.recipient is not None:
        found = term("recipient", address_key(wanted.recipient))
        return Source(_PIECES, [found, found], width=_PIECE)
    if wanted.domain is not None:
        found = term("domain", address_key(f"@{wanted.domain}")[1:])
        return Source(_PIECES, [found, found])
    return Source(scans=True)
