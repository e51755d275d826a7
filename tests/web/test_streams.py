"""A body that is made while it is sent: ahead by one piece, and gone with who reads it."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from pda.web.streams import Sink, Stream


async def test_pieces_come_in_order() -> None:
    async def make(sink: Sink) -> None:
        for piece in (b"a", b"b", b"c"):
            await sink.send(piece)

    async with Stream(make) as body:
        assert [piece async for piece in body] == [b"a", b"b", b"c"]


async def test_the_next_piece_is_made_while_one_is_sent() -> None:
    made: list[int] = []

    async def make(sink: Sink) -> None:
        for number in range(100):
            made.append(number)
            await sink.send(b"%d" % number)

    async with Stream(make) as body:
        pieces = body.__aiter__()
        assert await anext(pieces) == b"0"
        await trio.testing.wait_all_tasks_blocked()
        assert made == [0, 1]  # and no more: what is sent slowly is not heaped up


async def test_who_makes_it_ends_with_who_reads_it() -> None:
    ended = trio.Event()

    async def make(sink: Sink) -> None:
        try:
            while True:
                await sink.send(b"x")
        finally:
            ended.set()

    async with Stream(make) as body:
        assert await anext(body.__aiter__()) == b"x"
    assert ended.is_set()


async def test_a_body_that_cannot_be_made_is_cut_off() -> None:
    async def make(sink: Sink) -> None:
        await sink.send(b"x")
        raise OSError("the disk has gone")

    whole: list[list[bytes]] = []

    async def read() -> None:
        async with Stream(make) as body:
            whole.append([piece async for piece in body])

    with pytest.raises(ExceptionGroup) as found:
        await read()
    assert found.group_contains(OSError)
    assert not whole
