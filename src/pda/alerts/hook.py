"""Alerts by webhook: channel `alert` of the outbox.

Owns where to and the secret. The URL is the operator's own and may lead anywhere.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from pda.config import AlertSettings
from pda.destinations import Destinations
from pda.outbox import DeliveryError
from pda.posting import Posting
from pda.store.outbox import Item

KIND = "alert"


class Hook:
    """Posts alerts to one URL, signed."""

    def __init__(self, settings: Callable[[], AlertSettings]) -> None:
        self.posting = Posting(Destinations(("0.0.0.0/0", "::/0")))
        self._settings = settings

    async def send(self, url: str, item: Item) -> None:
        """It has arrived when this returns; raises `DeliveryError`."""
        file = trio.Path(self._settings().webhook_secret_file)
        try:
            secret = (await file.read_text("utf-8")).strip()
        except OSError as error:
            raise DeliveryError(f"[alerts] webhook_secret_file: {error.strerror}") from None
        await self.posting.post(url, secret, str(item.id), item.body)
