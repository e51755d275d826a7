"""Tables of every earlier version become those of this one, with all that is in them.

What an earlier version held is what this one holds, in the tables and columns that it had.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pda.store import migrations, queries, schema, upkeep
from pda.store.accounts import PutUser, users
from pda.store.database import (
    SCHEMA,
    Connection,
    StoreError,
    Value,
    find_key,
    open_writer,
)
from pda.store.queries import Filter
from tests.support import Store, attempt, message

LATER = "4jXPlN1VQlzJbSX"
LINES = [
    *message(deliveries=[attempt(), attempt("bounced", to="b@example.org", dsn="5.1.1")]),
    *message(LATER, deliveries=[attempt("deferred", queue_id=LATER, dsn="4.2.2")]),
]


def columns(connection: Connection) -> dict[str, list[str]]:
    """By table."""
    named = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    tables = [str(name) for (name,) in connection.execute(named).fetchall()]
    return {
        table: [
            str(row[1]) for row in connection.execute(f'PRAGMA table_info("{table}")').fetchall()
        ]
        for table in tables
    }


def content(connection: Connection, of: dict[str, list[str]]) -> dict[str, list[tuple[Value, ...]]]:
    """What stands in these columns of these tables; blocks of addresses are made of the others."""
    return {
        table: sorted(
            connection.execute(f'SELECT {_list(names)} FROM "{table}"').fetchall(), key=repr
        )
        for table, names in of.items() if table != "address_block"
    }  # fmt: skip


def _list(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def of_version(folder: Path, version: int) -> Connection:
    """A database as that version made it, with what this one holds of such lines."""
    source = Store(folder / "source")
    source.add(LINES)
    source.make(PutUser("alice", "hash", "admin", ""))
    connection = open_writer(folder / "pda.db", find_key(folder / "pda.db", folder / "pda.key"))
    for migration in migrations.MIGRATIONS[:version]:
        migration(schema.view(connection))
    connection.execute(f"PRAGMA user_version = {version}")
    now = columns(source.connection)
    for table, names in columns(connection).items():
        shared = [name for name in names if name in now.get(table, ())]
        rows = source.connection.execute(f'SELECT {_list(shared)} FROM "{table}"').fetchall()
        marks = ",".join("?" * len(shared))
        connection.execute(f'DELETE FROM "{table}"')
        connection.executemany(f'INSERT INTO "{table}" ({_list(shared)}) VALUES ({marks})', rows)
    source.close()
    return connection


@pytest.mark.parametrize("version", range(1, SCHEMA + 1))
def test_from_every_earlier_version(tmp_path: Path, version: int) -> None:
    (tmp_path / "source").mkdir()
    connection = of_version(tmp_path, version)
    shape = columns(connection)
    before = content(connection, shape)
    connection.close()
    store = Store(tmp_path)
    now = columns(store.connection)
    kept = {
        table: [name for name in names if name in now[table]]
        for table, names in shape.items() if table in now
    }  # fmt: skip
    if kept == shape:
        assert content(store.connection, kept) == before
    assert _made(store.connection) == _fresh(tmp_path)
    store.add(LINES)  # known already
    with store.reading() as reading:
        assert len(queries.attempts(reading, Filter())) == 3
        assert [user.name for user in users(reading)] == ["alice"]
    assert upkeep.check(store.path, store.key) == []


def test_a_version_that_was_filled_has_what_it_is_filled_with(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    connection = of_version(tmp_path, 1)
    assert {table: len(rows) for table, rows in content(connection, columns(connection)).items()
            if table in {"entry", "attempt", "outcome", "user"}} == {
                "entry": 2, "attempt": 3, "outcome": 3, "user": 1,
            }  # fmt: skip


def test_a_migration_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    store.add(LINES)
    before = _made(store.connection)

    def broken(database: object) -> None:
        store.connection.execute("CREATE TABLE half (x)")
        store.connection.execute("SELECT nothing")

    monkeypatch.setattr(migrations, "MIGRATIONS", [*migrations.MIGRATIONS, broken])
    monkeypatch.setattr(schema, "MIGRATIONS", migrations.MIGRATIONS)
    with pytest.raises(StoreError, match="nothing was changed"):
        schema.migrate(store.connection)
    assert _made(store.connection) == before


def _made(connection: Connection) -> set[tuple[Value, ...]]:
    """Everything that has a name, and its columns."""
    tables = {(table, *names) for table, names in columns(connection).items()}
    named = "SELECT type, name, tbl_name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
    return tables | set(connection.execute(named).fetchall())


def _fresh(folder: Path) -> set[tuple[Value, ...]]:
    (folder / "fresh").mkdir()
    store = Store(folder / "fresh")
    try:
        return _made(store.connection)
    finally:
        store.close()
