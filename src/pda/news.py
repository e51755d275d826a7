"""News of commits: whoever waits for changes is woken by the transaction that holds them.

Owns who waits. Knows no database: nobody who waits has to look there before there is something.
"""

from __future__ import annotations

from collections.abc import Iterable

import trio


class News:
    """Tells of changes, of all or of one client's mail."""

    def __init__(self) -> None:
        self._told = trio.Event()
        self._last = 0
        self._last_of: dict[str, int] = {}
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether there will be no more."""
        return self._closed

    def tell(self, change: int, clients: Iterable[str]) -> None:
        """All changes up to this number can be read; the last ones were about these clients."""
        self._last_of.update(dict.fromkeys(clients, change))
        self._last = change
        self._wake()

    def close(self) -> None:
        """Nobody has to wait any more."""
        self._closed = True
        self._wake()

    async def beyond(self, change: int, client: str | None) -> None:
        """Waits until something beyond that number can be read, or until there will be no more."""
        while not self.closed and self._newest(client) <= change:
            await self._told.wait()

    def quiet_to(self, change: int, client: str | None) -> int:
        """The number up to which nothing more concerns whoever has read up to `change`."""
        return change if self._newest(client) > change else max(change, self._last)

    def _newest(self, client: str | None) -> int:
        return self._last if client is None else self._last_of.get(client, 0)

    def _wake(self) -> None:
        told, self._told = self._told, trio.Event()
        told.set()
