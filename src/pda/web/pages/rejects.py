"""Who was refused at the door: by reason, and the latest ones.

Owns how many refusals are looked at for a page and how they are grouped.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec
from quart import Response
from quart.app import Quart

from pda.store import rejects
from pda.store.database import Connection
from pda.store.rejects import RejectFilter, RejectRow
from pda.web.asking import Asker
from pda.web.pages import figures
from pda.web.pages.charts import Chart, Series
from pda.web.pages.layout import Layout
from pda.web.pages.view import HOUR, MINUTE, View

_MOST: Final = 5000
_SHOWN: Final = 50
_GROUPS: Final = 20


class Rejects(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows of the store."""

    rows: list[RejectRow]
    is_all: bool
    """Whether there are no more in the range."""
    chart: Chart

    @property
    def latest(self) -> list[RejectRow]:
        return self.rows[:_SHOWN]

    @property
    def reasons(self) -> list[tuple[str, int, RejectRow]]:
        """Stage and code, how often, and the last one; most frequent first."""
        counts = Counter(_reason(row) for row in self.rows)
        last = {_reason(row): row for row in reversed(self.rows)}
        return [(name, count, last[name]) for name, count in counts.most_common(_GROUPS)]


class RejectsPage:
    """Answers `/rejects`."""

    def __init__(self, asker: Asker, layout: Layout) -> None:
        self._asker = asker
        self._layout = layout

    def register(self, app: Quart) -> None:
        """Takes its path."""
        app.add_url_rule("/rejects", "rejects_page", self.show)

    async def show(self) -> Response:
        """Those of the range, the latest first."""
        view = self._layout.view()
        found = await self._asker.ask(rejects_of, view)
        return await self._layout.page("rejects.html", view, found=found)


def rejects_of(connection: Connection, view: View) -> Rejects:
    """What there is to show."""
    time = figures.period(view, MINUTE if view.is_short else HOUR)
    wanted = RejectFilter(client=view.client, host=view.host, since=time.since, until=view.until)
    page = rejects.page(connection, wanted, "", _MOST)
    counts = Counter((row.at - time.since) // time.step for row in page.rows)
    values = [counts[number] for number in range(len(time.starts))]
    chart = Chart(
        id="refused",
        title="Refused",
        description="messages and recipients that were refused",
        starts=time.starts,
        step=time.step,
        series=[Series("hard", "refused", values)],
    )
    return Rejects(rows=page.rows, is_all=page.next is None, chart=chart)


def _reason(row: RejectRow) -> str:
    return f"{row.action} {row.reply_code} {row.dsn} at {row.stage}".replace("  ", " ")
