"""`/api/v1/webhooks`: who is told of what changes, so that nobody has to ask.

Owns their parameters and members. What is sent, and when one is told no more, is the service's
business. A secret is shown once.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from pda.store import webhooks
from pda.store.webhooks import AddWebhook, EnableWebhook, RemoveWebhook
from pda.web.asking import Asker
from pda.web.auth import NOBODY, Principal
from pda.web.editing import Editor, author
from pda.web.errors import Invalid, Mistake, Refused
from pda.web.ports import Site
from pda.web.routes import Operation
from pda.web.values import When, stamp

_Number = Annotated[int, Meta(ge=0, le=2**62, description="Its `id`.")]
_GONE: Final = {404: "There is no such webhook, or it is not yours."}


class NewWebhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who wants to be told."""

    url: Annotated[
        str, Meta(max_length=2000, description="https, and at a public address unless allowed.")
    ]
    client: Annotated[
        str | None, Meta(description="Whose outcomes; null: of all that may be seen.")
    ] = None
    final: Annotated[
        bool,
        Meta(description="Only outcomes of which nothing more is expected; else every change."),
    ] = True


class Webhook(msgspec.Struct, frozen=True):
    """Somebody who is told of what changes."""

    id: int
    url: str
    client: Annotated[str | None, Meta(description="Whose outcomes; null: all.")]
    final: bool
    created_at: When | None
    who: Annotated[str, Meta(description="Added it.")]
    cursor: Annotated[str, Meta(description="Of the feed: up to there it was told, or is now.")]
    disabled_at: When | None
    disabled_why: str
    waiting_since: Annotated[When | None, Meta(description="When what it is told now was ready.")]
    tries: Annotated[int, Meta(description="That failed, of what it is told now.")]
    last_error: str


class AddedWebhook(msgspec.Struct, frozen=True):
    """A new webhook."""

    id: int
    secret: Annotated[
        str, Meta(description="Signs what is sent (HMAC-SHA256); it is not shown again.")
    ]


class WebhookList(msgspec.Struct, frozen=True):
    """By number."""

    webhooks: Sequence[Webhook]


class WebhooksApi:
    """Webhooks, for programs."""

    def __init__(self, site: Site, asker: Asker) -> None:
        self._service = site.service
        self._editor = Editor(site.service)
        self._asker = asker

    @Operation("GET", "/api/v1/webhooks")
    async def webhooks(self, principal: Principal) -> WebhookList:
        """Who is told, how far, and what does not arrive."""
        found = await self._asker.ask(webhooks.webhooks, principal.client_id)
        return WebhookList([_published(one) for one in found])

    @Operation("POST", "/api/v1/webhooks", status=201)
    async def add_webhook(self, body: NewWebhook, principal: Principal) -> AddedWebhook:
        """Tells a URL of outcomes, from now on.

        Requests are POST, with up to 100 changes as in `/api/v1/outcomes/changes`. One that is not
        answered by 2xx comes again, later and later, with the same `Pda-Delivery`.
        """
        client = principal.client_of(body.client)
        if client == NOBODY:
            raise Refused(404, "there is no such client")
        _only_writers(principal)
        try:
            await self._service.check_destination(body.url)
        except ValueError as error:
            raise Invalid([Mistake("body", "url", str(error))]) from None
        secret = f"pdawh_{secrets.token_hex(32)}"
        edit = AddWebhook(client or "", body.url, secret, body.final, author().who)
        return AddedWebhook(await self._editor.make(edit), secret)

    @Operation("DELETE", "/api/v1/webhooks/{number}", errors=_GONE)
    async def remove_webhook(self, number: _Number, principal: Principal) -> None:
        """Tells it no more, and forgets it."""
        _only_writers(principal)
        await self._editor.make(RemoveWebhook(number, principal.client_id))

    @Operation("POST", "/api/v1/webhooks/{number}/enable", errors=_GONE)
    async def enable_webhook(self, number: _Number, principal: Principal) -> None:
        """Tells it again, from where it stopped."""
        _only_writers(principal)
        await self._editor.make(EnableWebhook(number, principal.client_id))


def _only_writers(principal: Principal) -> None:
    if principal.role == "reader":
        raise Refused(403, "this needs the role admin, or that of the client")


def _published(one: webhooks.Webhook) -> Webhook:
    return Webhook(
        id=one.id,
        url=one.url,
        client=one.client or None,
        final=one.final,
        created_at=stamp(one.created_at),
        who=one.who,
        cursor=str(one.cursor),
        disabled_at=stamp(one.disabled_at),
        disabled_why=one.disabled_why,
        waiting_since=stamp(one.waiting_since),
        tries=one.tries,
        last_error=one.last_error,
    )
