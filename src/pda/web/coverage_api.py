"""`/api/v1/coverage`: how complete the picture is, beside the figures.

Owns its members. Pages ask the store themselves.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from pda.store.coverage import ENTRIES, coverage
from pda.web.asking import Asker
from pda.web.auth import Principal
from pda.web.ports import Service
from pda.web.routes import Operation
from pda.web.values import When, publisher, stamp


class Gap(msgspec.Struct, frozen=True):
    """A time of an hour or more in which no message of a mail host began."""

    host: str
    since: When
    until: When


class Coverage(msgspec.Struct, frozen=True):
    """What is missing of the messages that were heard of last, and of the lines."""

    entries: Annotated[
        int, Meta(description=f"Queue entries looked at: the last {ENTRIES}, or your part of them.")
    ]
    since: Annotated[When | None, Meta(description="When the oldest of them began.")]
    headless: Annotated[int, Meta(description="Entries whose beginning was never seen.")]
    unfinished: Annotated[
        int, Meta(description="Entries that should have left the queue and were not seen to.")
    ]
    short: Annotated[
        int, Meta(description="Entries with fewer recipients than the queue manager counted.")
    ]
    recipients_missing: Annotated[int, Meta(description="Of these, together.")]
    gaps: Annotated[Sequence[Gap], Meta(description="The longest ones first.")]
    fates: Annotated[Mapping[str, int] | None, Meta(description="Each line once; see the README.")]
    kernel_drops: Annotated[int | None, Meta(description="Datagrams that the kernel dropped.")]
    lost_before: Annotated[
        Mapping[str, int] | None,
        Meta(description="Lines that a mail host's own syslog daemon says it has lost."),
    ]


_gap: Final = publisher(Gap)


class CoverageApi:
    """Says how much may be missing."""

    def __init__(self, service: Service, asker: Asker) -> None:
        self._service = service
        self._asker = asker

    @Operation("GET", "/api/v1/coverage")
    async def coverage(self, principal: Principal) -> Coverage:
        """How complete the picture is.

        Of the lines a client principal is told nothing: they are everybody's.
        """
        client, now = principal.client_id, time.time_ns() // 1000
        found = await self._asker.ask(coverage, client, now)
        received = self._service.reception() if client is None else None
        return Coverage(
            entries=found.entries,
            since=stamp(found.since),
            headless=found.headless,
            unfinished=found.unfinished,
            short=found.short,
            recipients_missing=found.recipients_missing,
            gaps=[_gap(one) for one in found.gaps],
            fates=received.fates if received else None,
            kernel_drops=received.kernel_drops if received else None,
            lost_before=received.lost_before if received else None,
        )
