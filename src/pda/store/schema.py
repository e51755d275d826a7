"""How tables of an older version become those of this one.

Owns the way from one version to the next, whose number is kept in `user_version`; the tables are
in `migrations`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pda.store.database import Connection, DatabaseError, StoreError, refuse_newer, transaction
from pda.store.driver import dbapi2
from pda.store.migrations import MIGRATIONS

if TYPE_CHECKING:
    from sqlite_utils import Database


def migrate(connection: Connection) -> None:
    """Brings the tables to this version; raises `StoreError` for those of a newer one."""
    version = refuse_newer(connection)
    for number, migration in enumerate(MIGRATIONS[version:], version + 1):
        try:
            with transaction(connection):
                migration(view(connection))
                connection.execute(f"PRAGMA user_version = {number}")
        except DatabaseError as error:
            raise StoreError(
                f"the tables cannot be brought to this version ({error}); nothing was changed"
            ) from error


def view(connection: Connection) -> Database:
    """The connection as sqlite-utils sees it, which is loaded only where there is a table to make.

    It takes module pysqlite3 in place of sqlite3 where it finds one; so it catches the exceptions
    of the driver in use.
    """
    sys.modules.setdefault("pysqlite3", dbapi2)
    sys.modules.setdefault("pysqlite3.dbapi2", dbapi2)
    from sqlite_utils import Database

    return Database(connection)  # type: ignore[arg-type]  # a DB-API connection
