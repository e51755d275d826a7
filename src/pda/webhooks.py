"""Tells webhooks what changes: out of the feed into the outbox, and from there to their URLs.

Owns what is sent, and when a webhook is told no more. Each has one item in the
outbox at a time; whatever changes meanwhile waits in the feed, so that a receiver that is away for
a week costs no more than one that is not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import trio

from pda.destinations import Destinations
from pda.news import News
from pda.outbox import PDA, Make, Outbox, again
from pda.posting import Posting
from pda.store import feed, webhooks
from pda.store.outbox import Item
from pda.store.webhooks import DisableWebhook, TellWebhook, Webhook
from pda.web.asking import Asker
from pda.web.feed import publish

_MOST_CHANGES = 100
"""In one request."""
_TOGETHER_S = 0.5
"""After a commit: more may come."""


class Webhooks:
    """The carrier of channels `webhook ID`."""

    def __init__(
        self,
        asker: Asker,
        make: Make,
        outbox: Outbox,
        destinations: Destinations,
        give_up_after_s: float,
    ) -> None:
        self.give_up_after_s = give_up_after_s
        self.posting = Posting(destinations)
        self._asker = asker
        self._make = make
        self._outbox = outbox
        self._read_to: dict[int, int] = {}
        self._woken = trio.Event()
        outbox.take("webhook", self)

    def wake(self) -> None:
        """Webhooks are others than before, or have been told."""
        self._woken.set()
        self._outbox.wake()

    async def run(self, news: News) -> None:
        """Looks for what they have to be told, at every commit, until it is cancelled."""
        while not news.closed:
            self._woken = trio.Event()
            last = await again(self._asker.ask, feed.last_change)
            for webhook in await again(self._asker.ask, webhooks.idle):
                await again(self._tell, webhook)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_first, nursery, self._woken.wait)
                nursery.start_soon(_first, nursery, lambda last=last: news.beyond(last, None))
            await trio.sleep(_TOGETHER_S)

    async def _tell(self, webhook: Webhook) -> None:
        """Puts what is new for it into the outbox."""
        client = webhook.client or None
        after = max(self._read_to.get(webhook.id, 0), webhook.cursor)
        found = feed.Changes([], after, more=True)
        while found.more and not found.changes:
            found = await self._asker.ask(
                feed.changes, found.cursor, _MOST_CHANGES, client, final=webhook.final
            )
        self._read_to[webhook.id] = found.cursor
        if found.changes:
            body = {"webhook": webhook.id, "changes": [publish(one) for one in found.changes]}
            await self._make(TellWebhook(webhook.id, found.cursor, msgspec.json.encode(body)), PDA)
            self._outbox.wake()

    async def deliver(self, item: Item) -> None:
        """Sends it; raises `DeliveryError`."""
        webhook = await again(self._asker.ask, webhooks.webhook, _number(item))
        if webhook is None:
            return
        await self.posting.post(webhook.url, webhook.secret, str(item.id), item.body)

    async def given_up(self, item: Item, why: str) -> None:
        """It is told no more."""
        await self._make(DisableWebhook(_number(item), why), PDA)

    async def delivered(self, item: Item) -> None:  # noqa: ARG002
        """There may be more for it."""
        self.wake()


def _number(item: Item) -> int:
    return int(item.channel.partition(" ")[2])


async def _first(nursery: trio.Nursery, event: Callable[[], Awaitable[None]]) -> None:
    """Ends the waiting for the others."""
    await event()
    nursery.cancel_scope.cancel()
