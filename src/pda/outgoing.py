"""What the service sends by itself: the outbox, and who fills it.

Owns which parts there are, and that all of them hear of what is new. Alerts go the same way, by
carriers of their own.
"""

from __future__ import annotations

import trio

from pda import config
from pda.destinations import Destinations
from pda.news import News
from pda.outbox import Make, Outbox
from pda.store.readers import Readers
from pda.web.asking import Asker
from pda.webhooks import Webhooks


class Outgoing:
    """The outbox of one service."""

    def __init__(self, readers: Readers, make: Make, settings: config.Settings) -> None:
        self.asker = Asker(readers, settings.http.timeout_s)
        self.make = make
        self.outbox = Outbox(self.asker, make)
        self.webhooks = Webhooks(
            self.asker,
            make,
            self.outbox,
            Destinations(settings.webhooks.allow_private),
            settings.webhooks.give_up_h * 3600,
        )

    def wake(self) -> None:
        """Something was changed that may concern one of them."""
        self.webhooks.wake()

    async def run(self, news: News) -> None:
        """Until it is cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.outbox.run)
            nursery.start_soon(self.webhooks.run, news)
