"""What the feed of changed outcomes needs beside the outcomes: those that are none any more.

Owns the shape of `withdrawn`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database

# In the order of the changes, as the feed reads them. The entry may have gone, so the row says
# itself what it was about; `born` is when that began.
_WITHDRAWN = """
CREATE TABLE withdrawn (
    change INTEGER PRIMARY KEY, entry_id INTEGER NOT NULL, recipient TEXT NOT NULL,
    address TEXT, client_id INTEGER NOT NULL, host_id INTEGER NOT NULL, queue_id TEXT NOT NULL,
    born INTEGER NOT NULL
)
"""


def migrate(database: Database) -> None:
    """Adds the table; what was withdrawn before it was there nobody can have read."""
    database.execute(_WITHDRAWN)
