"""The API of pda, for Python: `Client`, and `AsyncClient` for Trio and asyncio.

Owns the way to an answer; the types are in `answers`. Knows nothing of the service; all it needs is
httpx and msgspec.

    with Client("http://127.0.0.1:1523", token=TOKEN) as pda:
        for outcome in pda.outcomes(client="newsletter"):
            print(outcome.recipient, outcome.category)
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import chain, repeat
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import quote

import anyio  # comes with httpx
import httpx
import msgspec

from pda.client.answers import (
    Attempt,
    Change,
    LookedUp,
    Lookup,
    Message,
    Outcome,
    Said,
    Suppression,
    Why,
)

__all__ = [
    "AsyncClient",
    "Attempt",
    "Change",
    "Client",
    "Feed",
    "LookedUp",
    "Lookup",
    "Message",
    "Outcome",
    "PdaError",
    "Said",
    "Suppression",
    "Why",
    "is_signed",
    "message_id",
]
_T = TypeVar("_T")
Value: TypeAlias = str | int | float | bool | datetime | None
_PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Before the feed is asked again, where it could not be; the last one as often as it takes."""


class PdaError(Exception):
    """The service has refused a request, and says why."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail


def message_id(client: str, number: object) -> str:
    """A Message-ID by which pda knows the sender (`client`), and you the message (`number`).

    To be set as the header Message-ID of a message that is handed to Postfix. Raises ValueError.
    """
    left, unique = str(number), secrets.token_hex(8)
    for text in (left, client):
        if not text or not text.isascii() or any(one <= " " or one in '@<>"' for one in text):
            raise ValueError(f"{text!r} cannot stand in a Message-ID")
    return f"<98494.{left}.{unique}@{client}>"


def is_signed(secret: str, headers: Mapping[str, str], body: bytes, within_s: float = 300) -> bool:
    """Whether a webhook's request is pda's, and not an old one; `body` as it came."""
    names = {name.lower(): value for name, value in headers.items()}
    at, signature = names.get("pda-timestamp", ""), names.get("pda-signature", "")
    if not at.isdecimal() or abs(time.time() - int(at)) > within_s:
        return False
    wanted = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(f"sha256={wanted}", signature)


# --- What both clients ask, and how they read the answer ----------------------------------------


class _List(Generic[_T]):
    """The pages of a list, one request after the other."""

    def __init__(self, kind: type[_T], name: str, filters: Mapping[str, Value]) -> None:
        self._kind, self._name, self._query = kind, name, _query(filters)
        self.done = False

    def request(self) -> dict[str, Any]:
        """The next page."""
        return {"method": "GET", "url": f"/api/v1/{self._name}", "params": self._query}

    def take(self, body: bytes) -> list[_T]:
        """Its rows."""
        page = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        after = msgspec.json.decode(page.get("next", b"null"), type=str | None)
        self._query["after"], self.done = after or "", after is None
        return msgspec.json.decode(page[self._name], type=list[self._kind])  # type: ignore[name-defined]


class Feed:
    """Where somebody is in the feed: `Feed(after=kept, final=True)`."""

    def __init__(self, after: str = "0", *, wait: float = 30, **filters: Value) -> None:
        self.cursor = after
        """Behind the last change that was dealt with."""
        self._query, self._wait = _query(filters), wait

    def request(self) -> dict[str, Any]:
        """What comes next."""
        query = self._query | {"after": self.cursor, "wait": str(self._wait)}
        timeout = httpx.Timeout(30, read=self._wait + 30)
        return {
            "method": "GET",
            "url": "/api/v1/outcomes/changes",
            "params": query,
            "timeout": timeout,
        }

    def take(self, body: bytes) -> Iterator[Change]:
        """Changes; each is dealt with when the next one is wanted."""
        page = msgspec.json.decode(body, type=_Changes)
        for change in page.changes:
            yield change
            self.cursor = str(change.change)
        self.cursor = page.cursor


class _Changes(msgspec.Struct, frozen=True):
    changes: list[Change]
    cursor: str


def _query(filters: Mapping[str, Value]) -> dict[str, str]:
    """As the API names and writes them; `since` and `until` are its `from` and `to`."""
    names = {"since": "from", "until": "to"}
    return {
        names.get(name, name): _text(value) for name, value in filters.items() if value is not None
    }


def _text(value: Value) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value).lower() if isinstance(value, bool) else str(value)


def _lookup(addresses: Iterable[str], message_ids: Iterable[str]) -> dict[str, Any]:
    wanted = {"addresses": [*addresses], "message_ids": [*message_ids]}
    return {"method": "POST", "url": "/api/v1/lookup", "content": msgspec.json.encode(wanted)}


def _suppression(address: str, client: str | None) -> dict[str, Any]:
    url = f"/api/v1/suppressions/{quote(address, safe='@')}"
    return {"method": "GET", "url": url, "params": _query({"client": client})}


def _body(response: httpx.Response) -> bytes:
    """What an answer says; raises `PdaError`."""
    if response.is_success:
        return response.content
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = response.reason_phrase
    raise PdaError(response.status_code, str(detail))


def _options(url: str, token: str, user: tuple[str, str] | None) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return {"base_url": url, "headers": headers, "auth": user, "timeout": 30}


def _pauses() -> Iterator[float]:
    return chain(_PAUSES_S, repeat(_PAUSES_S[-1]))


def _is_passing(error: Exception) -> bool:
    """Whether it is worth to try again: the service is away, or busy."""
    return not isinstance(error, PdaError) or error.status in (429, 502, 503, 504)


# --- The clients --------------------------------------------------------------------------------


class Client:
    """Asks the API; log in by `token`, or by `user` (name and password).

    Methods raise `PdaError` where the service refuses, and `httpx.HTTPError` where it is away.
    Filters are those of the API (/api), with `since` and `until` for its `from` and `to`.
    """

    def __init__(
        self, url: str, *, token: str = "", user: tuple[str, str] | None = None, **options: Any
    ) -> None:
        """`options` are those of `httpx.Client`."""
        self._http = httpx.Client(**(_options(url, token, user) | options))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def attempts(self, **filters: Value) -> Iterator[Attempt]:
        """Delivery attempts."""
        return self._list(_List(Attempt, "attempts", filters))

    def outcomes(self, **filters: Value) -> Iterator[Outcome]:
        """What became of recipients."""
        return self._list(_List(Outcome, "outcomes", filters))

    def messages(self, **filters: Value) -> Iterator[Message]:
        """Messages."""
        return self._list(_List(Message, "messages", filters))

    def suppressions(self, **filters: Value) -> Iterator[Suppression]:
        """Addresses that are better not mailed."""
        return self._list(_List(Suppression, "suppressions", filters))

    def suppression(self, address: str, client: str | None = None) -> Suppression:
        """What is advised about one address."""
        return msgspec.json.decode(self._ask(_suppression(address, client)), type=Suppression)

    def lookup(self, addresses: Iterable[str] = (), message_ids: Iterable[str] = ()) -> Lookup:
        """What is known of up to 10,000 addresses or messages."""
        return msgspec.json.decode(self._ask(_lookup(addresses, message_ids)), type=Lookup)

    def changes(self, feed: Feed) -> Iterator[Change]:
        """What changes, without end.

        Where the service is away it is asked again. `feed.cursor` is behind the last change that
        was dealt with: begin with it the next time, and nothing is missed.
        """
        pauses = _pauses()
        while True:
            try:
                body = self._ask(feed.request())
            except (PdaError, httpx.HTTPError) as error:
                if not _is_passing(error):
                    raise
                time.sleep(next(pauses))
                continue
            pauses = _pauses()
            yield from feed.take(body)

    def _list(self, pages: _List[_T]) -> Iterator[_T]:
        while not pages.done:
            yield from pages.take(self._ask(pages.request()))

    def _ask(self, request: dict[str, Any]) -> bytes:
        return _body(self._http.request(**request))


class AsyncClient:
    """The same for Trio and asyncio."""

    def __init__(
        self, url: str, *, token: str = "", user: tuple[str, str] | None = None, **options: Any
    ) -> None:
        """`options` are those of `httpx.AsyncClient`."""
        self._http = httpx.AsyncClient(**(_options(url, token, user) | options))

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    def attempts(self, **filters: Value) -> AsyncIterator[Attempt]:
        """Delivery attempts."""
        return self._list(_List(Attempt, "attempts", filters))

    def outcomes(self, **filters: Value) -> AsyncIterator[Outcome]:
        """What became of recipients."""
        return self._list(_List(Outcome, "outcomes", filters))

    def messages(self, **filters: Value) -> AsyncIterator[Message]:
        """Messages."""
        return self._list(_List(Message, "messages", filters))

    def suppressions(self, **filters: Value) -> AsyncIterator[Suppression]:
        """Addresses that are better not mailed."""
        return self._list(_List(Suppression, "suppressions", filters))

    async def suppression(self, address: str, client: str | None = None) -> Suppression:
        """What is advised about one address."""
        return msgspec.json.decode(await self._ask(_suppression(address, client)), type=Suppression)

    async def lookup(
        self, addresses: Iterable[str] = (), message_ids: Iterable[str] = ()
    ) -> Lookup:
        """What is known of up to 10,000 addresses or messages."""
        return msgspec.json.decode(await self._ask(_lookup(addresses, message_ids)), type=Lookup)

    async def changes(self, feed: Feed) -> AsyncGenerator[Change, None]:
        """What changes, without end; see `Client.changes`.

        Whoever leaves the loop closes it: `async with contextlib.aclosing(…)`.
        """
        pauses = _pauses()
        while True:
            try:
                body = await self._ask(feed.request())
            except (PdaError, httpx.HTTPError) as error:
                if not _is_passing(error):
                    raise
                await anyio.sleep(next(pauses))
                continue
            pauses = _pauses()
            for change in feed.take(body):
                yield change

    async def _list(self, pages: _List[_T]) -> AsyncIterator[_T]:
        while not pages.done:
            for row in pages.take(await self._ask(pages.request())):
                yield row

    async def _ask(self, request: dict[str, Any]) -> bytes:
        return _body(await self._http.request(**request))
