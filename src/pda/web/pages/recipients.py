"""One recipient: what became of mail to this address, and whether to go on mailing it.

Owns what is shown of an address (its state now, its history, why attempts failed, the advice on it)
and the form by which somebody says otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec
from quart import Response, g, request
from quart.app import Quart

from pda.maillog.events import address_key
from pda.store import queries
from pda.store.database import Connection
from pda.store.queries import Filter, OutcomeRow
from pda.store.suppressions import (
    Advice,
    Mail,
    SayOfAddress,
    Suppression,
    Thresholds,
    UnsayOfAddress,
)
from pda.web.asking import Asker
from pda.web.auth import Principal
from pda.web.editing import Editor, author
from pda.web.errors import Refused
from pda.web.pages.layout import Layout
from pda.web.pages.outcomes import HOPS, Tally, tally
from pda.web.pages.sample import Sample, sample
from pda.web.pages.view import ALWAYS, View
from pda.web.ports import Site

_OUTCOMES: Final = 100
_MOST_NOTE: Final = 500
_WORDS: Final[Mapping[str, Mail]] = {"never": "never", "allowed": "allowed"}


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows of the store."""

    outcomes: list[OutcomeRow]
    """The latest ones, the latest first."""
    is_all: bool
    """Whether there are no more."""
    sample: Sample
    advice: Suppression

    @property
    def tally(self) -> Tally:
        return tally(Counter(one.state for one in self.outcomes if one.state not in HOPS))

    @property
    def latest(self) -> OutcomeRow | None:
        return next((one for one in self.outcomes if one.state not in HOPS), None)

    @property
    def delivered_at(self) -> int:
        """When it was last delivered to; 0 where it never was."""
        good = (one.last_at for one in self.outcomes if one.state in ("delivered", "finally-ok"))
        return max(good, default=0)


class RecipientsPage:
    """Answers `/recipients/ADDRESS`."""

    def __init__(self, site: Site, asker: Asker, layout: Layout) -> None:
        self._asker = asker
        self._layout = layout
        self._editor = Editor(site.service)
        self._by = site.settings.suppressions

    def register(self, app: Quart) -> None:
        """Takes its path."""
        path = "/recipients/<path:address>"
        app.add_url_rule(path, "recipient_page", self.show)
        app.add_url_rule(path, "say_of_recipient", self.say, methods=["POST"])

    async def show(self, address: str) -> Response:
        """All about an address that one may see."""
        view = self._layout.view()
        found = await self._asker.ask(recipient_of, view, address, self._by)
        return await self._layout.page(
            "recipient.html",
            view,
            address=address,
            found=found,
            by=self._by,
            for_whom=_for_whom(g.principal, view),
        )

    async def say(self, address: str) -> Response:
        """Says that an address is never to be mailed, or may be; or takes that back."""
        view, key = self._layout.view(), address_key(address)
        form = await request.form
        client = _for_whom(g.principal, view)
        if client is None:
            raise Refused(403, "this needs the role admin, or that of the client")
        wanted, note = form.get("mail", ""), form.get("note", "").strip()[:_MOST_NOTE]
        if mail := _WORDS.get(wanted):
            await self._editor.make(SayOfAddress(key, client, mail, note, author().who))
        elif wanted == "unsay":
            await self._editor.make(UnsayOfAddress(key, client))
        else:
            raise Refused(400, "parameter 'mail' is never, allowed or unsay")
        return self._layout.back(view)


def _for_whom(principal: Principal, view: View) -> str | None:
    """For which client something may be said: empty for all, None where nothing may be."""
    if principal.client_id is not None:
        return principal.client_id
    return (view.client or "") if principal.is_admin else None


def recipient_of(connection: Connection, view: View, address: str, by: Thresholds) -> Recipient:
    """What there is to show."""
    wanted = Filter(
        client=view.client,
        host=view.host,
        recipient=address,
        since=None if view.preset == ALWAYS else view.since,
        until=None if view.preset else view.until,
    )
    key = address_key(address)
    page = queries.outcomes_page(connection, wanted, limit=_OUTCOMES)
    return Recipient(
        outcomes=sorted(page.rows, key=lambda one: -one.last_at),
        is_all=page.next is None,
        sample=sample(connection, wanted),
        advice=Advice(connection, view.client, by).of([key])[key],
    )
