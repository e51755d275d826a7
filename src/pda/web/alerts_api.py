"""`/api/v1/alerts`: what is wrong now, and what was lately.

Owns its parameters and members. What is wrong is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from pda.store import alerts
from pda.store.alerts import About, Alert, Kind, Sample
from pda.times import rfc3339
from pda.web.asking import Asker
from pda.web.auth import Principal
from pda.web.routes import Operation
from pda.web.values import When, stamp


class OneAlert(msgspec.Struct, frozen=True, kw_only=True):
    """Something wrong."""

    id: int
    kind: Kind
    about: Annotated[About, Meta(description="What `name` is the name of.")]
    name: str
    raised_at: When
    cleared_at: Annotated[When | None, Meta(description="None while it is open.")]
    sent_at: Annotated[When, Meta(description="When it was told last; the figures are of then.")]
    value: Annotated[
        float,
        Meta(description="A share (0–1) of mails, failures, seconds, or the free share of a disk."),
    ]
    limit: Annotated[float, Meta(description="From which on it is wrong.")]
    usual: Annotated[float | None, Meta(description="In the seven days before, where known.")]
    count: int
    of: Annotated[int, Meta(description="The share as numbers.")]
    text: str
    samples: Annotated[
        Sequence[Sample], Meta(description="The most frequent reasons, addresses masked.")
    ]


class Alerts(msgspec.Struct, frozen=True):
    """The open ones, then the others, latest first."""

    alerts: Sequence[OneAlert]


class Wanted(msgspec.Struct, frozen=True):
    """Which ones."""

    limit: Annotated[int, Meta(ge=1, le=1000, description="Alerts at the most.")] = 100


class AlertsApi:
    """Tells the alerts."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    @Operation("GET", "/api/v1/alerts")
    async def alerts(self, query: Wanted, principal: Principal) -> Alerts:
        """What is wrong now, and what was lately

        A client principal is told what is wrong with its own mail.
        """
        found = await self._asker.ask(alerts.alerts, principal.client_id, query.limit)
        return Alerts([_published(one) for one in found])


def _published(alert: Alert) -> OneAlert:
    return OneAlert(
        id=alert.id,
        raised_at=rfc3339(alert.raised_at),
        cleared_at=stamp(alert.cleared_at),
        sent_at=rfc3339(alert.sent_at),
        samples=alert.samples,
        **msgspec.structs.asdict(alert.finding),
    )
