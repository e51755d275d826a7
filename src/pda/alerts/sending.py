"""How alerts are sent: by mail to each recipient, by webhook; out of the outbox, or at once.

Owns the destinations and what becomes of an item that is given up. Knows neither what is wrong nor
when that is told.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import msgspec
import trio

from pda.alerts import hook, mail, wording
from pda.alerts.course import Step
from pda.config import AlertSettings
from pda.outbox import PDA, DeliveryError, again
from pda.outgoing import Outgoing
from pda.store import outbox
from pda.store.alerts import Message
from pda.store.outbox import Item, ItemSent

log = logging.getLogger(__name__)

_GIVE_UP_S = 72 * 3600.0
"""News that are older help nobody."""


class Sending:
    """The carrier of channels `mail ADDRESS` and `alert URL`."""

    give_up_after_s = _GIVE_UP_S

    def __init__(self, outgoing: Outgoing, settings: Callable[[], AlertSettings]) -> None:
        self.mailer = mail.Mailer(settings)
        self.hook = hook.Hook(settings)
        self._outgoing = outgoing
        self._settings = settings
        self._moved = trio.Event()
        for kind in (mail.KIND, hook.KIND):
            outgoing.outbox.take(kind, self)

    def destinations(self) -> list[str]:
        """The channels of those who are to be told; none: alerts are off."""
        settings = self._settings()
        hooks = [f"{hook.KIND} {settings.webhook}"] if settings.webhook else []
        return [f"{mail.KIND} {address}" for address in settings.recipients] + hooks

    def messages(self, steps: Sequence[Step], host: str) -> list[Message]:
        """What each of them is sent."""
        bodies = {
            mail.KIND: msgspec.json.encode(wording.mail(steps, host)),
            hook.KIND: wording.objects(steps, host),
        }
        return [Message(one, bodies[one.partition(" ")[0]]) for one in self.destinations()]

    async def at_once(self, messages: Sequence[Message]) -> list[str]:
        """Sends without the outbox, each once; what came of it, in their order."""
        results = [""] * len(messages)

        async def send(number: int, message: Message) -> None:
            now = time.time_ns() // 1000
            try:
                await self.deliver(Item(0, message.channel, message.body, now, now, 0, ""))
            except DeliveryError as error:
                results[number] = f"{message.channel}: {error}"
                log.error("an alert cannot be sent: %s", error)
            else:
                results[number] = f"{message.channel}: sent"

        async with trio.open_nursery() as nursery:
            for number, message in enumerate(messages):
                nursery.start_soon(send, number, message)
        return results

    async def deliver(self, item: Item) -> None:
        """Sends it; raises `DeliveryError`."""
        kind, _, where = item.channel.partition(" ")
        if kind == mail.KIND:
            await self.mailer.send(where, item)
        else:
            await self.hook.send(where, item)

    async def given_up(self, item: Item, why: str) -> None:  # noqa: ARG002  the outbox has logged it
        """It is not kept: what comes after it matters more."""
        await self._outgoing.make(ItemSent(item.id), PDA)
        self._outgoing.outbox.wake()
        self._tell()

    async def delivered(self, item: Item) -> None:  # noqa: ARG002
        """Whoever waits for it looks again."""
        self._tell()

    def _tell(self) -> None:
        moved, self._moved = self._moved, trio.Event()
        moved.set()

    async def idle(self) -> None:
        """Until nothing about alerts is left to be sent."""
        kinds = (mail.KIND, hook.KIND)
        while True:
            moved = self._moved
            heads = await again(self._outgoing.asker.ask, outbox.heads)
            if not any(item.channel.partition(" ")[0] in kinds for item in heads):
                return
            await moved.wait()
