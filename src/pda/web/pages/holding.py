"""Answers that hold for a minute: what takes long to find out and changes slowly.

Owns how long, and how many are remembered. Who may see an answer is part of its key.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

_HOLDS_S: Final = 60.0
_MOST: Final = 100

_K = TypeVar("_K", bound=Hashable)
_T = TypeVar("_T")


class Held(Generic[_K, _T]):
    """Answers to one question, by what it is asked with."""

    def __init__(
        self, ask: Callable[[_K], Awaitable[_T]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._known: dict[_K, tuple[float, _T]] = {}

    async def of(self, key: _K) -> _T:
        """The answer, not older than a minute. Raises what asking raises."""
        now = self._clock()
        if key in self._known and self._known[key][0] >= now - _HOLDS_S:
            return self._known[key][1]
        answer = await self._ask(key)
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[key] = now, answer
        return answer
