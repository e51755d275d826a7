"""The interpreter in a process that reads many lines."""

from __future__ import annotations

import weakref

import trio

from pda.tuning import tidy


class Circle:
    """Refers to itself."""

    def __init__(self) -> None:
        self.itself = self


async def test_what_refers_to_itself_goes(autojump_clock: trio.testing.MockClock) -> None:
    circle = weakref.ref(Circle())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tidy)
        await trio.sleep(61)
        nursery.cancel_scope.cancel()
    assert circle() is None
