"""Parts of a body: the next one is read while the one before is on its way, and no more."""

from __future__ import annotations

import pytest
import trio

from pda.web.ahead import Ahead
from tests.receive.support import until


class Parts:
    """Numbers up to a last one."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.read = [0]
        self.may_encode = trio.Event()

    async def following(self, part: int) -> int | None:
        if part == self.last:
            return None
        self.read.append(part + 1)
        return part + 1

    async def octets(self, part: int) -> bytes:
        await self.may_encode.wait()
        return b"%d" % part

    def body(self) -> Ahead[int]:
        return Ahead(0, self.following, self.octets)


async def test_all_in_their_order() -> None:
    parts = Parts(20)
    parts.may_encode.set()
    async with parts.body() as body:
        assert [octets async for octets in body] == [b"%d" % number for number in range(21)]


async def test_one_ahead(autojump_clock: object) -> None:
    parts = Parts(20)
    async with parts.body() as body, trio.open_nursery() as nursery:
        found: list[bytes] = []

        async def take() -> None:
            found.append(await anext(aiter(body)))

        nursery.start_soon(take)
        await until(lambda: parts.read == [0, 1])
        await trio.sleep(100)  # until nobody does anything
        assert parts.read == [0, 1]
        assert not found
        parts.may_encode.set()
    assert found == [b"0"]


async def test_who_goes_stops_it() -> None:
    parts = Parts(10**9)
    parts.may_encode.set()
    async with parts.body() as body:
        async for octets in body:
            if octets == b"3":
                break
    assert len(parts.read) <= 6


async def test_a_part_that_fails_ends_it() -> None:
    async def fail(part: int) -> int:
        raise LookupError(part)

    parts = Parts(3)
    parts.may_encode.set()
    with pytest.RaisesGroup(LookupError):
        async with Ahead(0, fail, parts.octets) as body:
            async for _ in body:
                pass
