"""Reading connections for many askers at a time.

Owns a bounded pool of connections that never block the writer. Knows no question: a function of
`queries` is handed in and called with a connection, in whatever thread asks.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, LifoQueue
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
        self._asked: set[Connection] = set()
        self._warm: set[Connection] = set()
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
        self._asked.add(connection)
        try:
            return question(connection, *args, **kwargs)
        except DatabaseError:
            forget_pages(connection)
            raise
        finally:
            self._connections.put(connection)

    def rest(self) -> None:
        """What nobody has asked since the last call but one gives back its pages.

        To be called every few seconds: where lines come in, they are out of date by then.
        """
        warm, self._warm, self._asked = self._warm, self._asked, set()
        for connection in (idle := self._idle()):
            if connection in warm - self._warm:
                forget_pages(connection)
        for connection in reversed(idle):
            self._connections.put(connection)

    def _idle(self) -> list[Connection]:
        """Taken out of those that may be asked, the one that was asked last first."""
        found: list[Connection] = []
        with suppress(Empty):
            while True:
                found.append(self._connections.get_nowait())
        return found

    def close(self) -> None:
        """Closes the connections; nobody may ask any more."""
        for _ in range(self.size):
            self._connections.get().close()
