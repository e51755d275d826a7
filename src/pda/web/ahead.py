"""A body in parts, of which the next one is read while the one before is encoded and sent.

Owns that order, and that no more than these are in memory, however slow the reader is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Generic, TypeVar

import trio
from quart.wrappers.response import ResponseBody

_T = TypeVar("_T")


class Ahead(ResponseBody, AsyncIterator[bytes], Generic[_T]):
    """Parts: the first one, what follows on one (None at the end), and the octets of each."""

    def __init__(
        self,
        first: _T,
        following: Callable[[_T], Awaitable[_T | None]],
        octets: Callable[[_T], Awaitable[bytes]],
    ) -> None:
        self._first = first
        self._following = following
        self._octets = octets
        self._reading = trio.open_nursery()

        self._to_come, self._read_so_far = trio.open_memory_channel[_T](0)

    async def __aenter__(self) -> AsyncIterator[bytes]:
        self._nursery = await self._reading.__aenter__()
        self._nursery.start_soon(self._read)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._nursery.cancel_scope.cancel()
        await self._reading.__aexit__(kind, error, trace)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            part = await self._read_so_far.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
        return await self._octets(part)

    async def _read(self) -> None:
        with self._to_come as following:  # at once: whoever waits is not told of an end too early
            part: _T | None = self._first
            while part is not None:
                await following.send(part)
                part = await self._following(part)
