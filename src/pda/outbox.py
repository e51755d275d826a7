"""Sends what waits in the outbox, each item until it has arrived.

Owns when something is tried, and how often: of a channel one item at a time, in their order; after
a failure later and later. An item may arrive twice, never not at all: it is removed once it has
arrived. What is sent and how is for whoever takes the kind of channel.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from pda.store import outbox
from pda.store.audit import Author
from pda.store.database import DatabaseError
from pda.store.edits import Edit, T
from pda.store.outbox import Item, ItemFailed, ItemSent
from pda.web.asking import Asker, TooSlow

log = logging.getLogger(__name__)

PDA = Author("pda")
_FIRST_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 3600.0
_AT_ONCE = 10
_AGAIN_S = 5.0
"""After which the store is asked again that could not be asked or written."""


class DeliveryError(Exception):
    """Something did not arrive; a sentence that says why."""

    def __init__(self, why: str, *, for_good: bool = False) -> None:
        super().__init__(why)
        self.for_good = for_good
        """Nobody will want it later."""


class Carrier(Protocol):
    """Sends the items of one kind of channel."""

    give_up_after_s: float
    """How long an item is tried."""

    async def deliver(self, item: Item) -> None:
        """Sends it; raises `DeliveryError`."""

    async def given_up(self, item: Item, why: str) -> None:
        """It is not tried any more, unless `store.outbox.retry` says so."""

    async def delivered(self, item: Item) -> None:
        """It has arrived, and is in the outbox no more."""


class Make(Protocol):
    """Makes an edit: `Rooms.make`."""

    def __call__(self, edit: Edit[T], by: Author) -> Awaitable[T]: ...


class Outbox:
    """Sends items; whoever puts one there calls `wake`."""

    def __init__(self, asker: Asker, make: Make) -> None:
        self._asker = asker
        self._make = make
        self._carriers: dict[str, Carrier] = {}
        self._busy: set[str] = set()
        self._room = trio.CapacityLimiter(_AT_ONCE)
        self._woken = trio.Event()

    def take(self, kind: str, carrier: Carrier) -> None:
        """Items for channels `KIND …` are sent by this one."""
        self._carriers[kind] = carrier

    def wake(self) -> None:
        """There may be something new."""
        self._woken.set()

    async def run(self) -> None:
        """Until it is cancelled; what is being sent then is sent again the next time."""
        async with trio.open_nursery() as nursery:
            while True:
                self._woken = trio.Event()
                wait = await again(self._begin, nursery)
                with trio.move_on_after(wait):
                    await self._woken.wait()

    async def _begin(self, nursery: trio.Nursery) -> float:
        """Begins what is due; in how many seconds something else is."""
        now = time.time_ns() // 1000
        busy = frozenset(
            self._busy
        )  # what ends while the store is asked stands in its answer still
        for item in await self._asker.ask(outbox.heads):
            carrier = self._carriers.get(item.channel.partition(" ")[0])
            if item.channel in busy or carrier is None:
                continue
            if item.due_at > now:
                return (item.due_at - now) / 1e6
            self._busy.add(item.channel)
            nursery.start_soon(self._send, item, carrier)
        return float("inf")

    async def _send(self, item: Item, carrier: Carrier) -> None:
        try:
            async with self._room:
                await carrier.deliver(item)
        except DeliveryError as error:
            await self._failed(item, carrier, error)
        else:
            await again(self._make, ItemSent(item.id), PDA)
            await again(carrier.delivered, item)
        finally:
            self._busy.discard(item.channel)
            self.wake()

    async def _failed(self, item: Item, carrier: Carrier, error: DeliveryError) -> None:
        now = time.time_ns() // 1000
        tried_s = (now - item.created_at) / 1e6
        given_up = error.for_good or tried_s >= carrier.give_up_after_s
        due_at = outbox.NEVER if given_up else now + int(pause_s(item.tries) * 1e6)
        await again(self._make, ItemFailed(item.id, str(error), due_at), PDA)
        if given_up:
            log.error("%s is given up after %d tries: %s", item.channel, item.tries + 1, error)
            await again(carrier.given_up, item, str(error))


def pause_s(tries: int) -> float:
    """How long to wait after so many failures and one: twice as long each time, not all at once."""
    pause = min(_FIRST_PAUSE_S * 2.0 ** min(tries, 30), _LONGEST_PAUSE_S)
    return pause * random.uniform(0.8, 1.0)  # noqa: S311 it need not be secret


async def again(question: Callable[..., Awaitable[T]], *args: object) -> T:
    """Asks or writes until the store can be asked or written."""
    while True:
        try:
            return await question(*args)
        except (DatabaseError, TooSlow) as error:
            log.warning("the outbox has to wait for the store: %s", type(error).__name__)
            await trio.sleep(_AGAIN_S)
