"""What advises against mailing an address: evidence out of the outcomes, and what people say.

Owns nothing but the order: the tables belong to `bounced` and `suppressions`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pda.store import bounced, suppressions

if TYPE_CHECKING:
    from sqlite_utils import Database


def migrate(database: Database) -> None:
    """Adds the tables, with the evidence of all that is stored."""
    for statement in (*bounced.TABLES, suppressions.TABLE):
        database.execute(statement)
    bounced.recompute(database.conn)
