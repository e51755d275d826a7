"""`/api/v1/suppressions` and `/api/v1/lookup`: what is known of addresses, and advised about them.

Owns their parameters and members. What advice is, is said in `store.suppressions`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from pda.maillog.events import address_key
from pda.store import addresses, feed, suppressions
from pda.store.addresses import Known
from pda.store.database import Connection
from pda.store.suppressions import Advice, SayOfAddress, Thresholds, UnsayOfAddress
from pda.web.asking import Asker
from pda.web.auth import Principal
from pda.web.editing import Editor, author
from pda.web.errors import Invalid, Mistake, Refused
from pda.web.feed import Change, publish
from pda.web.ports import Site
from pda.web.routes import Operation
from pda.web.rules_api import encoded
from pda.web.values import Text, When, publisher, stamp

_MOST: Final = 10_000
_Address: TypeAlias = Annotated[str, Meta(min_length=1, max_length=1000)]
_Client: TypeAlias = Annotated[
    Text | None, Meta(description="Of this client's mail alone; else of all that may be seen.")
]


class Why(msgspec.Struct, frozen=True):
    """The failure that weighs most: the last hard one, else the last one."""

    at: When
    id: Annotated[int, Meta(description="Of the message: `/api/v1/messages/{id}`.")]
    host: str
    queue_id: str
    client_id: str
    message_id: str
    bounce_type: str
    category: str
    rule: str
    dsn: str
    reply: Annotated[str, Meta(description="As logged.")]


class Said(msgspec.Struct, frozen=True):
    """What somebody said of the address."""

    mail: Literal["never", "allowed"]
    note: str
    who: str
    at: When
    client: Annotated[str, Meta(description="For whom; empty: for all clients.")]


class Suppression(msgspec.Struct, frozen=True):
    """What is advised about an address."""

    recipient: str
    suppressed: Annotated[bool, Meta(description="Better not mailed.")]
    hard_messages: Annotated[int, Meta(description="Since the last delivery, as all counts here.")]
    hard_days: int
    soft_messages: int
    soft_days: int
    first_at: When | None
    last_at: When | None
    delivered_at: When | None
    why: Why | None
    said: Said | None


class Suppressions(msgspec.Struct, frozen=True):
    """Some suppressed addresses."""

    suppressions: Sequence[Suppression]
    next: Annotated[
        str | None,
        Meta(description="Goes on as `after`; null at the end. There may be more behind few."),
    ]


class SuppressionsQuery(msgspec.Struct, frozen=True):
    """Which."""

    client: _Client = None
    after: Annotated[str, Meta(description="The `next` of the page before.", max_length=1000)] = ""
    limit: Annotated[int, Meta(ge=1, le=_MOST, description="Addresses at the most.")] = 1000


class OfClient(msgspec.Struct, frozen=True):
    """Of whose mail."""

    client: _Client = None


class NewWord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is said of an address."""

    address: _Address
    mail: Annotated[
        Literal["never", "allowed"],
        Meta(
            description="`never`, until it is taken back; `allowed` counts as a delivery of this"
            " moment: what was before is no evidence any more."
        ),
    ]
    client: Annotated[str | None, Meta(description="For whom; null: for all clients.")] = None
    note: Annotated[str, Meta(max_length=1000, description="Why.")] = ""


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to look up; together at most 10,000."""

    addresses: Annotated[Sequence[_Address], Meta(max_length=_MOST)] = ()
    message_ids: Annotated[
        Sequence[_Address],
        Meta(max_length=_MOST, description="Message-IDs, with or without brackets, or msgIds."),
    ] = ()
    client: _Client = None


class LookedUp(msgspec.Struct, frozen=True):
    """What became of mail to an address, or of a message."""

    asked: Annotated[str, Meta(description="As it was asked for.")]
    messages: Annotated[int, Meta(description="0: nothing is known.")] = 0
    recipients: int = 0
    attempts: int = 0
    delivered: int = 0
    hard_bounces: int = 0
    soft_bounces: Annotated[int, Meta(description="Expired ones too.")] = 0
    first_at: When | None = None
    last_at: When | None = None
    delivered_at: When | None = None
    latest: Annotated[Change | None, Meta(description="What came last.")] = None
    hard_bounce: Annotated[Change | None, Meta(description="The last one.")] = None
    suppressed: Annotated[
        bool | None, Meta(description="Better not mailed; null for a message.")
    ] = None


class Lookup(msgspec.Struct, frozen=True):
    """In the order in which it was asked."""

    addresses: Sequence[LookedUp]
    message_ids: Sequence[LookedUp]


class Suppressing:
    """What is known of addresses, for programs."""

    def __init__(self, site: Site, asker: Asker) -> None:
        self._asker = asker
        self._editor = Editor(site.service)
        self._by = site.settings.suppressions

    @Operation("GET", "/api/v1/suppressions", answers=Suppressions)
    async def suppressions(self, query: SuppressionsQuery, principal: Principal) -> msgspec.Raw:
        """Addresses that are better not mailed, by address, and why.

        Final failures that are about the address count, since its last delivery; from how many on
        is set by `[suppressions]`. What somebody said of an address comes before.
        """
        client = principal.client_of(query.client)
        return await self._asker.ask_much(_page, client, self._by, query.after, query.limit)

    @Operation("GET", "/api/v1/suppressions/{address}", answers=Suppression)
    async def suppression(
        self,
        address: Annotated[str, Meta(description="The address.")],
        query: OfClient,
        principal: Principal,
    ) -> msgspec.Raw:
        """What is advised about an address, whether it is suppressed or not."""
        client = principal.client_of(query.client)
        return await self._asker.ask(_one, client, self._by, address_key(address))

    @Operation("POST", "/api/v1/suppressions")
    async def say_of_address(self, body: NewWord, principal: Principal) -> None:
        """Says that an address is never to be mailed, or may be.

        A client says so for itself, an admin for a client or for all.
        """
        client = _for_whom(principal, body.client)
        key, who = address_key(body.address), author().who
        await self._editor.make(SayOfAddress(key, client, body.mail, body.note, who))

    @Operation(
        "DELETE",
        "/api/v1/suppressions/{address}",
        errors={404: "Nothing was said of this address for this client."},
    )
    async def unsay_of_address(
        self,
        address: Annotated[str, Meta(description="The address.")],
        query: OfClient,
        principal: Principal,
    ) -> None:
        """Takes back what was said of an address; the evidence counts again."""
        client = _for_whom(principal, query.client)
        await self._editor.make(UnsayOfAddress(address_key(address), client))

    @Operation("POST", "/api/v1/lookup", answers=Lookup)
    async def lookup(self, body: Wanted, principal: Principal) -> msgspec.Raw:
        """What is known of up to 10,000 addresses or messages at once."""
        if len(body.addresses) + len(body.message_ids) > _MOST:
            raise Invalid([Mistake("body", "addresses", f"more than {_MOST} are asked for")])
        client = principal.client_of(body.client)
        return await self._asker.ask_much(_lookup, client, self._by, body)


def _for_whom(principal: Principal, client: str | None) -> str:
    """The client for which something is said; empty for all. Raises `Refused`."""
    if principal.client_id is not None:
        if client in (None, principal.client_id):
            return principal.client_id
        raise Refused(404, "there is no such client")
    if not principal.is_admin:
        raise Refused(403, "this needs the role admin, or that of the client")
    return client or ""


def _page(
    connection: Connection, client: str | None, by: Thresholds, after: str, limit: int
) -> msgspec.Raw:
    page = Advice(connection, client, by).page(after, limit)
    return encoded(Suppressions([_published(one) for one in page.suppressions], page.next))


def _one(connection: Connection, client: str | None, by: Thresholds, recipient: str) -> msgspec.Raw:
    (found,) = Advice(connection, client, by).of([recipient]).values()
    return encoded(_published(found))


_why, _said = publisher(Why), publisher(Said)


def _published(one: suppressions.Suppression) -> Suppression:
    return Suppression(
        recipient=one.recipient,
        suppressed=one.suppressed,
        hard_messages=one.hard_messages,
        hard_days=one.hard_days,
        soft_messages=one.soft_messages,
        soft_days=one.soft_days,
        first_at=stamp(one.first_at),
        last_at=stamp(one.last_at),
        delivered_at=stamp(one.delivered_at),
        why=_why(one.why) if one.why else None,
        said=_said(one.said) if one.said else None,
    )


def _lookup(
    connection: Connection, client: str | None, by: Thresholds, wanted: Wanted
) -> msgspec.Raw:
    keys = {one: address_key(one) for one in wanted.addresses}
    of_recipients = addresses.of_recipients(connection, keys.values(), client)
    of_messages = addresses.of_messages(connection, wanted.message_ids, client)
    known = [*of_recipients.values(), *of_messages.values()]
    numbers = {n for one in known for n in (one.latest, one.hard) if n is not None}
    changes = feed.by_number(connection, numbers)
    advice = Advice(connection, client, by).of([*set(keys.values())], of_recipients)
    return encoded(
        Lookup(
            [
                _looked_up(one, of_recipients.get(key), changes, suppressed=advice[key].suppressed)
                for one, key in ((one, keys[one]) for one in wanted.addresses)
            ],
            [_looked_up(one, of_messages.get(one), changes) for one in wanted.message_ids],
        )
    )


def _looked_up(
    asked: str,
    known: Known | None,
    changes: Mapping[int, Any],
    *,
    suppressed: bool | None = None,
) -> LookedUp:
    if known is None:
        return LookedUp(asked, suppressed=suppressed)
    latest, hard = changes.get(known.latest), changes.get(known.hard or 0)
    return LookedUp(
        asked=asked,
        messages=known.messages,
        recipients=known.recipients,
        attempts=known.attempts,
        delivered=known.delivered,
        hard_bounces=known.hard_bounces,
        soft_bounces=known.soft_bounces,
        first_at=stamp(known.first_at),
        last_at=stamp(known.last_at),
        delivered_at=stamp(known.delivered_at),
        latest=publish(latest) if latest else None,
        hard_bounce=publish(hard) if hard else None,
        suppressed=suppressed,
    )
