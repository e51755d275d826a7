"""A body that is made while what was made before is sent.

Owns the task that makes it. Knows nothing of what it says.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TypeAlias

import trio
from quart.wrappers.response import ResponseBody

Sink: TypeAlias = trio.MemorySendChannel[bytes]


class Stream(ResponseBody):
    """The pieces that `make` sends, each as soon as the one before it was taken.

    A generator could not do so: Trio forbids a nursery around a `yield`.
    """

    def __init__(self, make: Callable[[Sink], Awaitable[None]]) -> None:
        self._make = make
        self._entered = AsyncExitStack()
        self._sink, self._pieces = trio.open_memory_channel[bytes](0)

    async def __aenter__(self) -> Stream:
        nursery = await self._entered.enter_async_context(trio.open_nursery())
        self._entered.callback(nursery.cancel_scope.cancel)  # whoever reads may have gone
        nursery.start_soon(self._run)
        return self

    async def __aexit__(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType
    ) -> None:
        await self._entered.__aexit__(kind, error, trace)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    async def _run(self) -> None:
        await self._make(self._sink)
        self._sink.close()  # not where that failed: it would look like the end
