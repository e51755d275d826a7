"""Questions to the store, asked from Trio: in threads, bounded in number and time.

Owns the way of a question to a reading connection and back, and its interruption when nobody waits
for the answer any more. Knows no question.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Concatenate, Generic, ParamSpec, TypeVar

import trio

from pda.slow import slow
from pda.store.database import Connection
from pda.store.readers import Readers

_P = ParamSpec("_P")
_T = TypeVar("_T")


class TooSlow(Exception):  # noqa: N818 it says what happened
    """The answer was not there in time."""


class Asker:
    """Asks at most as many questions at a time as there are reading connections."""

    def __init__(self, readers: Readers, timeout: float) -> None:
        self._readers = readers
        self._timeout = timeout
        self._limiter = trio.CapacityLimiter(readers.size)
        self._heavy = trio.CapacityLimiter(max(1, readers.size // 2))

    async def ask(
        self,
        question: Callable[Concatenate[Connection, _P], _T],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        """The answer; `question` runs in a thread. Raises `TooSlow`.

        What it makes of the rows belongs into it too: a long list would hold up the event loop.
        """
        running = _Running(
            getattr(question, "__qualname__", "of a request"),
            lambda connection: question(connection, *args, **kwargs),
        )
        with trio.move_on_after(self._timeout):
            try:
                return await trio.to_thread.run_sync(
                    self._readers.call, running, abandon_on_cancel=True, limiter=self._limiter
                )
            except trio.Cancelled:
                running.interrupt()
                raise
        raise TooSlow

    async def ask_much(
        self,
        question: Callable[Concatenate[Connection, _P], _T],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        """The same for a question that may take long: half of the connections are left to others.

        Raises `TooSlow`, also where others of its kind do not let it begin in time.
        """
        with trio.move_on_after(self._timeout):
            async with self._heavy:
                return await self.ask(question, *args, **kwargs)
        raise TooSlow


class _Running(Generic[_T]):
    """A question that can be interrupted while, and only while, it has the connection."""

    def __init__(self, name: str, question: Callable[[Connection], _T]) -> None:
        self._name = name
        self._question = question
        self._lock = Lock()
        self._connection: Connection | None = None
        self._unwanted = False

    def __call__(self, connection: Connection) -> _T:
        with self._lock:
            self._connection = connection
            if self._unwanted:
                raise TooSlow
        try:
            with slow(f"the question {self._name}"):
                return self._question(connection)
        finally:
            with self._lock:
                self._connection = None

    def interrupt(self) -> None:
        with self._lock:
            self._unwanted = True
            if self._connection is not None:
                self._connection.interrupt()
