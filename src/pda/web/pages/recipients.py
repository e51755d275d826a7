"""One recipient: what became of mail to this address, and whether to go on mailing it.

Owns what is shown of an address: its state now, its history, why attempts failed.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec
from quart import Response
from quart.app import Quart

from pda.store import queries
from pda.store.database import Connection
from pda.store.queries import AttemptRow, Filter, OutcomeRow
from pda.web.asking import Asker
from pda.web.pages.layout import Layout
from pda.web.pages.outcomes import HOPS, Tally, tally
from pda.web.pages.view import ALWAYS, View

_OUTCOMES: Final = 100
_ATTEMPTS: Final = 200


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows of the store."""

    outcomes: list[OutcomeRow]
    """The latest ones, the latest first."""
    is_all: bool
    """Whether there are no more."""
    reasons: list[tuple[str, int, AttemptRow]]
    """Category, number of attempts, and the last of them."""
    delays: list[float]
    """Seconds of accepted attempts, sorted."""

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

    @property
    def delay(self) -> float:
        """Half of the accepted attempts took no longer."""
        return self.delays[len(self.delays) // 2] if self.delays else 0.0


class RecipientsPage:
    """Answers `/recipients/ADDRESS`."""

    def __init__(self, asker: Asker, layout: Layout) -> None:
        self._asker = asker
        self._layout = layout

    def register(self, app: Quart) -> None:
        """Takes its path."""
        app.add_url_rule("/recipients/<path:address>", "recipient_page", self.show)

    async def show(self, address: str) -> Response:
        """All about an address that one may see."""
        view = self._layout.view()
        found = await self._asker.ask(recipient_of, view, address)
        return await self._layout.page("recipient.html", view, address=address, found=found)


def recipient_of(connection: Connection, view: View, address: str) -> Recipient:
    """What there is to show."""
    wanted = Filter(
        client=view.client,
        host=view.host,
        recipient=address,
        since=None if view.preset == ALWAYS else view.since,
        until=None if view.preset else view.until,
    )
    page = queries.outcomes_page(connection, wanted, limit=_OUTCOMES)
    attempts = queries.attempts_page(connection, wanted, limit=_ATTEMPTS).rows
    return Recipient(
        outcomes=sorted(page.rows, key=lambda one: -one.last_at),
        is_all=page.next is None,
        reasons=_reasons(attempts),
        delays=sorted(one.delay for one in attempts if one.status == "sent"),
    )


def _reasons(attempts: list[AttemptRow]) -> list[tuple[str, int, AttemptRow]]:
    failed = [one for one in attempts if one.category]
    counts = Counter(one.category for one in failed)
    last = {one.category: one for one in sorted(failed, key=lambda one: one.at)}
    return [(str(category), count, last[category]) for category, count in counts.most_common()]
