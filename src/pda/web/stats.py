"""`/api/v1/stats`: counts, rates, delays and top lists over time.

Owns their parameters and members. What is counted, and by what, is for the store to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from pda.store import queries
from pda.store.database import Connection
from pda.store.queries import Scope
from pda.store.queries.stats import StatsError
from pda.web.asking import Asker
from pda.web.auth import Principal
from pda.web.errors import Invalid, Mistake
from pda.web.routes import Operation
from pda.web.rules_api import encoded
from pda.web.values import Moment, Text, When, publisher, stamp

_Delivered: TypeAlias = Annotated[
    float | None, Meta(description="Of recipients whose outcome is known, from 0 to 1.")
]
_Bounced: TypeAlias = Annotated[float | None, Meta(description="Likewise, of all kinds.")]


class ScopeQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What is counted."""

    client: Annotated[Text | None, Meta(description="The client id.")] = None
    host: Annotated[Text | None, Meta(description="The mail host.")] = None
    domain: Annotated[Text | None, Meta(description="Of recipients; by day only.")] = None
    provider: Annotated[Text | None, Meta(description="Who runs the relays.")] = None
    since: Annotated[Moment | None, Meta(description="Not before; to the hour or day.")] = (
        msgspec.field(default=None, name="from")
    )
    until: Annotated[Moment | None, Meta(description="Not after; to the hour or day.")] = (
        msgspec.field(default=None, name="to")
    )


_Step: TypeAlias = Literal["hour", "day", "whole"]
_STEP = Meta(description="Hours and days are those of UTC; `whole`: all the time as one.")


class SeriesQuery(ScopeQuery, frozen=True, kw_only=True):
    """What is counted, in which steps."""

    step: Annotated[_Step, _STEP] = "day"
    by: Annotated[
        Literal["client", "domain", "provider", "host", "category", "status"] | None,
        Meta(description="One count for each of these."),
    ] = None


class DelaysQuery(ScopeQuery, frozen=True, kw_only=True):
    """Which attempts, in which steps."""

    step: Annotated[_Step, _STEP] = "whole"


class TopQuery(ScopeQuery, frozen=True, kw_only=True):
    """The most frequent of what."""

    of: Annotated[
        Literal["client", "domain", "provider", "host", "category", "reason"],
        Meta(description="Of what."),
    ] = "domain"
    limit: Annotated[int, Meta(ge=1, le=1000, description="How many at the most.")] = 20


class Counts(msgspec.Struct, frozen=True):
    """How many of each. A message's recipients are counted by what became of them."""

    messages: Annotated[
        int, Meta(description="Taken in; 0 by domain, provider, category and status.")
    ]
    attempts: Annotated[int, Meta(description="Of which sent, deferred, bounced:")]
    sent: int
    deferred: int
    bounced: int
    pending: Annotated[int, Meta(description="Recipients, as all that follow.")]
    delivered: Annotated[int, Meta(description="At the first try.")]
    finally_ok: int
    soft_bounce: int
    hard_bounce: int
    undetermined_bounce: int
    expired: int
    held: int
    discarded: int


class Point(msgspec.Struct, frozen=True):
    """What was counted in a step of time, of a group."""

    at: Annotated[When | None, Meta(description="Its beginning; null: all the time.")]
    group: Annotated[str, Meta(description="What `by` asks for.")]
    counts: Counts
    delivery_rate: _Delivered
    bounce_rate: _Bounced


class Series(msgspec.Struct, frozen=True):
    """Counts by time and group; steps without anything are left out."""

    series: Sequence[Point]


class Top(msgspec.Struct, frozen=True):
    """One of the most frequent."""

    name: Annotated[str, Meta(description="Of a reason the rule that knows it.")]
    counts: Counts
    category: Annotated[str, Meta(description="Of a reason; else empty.")]
    example: Annotated[str, Meta(description="The last reply of a reason, as logged.")]
    delivery_rate: _Delivered
    bounce_rate: _Bounced


class TopList(msgspec.Struct, frozen=True):
    """Those with the most attempts; of categories and reasons those with the most failures."""

    top: Sequence[Top]


class Percentiles(msgspec.Struct, frozen=True):
    """Seconds that half, nine tenths and 99 of 100 did not exceed, to about a tenth."""

    p50: float
    p90: float
    p99: float


class Delay(msgspec.Struct, frozen=True):
    """How long accepted attempts took, since their messages arrived, and in which stage."""

    at: Annotated[When | None, Meta(description="The step's beginning; null: all the time.")]
    attempts: int
    total: Percentiles
    before_queue: Percentiles
    in_queue: Percentiles
    setup: Annotated[Percentiles, Meta(description="DNS, TCP, HELO and TLS.")]
    transmission: Percentiles


class Delays(msgspec.Struct, frozen=True):
    """Delays by time."""

    delays: Sequence[Delay]


_counts, _delay = publisher(Counts), publisher(Delay)


class Statistics:
    """Counts, for programs."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    @Operation("GET", "/api/v1/stats", answers=Series)
    async def stats(self, query: SeriesQuery, principal: Principal) -> msgspec.Raw:
        """Counts and rates by hour or day, and by what `by` says.

        Hours are counted by client and by provider, each alone; days by client, host, provider and
        category, and by client and domain. What is not counted so is refused (400).
        """
        return await self._asker.ask(_series, _scope(query, principal), query)

    @Operation("GET", "/api/v1/stats/top", answers=TopList)
    async def stats_top(self, query: TopQuery, principal: Principal) -> msgspec.Raw:
        """The most frequent domains, providers, clients, hosts, categories or reasons."""
        return await self._asker.ask(_top, _scope(query, principal), query)

    @Operation("GET", "/api/v1/stats/delays", answers=Delays)
    async def stats_delays(self, query: DelaysQuery, principal: Principal) -> msgspec.Raw:
        """How long deliveries took: percentiles of the whole delay and of each of its stages.

        They are kept of hours by client, of days by client, host and provider.
        """
        return await self._asker.ask(_delays, _scope(query, principal), query)


def _scope(query: ScopeQuery, principal: Principal) -> Scope | None:
    """What is counted; None where it is a client that the principal does not see: nothing."""
    own = principal.client_id
    if own is not None and query.client not in (None, own):
        return None
    given = {name: getattr(query, name) for name in Scope.__struct_fields__ if name != "client"}
    return Scope(client=query.client if own is None else own, **given)


@contextmanager
def _countable() -> Iterator[None]:
    """Says of a question that it is not counted so: the mistake is in the combination."""
    try:
        yield
    except StatsError as error:
        raise Invalid([Mistake("query", "", str(error))]) from None


def _series(connection: Connection, scope: Scope | None, query: SeriesQuery) -> msgspec.Raw:
    with _countable():
        found = queries.series(connection, scope, query.step, query.by or "") if scope else []
    return encoded(Series([Point(stamp(one.at), one.group, *_told(one.counts)) for one in found]))


def _top(connection: Connection, scope: Scope | None, query: TopQuery) -> msgspec.Raw:
    with _countable():
        found = queries.top(connection, scope, query.of, query.limit) if scope else []
    told = ((one, *_told(one.counts)) for one in found)
    return encoded(
        TopList([Top(one.name, c, one.category, one.example, *rates) for one, c, *rates in told])
    )


def _delays(connection: Connection, scope: Scope | None, query: DelaysQuery) -> msgspec.Raw:
    with _countable():
        found = queries.delays(connection, scope, query.step) if scope else []
    return encoded(Delays([_delay(one) for one in found]))


def _told(counts: queries.Counts) -> tuple[Counts, float | None, float | None]:
    """Counts, and the rates of recipients delivered to and bounced."""
    made = _counts(counts)
    delivered = made.delivered + made.finally_ok
    bounced = made.soft_bounce + made.hard_bounce + made.undetermined_bounce
    known = delivered + bounced + made.expired
    rates = (round(delivered / known, 4), round(bounced / known, 4)) if known else (None, None)
    return made, *rates
