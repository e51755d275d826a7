"""`/api/v1/outcomes`, `attempts` and `messages`: what became of the mail, as lists.

Owns their parameters, and how a page and a whole export are answered. What a row is, is in `rows`;
which rows there are and where a page ends is for the store to say. A client principal's own id
takes the place of any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, TypeAlias

import msgspec
import trio
from msgspec import Meta
from quart import Response, request

from pda.maillog import events
from pda.store import queries
from pda.store.database import Connection
from pda.store.queries import Bounds, ColumnsPage, CursorError, Filter, Part, Texts
from pda.web.asking import Asker
from pda.web.auth import Principal
from pda.web.errors import Invalid, Mistake
from pda.web.formats import MEDIA, Form, Members, Selectable, Wanted, chosen, fields_of
from pda.web.routes import JSON, Operation
from pda.web.rows import Attempt, BounceType, Message, Outcome, State
from pda.web.streams import Sink, Stream
from pda.web.values import Columns, Moment, Text, columns_publisher

_MOST: Final = 10_000
_USUAL: Final = 100
_EXPORTED: Final = 5_000
"""Rows of an export that are read and sent at a time."""
_VARY: Final = {"Vary": "Accept"}


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows, in which order and form. Filters are combined with "and"."""

    client: Annotated[Text | None, Meta(description="The client id; empty: of none.")] = None
    recipient: Annotated[
        Text | None,
        Meta(description="The whole address; the domain in any case, as A-labels or in Unicode."),
    ] = None
    domain: Annotated[Text | None, Meta(description="Of the recipient, likewise.")] = None
    text: Annotated[
        Text | None, Meta(description="Part of the recipient's or sender's address, in any case.")
    ] = None
    sender: Annotated[Text | None, Meta(description="The envelope sender, as `recipient`.")] = None
    queue_id: Annotated[Text | None, Meta(description="Postfix's queue id.")] = None
    message_id: Annotated[
        Text | None, Meta(description="A Message-ID, with or without brackets, or a msgId.")
    ] = None
    host: Annotated[Text | None, Meta(description="The mail host.")] = None
    status: Annotated[
        Text | None, Meta(description="Postfix's word for an attempt: `sent`, `bounced` …")
    ] = None
    state: Annotated[State | None, Meta(description="Of the outcome.")] = None
    bounce_type: Annotated[BounceType | None, Meta(description="Of the verdict.")] = None
    category: Annotated[Text | None, Meta(description="Of the verdict.")] = None
    rule: Annotated[Text | None, Meta(description="Id of the rule that decided.")] = None
    dsn: Annotated[
        Text | None, Meta(description="Beginning of the enhanced code: `5`, `5.7`, `5.7.1`.")
    ] = None
    relay: Annotated[Text | None, Meta(description="Part of the relay as logged.")] = None
    provider: Annotated[Text | None, Meta(description="Who runs the relay.")] = None
    since: Annotated[Moment | None, Meta(description="Not before; inclusive.")] = msgspec.field(
        default=None, name="from"
    )
    until: Annotated[Moment | None, Meta(description="Not after; inclusive.")] = msgspec.field(
        default=None, name="to"
    )
    order: Annotated[
        Literal["newest", "oldest"],
        Meta(description="By when pda came to know of the message; attempts of one by time."),
    ] = "newest"
    limit: Annotated[
        int | None,
        Meta(
            ge=1,
            le=2**53,
            description=f"Rows at the most. A JSON page has {_USUAL} unless given, {_MOST} at the"
            " most; NDJSON and CSV have all.",
        ),
    ] = None
    after: Annotated[str, Meta(description="The `next` of the page before.", max_length=200)] = ""
    fields: tuple[str, ...] = ()
    format: Wanted = None


if TYPE_CHECKING:
    _OfOutcome: TypeAlias = tuple[str, ...]
    _OfAttempt: TypeAlias = tuple[str, ...]
    _OfMessage: TypeAlias = tuple[str, ...]
else:
    _OfOutcome, _OfAttempt, _OfMessage = map(fields_of, (Outcome, Attempt, Message))


class OutcomeQuery(ListQuery, frozen=True, kw_only=True):
    """Which outcomes."""

    fields: _OfOutcome = ()


class AttemptQuery(ListQuery, frozen=True, kw_only=True):
    """Which attempts."""

    fields: _OfAttempt = ()


class MessageQuery(ListQuery, frozen=True, kw_only=True):
    """Which messages."""

    fields: _OfMessage = ()


_Next = Annotated[
    str | None, Meta(description="Goes on behind these rows as `after`; null: no more now.")
]
_Complete = Annotated[
    bool, Meta(description="False: a limit of work was reached; `next` goes on from there.")
]


class Outcomes(msgspec.Struct, frozen=True):
    """A page of outcomes."""

    outcomes: Sequence[Outcome]
    next: _Next
    complete: _Complete


class Attempts(msgspec.Struct, frozen=True):
    """A page of attempts."""

    attempts: Sequence[Attempt]
    next: _Next
    complete: _Complete


class Messages(msgspec.Struct, frozen=True):
    """A page of messages."""

    messages: Sequence[Message]
    next: _Next
    complete: _Complete


@dataclass(frozen=True, slots=True)
class _Listing:
    """What is listed."""

    name: str
    kind: type[Selectable]
    publish: Callable[[Columns], Columns]
    stored: queries.Listing[Any]


class _Place(NamedTuple):
    """Where an export goes on."""

    after: str
    rows: int
    """Sent before."""


class _Part(NamedTuple):
    """Some rows of an export."""

    columns: Columns
    first: bool
    next: _Place | None


_OUTCOMES: Final = _Listing("outcomes", Outcome, columns_publisher(Outcome), queries.OUTCOMES)
_ATTEMPTS: Final = _Listing("attempts", Attempt, columns_publisher(Attempt), queries.ATTEMPTS)
_MESSAGES: Final = _Listing("messages", Message, columns_publisher(Message), queries.MESSAGES)


def _forms(page: type[msgspec.Struct]) -> dict[str, type]:
    return {JSON: page, MEDIA["ndjson"]: str, MEDIA["csv"]: str}


class Lists:
    """Lists for programs."""

    def __init__(self, asker: Asker, bounds: Bounds) -> None:
        self._asker = asker
        self._bounds = bounds

    @Operation("GET", "/api/v1/outcomes", answers=_forms(Outcomes))
    async def outcomes(self, query: OutcomeQuery, principal: Principal) -> Response:
        """What became of recipients.

        `from` and `to` are about when an outcome came into its state. What is said of attempts
        (`status`, `dsn`, `relay`, `provider`) chooses the outcomes that have such an attempt.
        """
        return await self._list(_OUTCOMES, query, principal)

    @Operation("GET", "/api/v1/attempts", answers=_forms(Attempts))
    async def attempts(self, query: AttemptQuery, principal: Principal) -> Response:
        """Delivery attempts.

        `from` and `to` are about when they were made; `state` is that of their recipient now.
        """
        return await self._list(_ATTEMPTS, query, principal)

    @Operation("GET", "/api/v1/messages", answers=_forms(Messages))
    async def messages(self, query: MessageQuery, principal: Principal) -> Response:
        """Messages.

        `from` and `to` are about when they came in. All that is said of recipients and attempts has
        to hold of one recipient of the message.
        """
        return await self._list(_MESSAGES, query, principal)

    async def _list(self, listing: _Listing, query: ListQuery, principal: Principal) -> Response:
        form = chosen(query.format, request.accept_mimetypes)
        members = Members(listing.kind, query.fields)
        wanted = filter_of(query, principal)
        reading = _Reading(listing, members, wanted, query, self._bounds)
        if form == "json":
            body = await self._asker.ask(reading.page)
            return Response(body, content_type=JSON, headers=_VARY)
        texts = Texts()
        first = await self._asker.ask_much(reading.part, _Place(query.after, 0), texts)
        export = partial(self._export, reading, form, first, texts)
        exported = Response(Stream(export), content_type=MEDIA[form], headers=_VARY)
        exported.timeout = None  # however long it is; each of its parts is bounded
        name = f'attachment; filename="{listing.name}.{form}"'
        exported.headers["Content-Disposition"] = name
        return exported

    async def _export(
        self, reading: _Reading, form: Form, first: _Part, texts: Texts, sink: Sink
    ) -> None:
        """One part after the other: in between no connection is held, however slow the reader."""
        part: _Part | None = first
        while part is not None:
            octets, part = await self._written(reading, form, part, texts)
            await sink.send(octets)

    async def _written(
        self, reading: _Reading, form: Form, part: _Part, texts: Texts
    ) -> tuple[bytes, _Part | None]:
        """A part as it is sent, and the one behind it: SQLite reads that on another processor."""
        following: list[_Part] = []

        async def read(place: _Place) -> None:
            following.append(await self._asker.ask_much(reading.part, place, texts))

        async with trio.open_nursery() as nursery:
            if part.next is not None:
                nursery.start_soon(read, part.next)
            octets = await trio.to_thread.run_sync(reading.octets, form, part)
        return octets, following[0] if following else None


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is asked and answered, in threads."""

    listing: _Listing
    members: Members
    wanted: Filter | None
    query: ListQuery
    bounds: Bounds

    def page(self, connection: Connection) -> bytes:
        """A page as JSON."""
        most = min(self.query.limit or _USUAL, _MOST)
        page = self.columns(connection, self.query.after, most)
        answer = {
            self.listing.name: self.members.objects(self.published(page.columns)),
            "next": page.next,
            "complete": page.complete,
        }
        return msgspec.json.encode(answer)

    def part(self, connection: Connection, place: _Place, texts: Texts) -> _Part:
        """A part of an export, with texts of those before."""
        page = self.columns(connection, place.after, _most(self.query, place.rows), texts)
        rows = place.rows + page.rows
        more = _Place(page.next, rows) if page.next and _most(self.query, rows) else None
        return _Part(page.columns, not place.rows, more)

    def octets(self, form: Form, part: _Part) -> bytes:
        """A part as it is sent; the first one begins with the head."""
        return self.members.lines(form, self.published(part.columns), head=part.first)

    def published(self, columns: Columns) -> Columns:
        """Columns of the store as the API shows them."""
        return self.listing.publish(self.listing.stored.turn(columns))

    def columns(
        self, connection: Connection, after: str, most: int, texts: Texts | None = None
    ) -> ColumnsPage:
        """The values of some rows; `texts` of those before."""
        if self.wanted is None:
            return ColumnsPage([], 0, None, complete=True)
        part = Part(after, most, newest_first=self.query.order == "newest")
        try:
            return queries.columns_page(
                connection, self.listing.stored, self.wanted, part, self.bounds, texts=texts
            )
        except CursorError as error:
            raise Invalid([Mistake("query", "after", str(error))]) from None


def filter_of(query: ListQuery, principal: Principal) -> Filter | None:
    """The filter that is meant; None where it is about a client that the principal does not see.

    That looks as if there were no such client.
    """
    own = principal.client_id
    if own is not None and query.client not in (None, own):
        return None
    given = {
        name: value
        for name in Filter.__struct_fields__
        if name not in ("client", "limit", "state") and (value := getattr(query, name)) is not None
    }
    return Filter(
        client=query.client if own is None else own,
        state=None if query.state is None else _STATES[query.state],
        **given,
    )


_STATES: Final = {state.label: state for state in events.State}


def _most(query: ListQuery, sent: int) -> int:
    """Rows of the next part; 0 where all that are wanted were sent."""
    return _EXPORTED if query.limit is None else min(_EXPORTED, query.limit - sent)
