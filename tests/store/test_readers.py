"""Reading connections that are shared."""

from __future__ import annotations

from pathlib import Path

import pytest

from pda.store import queries
from pda.store.database import DatabaseError, forget_pages
from pda.store.queries import Filter
from pda.store.readers import Readers
from tests.support import Store, attempt, message


def test_what_was_read_wrongly_is_read_again(tmp_path: Path) -> None:
    """A disk that gave zeros, for all pages but the first, is well again."""
    store = Store(tmp_path)
    store.add(message(deliveries=[attempt()]))
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    readers = Readers(store.path, store.key, 1)
    readers.call(forget_pages)
    whole = store.path.read_bytes()
    store.path.write_bytes(whole[:8192].ljust(len(whole), b"\0"))
    with pytest.raises(DatabaseError, match="malformed"):
        readers.call(queries.attempts, Filter())
    store.path.write_bytes(whole)
    assert len(readers.call(queries.attempts, Filter())) == 1
    readers.close()
    store.close()
