"""`/api/v1/outcomes/changes` and `/api/v1/stream`: what became of recipients, as it becomes known.

Owns their parameters and members, and how somebody waits: for the news of a commit, and never by
asking the database again and again. What the feed is, is said in `store.feed`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
import trio
from msgspec import Meta
from quart import Response, request

from pda.maillog import events
from pda.store import feed
from pda.store.database import Connection, DatabaseError
from pda.web.asking import Asker, TooSlow
from pda.web.auth import Principal
from pda.web.errors import Invalid, Mistake, Refused
from pda.web.gate import admission
from pda.web.ports import Site
from pda.web.routes import Operation
from pda.web.values import Text, When, publisher

_MOST: Final = 10_000
_LONGEST_WAIT_S: Final = 60
_TOGETHER_S: Final = 0.1
"""Commits come in bursts: one question for several."""
_HEART_BEAT_S: Final = 15.0
_PIECE: Final = 500
"""Events of a stream that are read and sent at a time."""
_LATEST: Final = "latest"
_EVENTS: Final = "text/event-stream"

State: TypeAlias = Literal[
    "pending",
    "delivered",
    "finally-ok",
    "soft-bounce",
    "hard-bounce",
    "undetermined-bounce",
    "expired",
    "held",
    "discarded",
    "withdrawn",
]
assert {one.label for one in events.State} - {"handed-on"} | {"withdrawn"} == set(
    State.__args__  # type: ignore[attr-defined]
)


class Change(msgspec.Struct, frozen=True):
    """What became of one recipient of a message."""

    change: Annotated[int, Meta(description="Its number; a later change has a greater one.")]
    key: Annotated[str, Meta(description="Names message and recipient, and stays the same.")]
    id: Annotated[int, Meta(description="Of the message: `/api/v1/messages/{id}`.")]
    host: Annotated[str, Meta(description="The mail host.")]
    queue_id: str
    client_id: str
    message_id: Annotated[str, Meta(description="As logged, brackets included.")]
    msg_id: Annotated[str, Meta(description="The sender's own id, if it is in the Message-ID.")]
    sender: str | None
    recipient: str
    state: Annotated[
        State,
        Meta(
            description="`withdrawn`: what was told of this `key` before counts no more, as the"
            " message goes on as another one or is another client's."
        ),
    ]
    final: Annotated[bool, Meta(description="Nothing more is expected.")]
    first_at: When | None
    last_at: When | None
    attempts: int
    bounce_type: Literal["soft", "hard", "undetermined"] | None = None
    category: str | None = None
    rule: str | None = None
    dsn: Annotated[str | None, Meta(description="Of the last failure.")] = None
    reply: Annotated[str | None, Meta(description="Of the last failure, as logged.")] = None


class Changes(msgspec.Struct, frozen=True):
    """A piece of the feed."""

    changes: Sequence[Change]
    cursor: Annotated[str, Meta(description="Where to read on: the next `after`.")]
    more: Annotated[bool, Meta(description="There is more already: read on at once.")]


class StreamQuery(msgspec.Struct, frozen=True):
    """Whose outcomes."""

    client: Annotated[Text | None, Meta(description="Only this client's.")] = None
    final: Annotated[
        bool, Meta(description="Only states of which nothing more is expected, and `withdrawn`.")
    ] = False
    after: Annotated[
        str,
        Meta(
            description="The `cursor` (or `Last-Event-ID`) of what was read last; `0` begins with"
            " the oldest, `latest` with what comes next.",
            pattern=r"^(\d{1,18}|latest)$",
        ),
    ] = _LATEST


class ChangesQuery(StreamQuery, frozen=True):
    """Where to read on, and how long to wait."""

    after: Annotated[
        str,
        Meta(
            description="The `cursor` of the answer before; `0` begins with the oldest, `latest`"
            " with what comes next.",
            pattern=r"^(\d{1,18}|latest)$",
        ),
    ] = "0"
    wait: Annotated[
        float,
        Meta(ge=0, le=_LONGEST_WAIT_S, description="Seconds to wait where there is nothing new."),
    ] = 0.0
    limit: Annotated[int, Meta(ge=1, le=_MOST, description="Changes at the most.")] = 1000


publish = publisher(Change)
"""A change of the store as the API tells it."""
_GONE: Final = {410: "This database never gave that cursor: it is another one, or a restored copy."}


class Feed:
    """Tells what changes."""

    def __init__(self, site: Site, asker: Asker) -> None:
        self._news = site.service.news
        self._asker = asker
        self._waiting = 0
        self._most_waiting = max(1, site.settings.most_requests // 2)
        """Who waits counts among the requests that are answered: the others are for who asks."""

    @Operation("GET", "/api/v1/outcomes/changes", answers=Changes, errors=_GONE)
    async def changes(self, query: ChangesQuery, principal: Principal) -> msgspec.Raw:
        """What became of recipients since a cursor.

        Every outcome comes at least once, and again when it changes: with a new number, at the end.
        Who reads on from the last cursor may miss a state that was left meanwhile, and never the
        last one. Where there is nothing new the answer waits, if wanted, for the next commit.
        """
        client = principal.client_of(query.client)
        cursor = await self._begin(query.after)
        is_admitted = admission()
        if query.wait:
            self._require_room()
            with self._one_more(), trio.move_on_after(query.wait):
                await self._wait(cursor, client, final=query.final)
            if not await is_admitted():
                raise Refused(401, "you may not ask any more: log in again")
        return await self._asker.ask(_encoded, cursor, query.limit, client, final=query.final)

    @Operation("GET", "/api/v1/stream", answers={_EVENTS: str}, errors=_GONE)
    async def stream(self, query: StreamQuery, principal: Principal) -> Response:
        """The same as server-sent events.

        Each event `outcome` has a change as its data and the cursor as its id: a browser's
        EventSource resumes by itself, others by the header `Last-Event-ID`. A comment and the
        cursor come every 15 seconds; the stream ends when the service stops, and when its user or
        token is removed.
        """
        client = principal.client_of(query.client)
        self._require_room()
        cursor = await self._begin(request.headers.get("Last-Event-ID") or query.after)
        response = Response(
            self._events(cursor, client, admission(), final=query.final),
            content_type=_EVENTS,
            headers={"X-Accel-Buffering": "no"},
        )
        response.timeout = None
        return response

    async def _begin(self, after: str) -> int:
        last = await self._asker.ask(feed.last_change)
        if after == _LATEST:
            return last
        if not (after.isdecimal() and after.isascii()):
            raise Invalid([Mistake("header", "Last-Event-ID", "is no cursor")])
        if int(after) > last:
            raise Refused(410, _GONE[410])
        return int(after)

    async def _wait(self, cursor: int, client: str | None, *, final: bool) -> None:
        """Until there is something new, or will be nothing more."""
        while not self._news.closed:
            found = await self._asker.ask(feed.changes, cursor, 1, client, final=final)
            if found.changes or found.more:
                return
            cursor = self._news.quiet_to(found.cursor, client)
            await self._news.beyond(cursor, client)
            await trio.sleep(_TOGETHER_S)

    async def _events(
        self,
        cursor: int,
        client: str | None,
        is_admitted: Callable[[], Awaitable[bool]],
        *,
        final: bool,
    ) -> AsyncIterator[bytes]:
        """Pieces, as fast as they are taken, while there are any and who asks is let in."""
        with self._one_more():
            yield b"retry: 2000\n\n"
            while not self._news.closed:
                try:
                    if not await is_admitted():
                        return
                    found, octets = await self._asker.ask(_events, cursor, client, final=final)
                except (TooSlow, DatabaseError):
                    return  # who reads comes again, and resumes
                cursor = found.cursor
                if octets:
                    yield octets
                if not found.more and not await self._hears(cursor, client):
                    cursor = self._news.quiet_to(cursor, client)
                    yield f":\nid: {cursor}\n\n".encode()

    async def _hears(self, cursor: int, client: str | None) -> bool:
        """Whether there is something new before the next heart-beat."""
        with trio.move_on_after(_HEART_BEAT_S) as waiting:
            await self._news.beyond(cursor, client)
            await trio.sleep(0 if self._news.closed else _TOGETHER_S)
        return not waiting.cancelled_caught

    def _require_room(self) -> None:
        if self._waiting >= self._most_waiting:
            raise Refused(503, "too many wait for changes already", {"Retry-After": "10"})

    @contextmanager
    def _one_more(self) -> Iterator[None]:
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1


def _encoded(
    connection: Connection, after: int, limit: int, client: str | None, *, final: bool
) -> msgspec.Raw:
    found = feed.changes(connection, after, limit, client, final=final)
    answer = Changes([publish(one) for one in found.changes], str(found.cursor), found.more)
    return msgspec.Raw(msgspec.json.encode(answer))


def _events(
    connection: Connection, after: int, client: str | None, *, final: bool
) -> tuple[feed.Changes, bytes]:
    found = feed.changes(connection, after, _PIECE, client, final=final)
    return found, b"".join(_event(publish(one)) for one in found.changes)


def _event(change: Any) -> bytes:
    return b"id: %d\nevent: outcome\ndata: %b\n\n" % (change.change, msgspec.json.encode(change))
