"""Reading connections for many askers at a time.

Owns a bounded pool of connections that never block the writer. Knows no question: a function of
`queries` is handed in and called with a connection, in whatever thread asks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from queue import LifoQueue
from typing import Concatenate, ParamSpec, TypeVar

from pda.store.database import (
    READERS_CACHE,
    Connection,
    DatabaseError,
    Key,
    forget_pages,
    open_reader,
)

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Readers:
    """Up to `size` questions at a time; further ones wait in their threads."""

    def __init__(self, path: Path, key: Key, size: int = 4, *, cache: int = READERS_CACHE) -> None:
        """Each keeps up to so many KiB of pages (`cache`)."""
        self.size = size
        self._connections: LifoQueue[Connection] = LifoQueue()
        for _ in range(size):
            self._connections.put(open_reader(path, key, cache))

    def call(
        self,
        question: Callable[Concatenate[Connection, _P], _T],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        """The answer to a question of `queries`; blocks the calling thread."""
        connection = self._connections.get()
        try:
            return question(connection, *args, **kwargs)
        except DatabaseError:
            forget_pages(connection)
            raise
        finally:
            self._connections.put(connection)

    def close(self) -> None:
        """Closes the connections; nobody may ask any more."""
        for _ in range(self.size):
            self._connections.get().close()
