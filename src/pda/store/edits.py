"""What somebody asks to be changed: one transaction for each edit, with its entry in the audit.

Owns how an edit is made. Each is a small frozen struct in a module of `store`, beside the table
that it changes: it holds all that is needed, writes itself, and says what the audit tells of it.
One that can be ordered over the control socket has a tag and stands in `orders.Edit`.

    class RemoveThing(msgspec.Struct, frozen=True, tag="remove-thing"):
        name: str

        def write(self, connection: Connection, at: int) -> None:
            if not connection.execute("DELETE … RETURNING 1", (self.name,)).fetchall():
                raise NotThereError(f"there is no thing {self.name!r}")

        def deed(self, result: None) -> Deed:
            return Deed("remove thing", self.name)

Only the one writer makes it. A page or an API asks by `await editor.make(RemoveThing(name))`
(`web.editing`), a command by `cli_shared.edited(settings, RemoveThing(name))`, the service itself
by `await rooms.make(edit, Author("pda"))`. All of it comes to `rooms.Rooms.make`, which holds the
writer's lock: nothing else is written meanwhile, and lines wait for it as for any transaction.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from pda.store import audit
from pda.store.audit import Author, Deed
from pda.store.database import Connection, transaction

T = TypeVar("T")
_T_co = TypeVar("_T_co", covariant=True)


class NotThereError(Exception):
    """What is to be changed is not there; a sentence for the one who asks."""


class Edit(Protocol[_T_co]):
    """One thing to be changed, with all that is needed for it."""

    def write(self, connection: Connection, at: int, /) -> _T_co:
        """Changes it (`at`: µs since the epoch); an exception leaves everything as it was."""

    def deed(self, result: Any, /) -> Deed | None:
        """What the audit says of it, knowing what came of it; None where it says nothing."""


def make(connection: Connection, edit: Edit[T], by: Author, at: int) -> T:
    """Makes an edit whole, with its entry in the audit, or not at all."""
    with transaction(connection):
        result = edit.write(connection, at)
        if (deed := edit.deed(result)) is not None:
            audit.put(connection, deed, by, at)
    return result
