"""Edits are whole, with their entry in the audit, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pda.store import accounts, audit
from pda.store.accounts import PutUser, RemoveUser
from pda.store.audit import Author, Deed
from pda.store.database import Connection, DatabaseError
from pda.store.edits import NotThereError
from tests.support import NOW, Store, attempt

ANN = Author("user ann", "192.0.2.1")


class Marked(msgspec.Struct, frozen=True):
    """Writes a mark, and then fails if it shall."""

    statement: str = "SELECT 1"
    worth_telling: bool = True

    def write(self, connection: Connection, at: int) -> int:
        connection.execute("INSERT INTO meta VALUES ('mark', ?)", (at,))
        connection.execute(self.statement)
        return 17

    def deed(self, result: int) -> Deed | None:
        return Deed("mark", str(result)) if self.worth_telling else None


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.close()


def marks(store: Store) -> list[object]:
    with store.reading() as connection:
        return list(connection.execute("SELECT value FROM meta WHERE name = 'mark'").fetchall())


def told(store: Store) -> list[audit.AuditRow]:
    with store.reading() as connection:
        return audit.rows(connection)


def test_an_edit_and_its_entry(store: Store) -> None:
    assert store.make(Marked(), ANN, 5) == 17
    assert marks(store) == [(5,)]
    (row,) = told(store)
    assert row == audit.AuditRow(1, 5, "user ann", "192.0.2.1", "mark", "17", "")


def test_an_edit_that_is_not_worth_an_entry(store: Store) -> None:
    store.make(Marked(worth_telling=False), ANN)
    assert len(marks(store)) == 1
    assert told(store) == []


def test_an_edit_that_fails_leaves_nothing(store: Store) -> None:
    with pytest.raises(DatabaseError):
        store.make(Marked("SELECT * FROM nowhere"), ANN)
    assert marks(store) == told(store) == []
    store.add([attempt()])  # and the writer goes on
    assert len(store.everything()["attempts"]) == 1


def test_an_edit_whose_entry_cannot_be_written_is_not_made(store: Store) -> None:
    with pytest.raises(DatabaseError):
        store.make(Marked("DROP TABLE audit"), ANN)
    assert marks(store) == told(store) == []


def test_users(store: Store) -> None:
    assert store.make(PutUser("ann", "h1", "client", "shop"), ANN)
    assert not store.make(PutUser("ann", "h2", "admin"), ANN)
    with store.reading() as connection:
        assert accounts.users(connection) == [accounts.UserRow("ann", "h2", "admin", "")]
    store.make(RemoveUser("ann"), ANN)
    with pytest.raises(NotThereError, match="no user 'ann'"):
        store.make(RemoveUser("ann"), ANN)
    assert [(row.action, row.target, row.detail) for row in told(store)] == [
        ("remove user", "ann", ""),
        ("change user", "ann", "role admin"),
        ("add user", "ann", "role client of client shop"),
    ]


def test_the_audit_in_pages(store: Store) -> None:
    for number in range(5):
        store.make(PutUser(f"u{number}", "h", "reader"), ANN, NOW + number)
    with store.reading() as connection:
        first = audit.rows(connection, limit=2)
        assert [row.target for row in first] == ["u4", "u3"]
        rest = audit.rows(connection, before=first[-1].id)
        assert [row.target for row in rest] == ["u2", "u1", "u0"]


def test_a_target_is_erased_in_any_case(store: Store) -> None:
    store.make(PutUser("Ann@Example.org", "h", "reader"), ANN)
    audit.erase(store.connection, "ann@example.org", "erased")
    assert [row.target for row in told(store)] == ["erased"]
