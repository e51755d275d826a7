"""Pages of attempts, outcomes and messages: any filter, any place, bounded work.

Owns their order, the cursor, and how much is looked at. Rows stand in the order in which `pda` came
to know of their messages, those of one message by time: what arrives while somebody reads is never
in between. A page is looked for in windows of queue entries, each one question of bounded size; the
first window is small, and what finds little grows.
"""

from __future__ import annotations

import binascii
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Any, Generic, TypeAlias, TypeVar

import msgspec

from pda.store.database import Connection, Value, snapshot
from pda.store.queries.filters import Condition, Filter, conditions, where
from pda.store.queries.gathered import gathered
from pda.store.queries.keyed import Columns, Texts
from pda.store.queries.rows import (
    ATTEMPTS,
    MESSAGES,
    OUTCOMES,
    AnyRow,
    AttemptRow,
    Listing,
    MessageRow,
    OutcomeRow,
)
from pda.store.queries.sources import sources_of, spans, within

_AIM_S = 0.03
"""How long a window may take."""
_MOST_GROWTH = 8.0
_FIRST = 500
"""Entries of the first window where every one is looked at."""
_NO_CURSOR = "this is no cursor that an answer to the same question has given"


class CursorError(ValueError):
    """What was given as a cursor is none."""


class Bounds(msgspec.Struct, frozen=True):
    """How much a page may cost."""

    entries: int = 200_000
    """Queue entries that are looked at one by one where no index leads to those wanted."""
    seconds: float = 1.0


class Part(msgspec.Struct, frozen=True):
    """Which page of a list."""

    after: str = ""
    """The cursor of the one before."""
    limit: int = 100
    newest_first: bool = True


BOUNDS = Bounds()
_T = TypeVar("_T")


class Page(msgspec.Struct, Generic[_T], frozen=True):
    """Some rows, and where it goes on."""

    rows: list[_T]
    next: str | None
    """The cursor of what follows; None where there is nothing more now."""
    complete: bool = True
    """False where a bound was reached before the page was full: there may be more behind it."""


class ColumnsPage(msgspec.Struct, frozen=True):
    """The same, with the columns of each field."""

    columns: Columns
    """As they stand in the database; `Listing.turn` makes values of them, in any thread."""
    rows: int
    next: str | None
    complete: bool


_Found: TypeAlias = tuple[Columns, str | None, bool]
_Number: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Keys: TypeAlias = list[_Number | str]
_Place: TypeAlias = tuple[_Number, _Keys]
"""A queue entry, and what tells a row of it; nothing where all of the entry is done."""


def attempts_page(
    connection: Connection, wanted: Filter, after: str = "", limit: int = 100,
    *, newest_first: bool = True, bounds: Bounds = BOUNDS,
) -> Page[AttemptRow]:  # fmt: skip
    """Delivery attempts behind a cursor; raises `CursorError`."""
    return _Reading(connection, ATTEMPTS, wanted, newest_first).page(after, limit, bounds)


def outcomes_page(
    connection: Connection, wanted: Filter, after: str = "", limit: int = 100,
    *, newest_first: bool = True, bounds: Bounds = BOUNDS,
) -> Page[OutcomeRow]:  # fmt: skip
    """Outcomes of recipients behind a cursor; raises `CursorError`.

    An entry whose message goes on as another one has no outcome of its own, unless asked for.
    """
    return _Reading(connection, OUTCOMES, wanted, newest_first).page(after, limit, bounds)


def messages_page(
    connection: Connection, wanted: Filter, after: str = "", limit: int = 100,
    *, newest_first: bool = True, bounds: Bounds = BOUNDS,
) -> Page[MessageRow]:  # fmt: skip
    """Queue entries behind a cursor; raises `CursorError`."""
    return _Reading(connection, MESSAGES, wanted, newest_first).page(after, limit, bounds)


def columns_page(
    connection: Connection,
    listing: Listing[Any],
    wanted: Filter,
    part: Part,
    bounds: Bounds = BOUNDS,
    *,
    texts: Texts | None = None,
) -> ColumnsPage:
    """The columns of rows behind a cursor, field by field; raises `CursorError`.

    For whoever makes something else of many rows; `texts` were looked up for the parts before.
    """
    reading = _Reading(connection, listing, wanted, part.newest_first)
    with snapshot(connection):
        found, following, complete = reading.read(part.after, part.limit, bounds)
        columns = listing.with_texts(connection, texts or Texts(), found)
    return ColumnsPage(columns, _length(found), following, complete)


class _Reading(Generic[AnyRow]):
    """One page's way through the windows."""

    def __init__(
        self, connection: Connection, listing: Listing[AnyRow], wanted: Filter, newest_first: bool
    ) -> None:
        self._connection = connection
        self._listing = listing
        self._down = newest_first
        self._wanted = wanted
        self._sources = sources_of(connection, listing.kind, wanted)
        self._conditions = where(conditions(listing.kind, wanted))

    def page(self, after: str, limit: int, bounds: Bounds) -> Page[AnyRow]:
        """The rows behind a cursor."""
        with snapshot(self._connection):
            found, following, complete = self.read(after, limit, bounds)
            columns = self._listing.with_texts(self._connection, Texts(), found)
        return Page(self._listing.of_columns(self._listing.turn(columns)), following, complete)

    def read(self, after: str, limit: int, bounds: Bounds) -> _Found:
        """Rows behind a cursor with keys of texts, where they go on, whether all was looked at."""
        until = time.monotonic() + bounds.seconds
        place: _Place | None = _place(after, self._listing.types)
        found: Columns = []
        windows = _Windows(spans(self._connection, self._listing.kind, self._wanted), self._down)
        width = self._sources[0].width if self._sources else max(_FIRST, limit)
        left, looked = bounds.entries, False
        while True:
            if not self._sources:
                width = min(width, left)
            window = windows.behind(place, max(width, 1))
            if window is None:
                return found, None, True
            if looked and (width <= 0 or time.monotonic() >= until):
                return found, _cursor(place) if place else None, False
            begun, looked = time.monotonic(), True
            found = _joined(found, self._rows(window, place, limit + 1 - _length(found)))
            if _length(found) > limit:
                found = [column[:limit] for column in found]
                return found, _cursor(self._place_of_last(found)), True
            low, high = window
            place = (low if self._down else high), []
            left -= high - low + 1
            took = max(time.monotonic() - begun, 1e-4)
            width = max(1, int(width * min(_MOST_GROWTH, _AIM_S / took)))

    def _rows(self, window: tuple[int, int], place: _Place | None, limit: int) -> Columns:
        turn = " DESC" if self._down else ""
        order = ", ".join(f"{key}{turn}" for key in self._listing.place)
        condition, values = self._where(window, place)
        return gathered(
            self._connection,
            f"{self._listing.select_keyed(condition)} ORDER BY {order} LIMIT ?",
            [*values, limit],
            self._listing.octets_keyed,
        )

    def _where(self, window: tuple[int, int], place: _Place | None) -> Condition:
        """The filter's conditions, between two entries and behind a place."""
        found = [within(self._sources, *window), self._conditions]
        if place is not None and place[1]:
            behind: list[Value] = [place[0], *place[1]]
            keys, marks = ", ".join(self._listing.place), ", ".join("?" * len(behind))
            found.append((f"({keys}) {'<' if self._down else '>'} ({marks})", behind))
        return where(found)

    def _place_of_last(self, found: Columns) -> _Place:
        number, *keys = [column[-1] for column in found[: len(self._listing.place)]]
        return number, keys


def _length(columns: Columns) -> int:
    return len(columns[0]) if columns else 0


def _joined(some: Columns, more: Columns) -> Columns:
    """The columns of some rows and of more behind them; none where there is no row."""
    if not _length(more):
        return some
    return [[*one, *other] for one, other in zip(some, more, strict=True)] if some else more


class _Windows:
    """The numbers of queue entries to look at, some at a time."""

    def __init__(self, spans: list[tuple[int, int]], down: bool) -> None:
        self._spans = spans[::-1] if down else spans
        self._down = down

    def behind(self, place: _Place | None, width: int) -> tuple[int, int] | None:
        """The first and last of the next ones; None at the end."""
        for first, last in self._spans:
            low, high = self._rest(first, last, place)
            if low <= high:
                return (max(low, high - width + 1), high) if self._down else (
                    low, min(high, low + width - 1)
                )  # fmt: skip
        return None

    def _rest(self, first: int, last: int, place: _Place | None) -> tuple[int, int]:
        if place is None:
            return first, last
        number, keys = place
        if self._down:
            return first, min(last, number if keys else number - 1)
        return max(first, number if keys else number + 1), last


_decode = msgspec.msgpack.Decoder(_Place).decode


def _cursor(place: _Place) -> str:
    return urlsafe_b64encode(msgspec.msgpack.encode(place)).decode().rstrip("=")


def _place(cursor: str, types: tuple[type, ...]) -> _Place | None:
    """The place behind which to go on, with keys of these types or none."""
    if not cursor:
        return None
    try:
        octets = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        place: _Place = _decode(octets)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise CursorError(_NO_CURSOR) from None
    if place[1] and tuple(map(type, place[1])) != types:
        raise CursorError(_NO_CURSOR)
    return place
