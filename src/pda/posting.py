"""A signed POST to somebody's URL.

Owns headers, signature and what counts as arrived. Knows neither who is told nor what.
"""

from __future__ import annotations

import hashlib
import hmac
import ssl
import time

import httpx
import trio

from pda.destinations import Destinations, RefusedError
from pda.outbox import DeliveryError

_TIMEOUT_S = 20.0


class Posting:
    """Sends to URLs that lead to where something may be sent to."""

    def __init__(self, destinations: Destinations) -> None:
        self.trusted: ssl.SSLContext = httpx.create_ssl_context()
        """Authorities of receivers."""
        self._destinations = destinations

    async def post(self, url: str, secret: str, delivery: str, body: bytes) -> None:
        """It has arrived when this returns; raises `DeliveryError`."""
        try:
            status = await self._post(url, secret, delivery, body)
        except RefusedError as error:
            raise DeliveryError(str(error)) from None
        except httpx.HTTPError as error:
            raise DeliveryError(f"no answer ({type(error).__name__})") from None
        if not 200 <= status < 300:
            raise DeliveryError(f"the receiver answers {status}", for_good=status == 410)

    async def _post(self, url: str, secret: str, delivery: str, body: bytes) -> int:
        """The status of the answer; nothing else of it is read."""
        there = await self._destinations.resolve(url)
        timestamp = str(int(time.time()))
        headers = {
            "Host": there.host,
            "Content-Type": "application/json",
            "User-Agent": "pda",
            "Pda-Delivery": delivery,
            "Pda-Timestamp": timestamp,
            "Pda-Signature": signature(secret, timestamp, body),
        }
        client = httpx.AsyncClient(verify=self.trusted, trust_env=False, timeout=_TIMEOUT_S)
        named = {"sni_hostname": there.name}
        request = client.build_request(
            "POST", there.url, content=body, headers=headers, extensions=named
        )
        with trio.move_on_after(_TIMEOUT_S):
            async with client:
                answer = await client.send(request, stream=True)
                await answer.aclose()
                return answer.status_code
        raise DeliveryError(f"no answer within {_TIMEOUT_S:.0f} seconds")


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """HMAC-SHA256 with the secret over `TIMESTAMP.BODY`."""
    text = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()
