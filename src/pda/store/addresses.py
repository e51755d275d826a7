"""What is known of addresses and messages, many at a time.

Owns how they are found: sorted by their hashes, piece after piece of terms, and their rows in the
order of the queue entries: so each page is read once. Of those who are written to often most is
summed up (`address_sums`). Times are µs since the epoch.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from pda.maillog.events import State
from pda.store import address_sums
from pda.store.address_sums import END, OF_OUTCOMES, address_of, joined, term_of, unpacked
from pda.store.database import Connection, Row, Value, snapshot
from pda.store.names import number_of
from pda.store.terms import term

_FOUND: Final = f"""
WITH wanted (hash, text, asked, first, last) AS MATERIALIZED (
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?1)
), found (entry_id, text, asked) AS MATERIALIZED (
    SELECT DISTINCT t.entry_id, w.text, w.asked
    FROM term_piece p CROSS JOIN wanted w ON w.first <= p.last AND w.last >= p.first
    CROSS JOIN term t ON t.piece = p.number AND t.hash = w.hash
        AND t.entry_id BETWEEN w.first AND w.last
    ORDER BY t.entry_id LIMIT -1  -- without LIMIT the order would be left out
)
SELECT w.asked, {{}}, {OF_OUTCOMES}
FROM found w {{}} CROSS JOIN outcome o ON o.entry_id = w.entry_id
WHERE o.state <> {State.HANDED_ON:d} {{}} GROUP BY 1{{}}
"""
_ENTRY: Final = "CROSS JOIN entry e ON e.id = w.entry_id"
"""A page of its own for each: only where something is asked of it."""
_BY_RECIPIENT: Final = "AND o.recipient = w.text"
_BY_MESSAGE: Final = "AND w.text IN (e.message_id, e.msg_id)"
_OF_CLIENT: Final = "AND e.client_id = (SELECT id FROM client WHERE name = ?2)"

Wanted: TypeAlias = tuple[int, str, object, int, int]
"""A term, the text that it is of, what for, and the entries from one number to another."""


class Known(msgspec.Struct, frozen=True):
    """What became of mail to an address, or of a message."""

    messages: int
    recipients: int
    """Each as often as there are messages to it."""
    attempts: int
    delivered: int
    hard_bounces: int
    soft_bounces: int
    """Expired ones too."""
    first_at: int
    last_at: int
    delivered_at: int | None
    """The last delivery."""
    latest: int
    """The number of the change that says what came last."""
    hard: int | None
    """That of the last hard bounce."""


def of_recipients(
    connection: Connection, recipients: Iterable[str], client: str | None
) -> dict[str, Known]:
    """What is known of addresses (as compared), of all or of one client's mail."""
    known = {address_of(one): one for one in recipients}
    found: defaultdict[int, list[Row]] = defaultdict(list)
    with snapshot(connection):
        sums, rests = address_sums.read(connection, known, client)
        for address, _, columns in sums:
            found[address].append(columns)
        wanted = [(term_of(one), known[one], one, first, last) for one, first, last in rests]
        for asked, _, *row in _rows(connection, wanted, _BY_RECIPIENT, client):
            found[number_of(asked)].append(unpacked(row))
    every = {known[address]: joined(sums) for address, sums in found.items()}
    return {one: _made(columns[0], columns) for one, columns in every.items() if columns[0]}


def of_messages(
    connection: Connection, messages: Iterable[str], client: str | None
) -> dict[str, Known]:
    """What is known of messages by Message-ID, with or without brackets, or the original's msgId.

    That of several entries with one Message-ID counts together.
    """
    wanted: list[Wanted] = [
        (term("message-id", form), form, one, 0, END)
        for one in set(messages)
        for form in {one, one if one.startswith("<") else f"<{one}>"}
    ]
    rows = _rows(connection, wanted, _BY_MESSAGE, client)
    return {str(asked): _made(entries, unpacked(row)) for asked, entries, *row in rows}


def by_client(
    connection: Connection, recipients: Mapping[int, str], within: tuple[int, int]
) -> list[tuple[int, int, Row]]:
    """Sums of some entries: what stands for an address, client, columns; several of each."""
    found, rests = address_sums.read(connection, recipients, within=within)
    wanted = [(term_of(one), recipients[one], one, first, last) for one, first, last in rests]
    rows = _asked(connection, wanted, ("e.client_id", _ENTRY, _BY_RECIPIENT, ", 2"))
    for address, client_id, *row in rows:
        found.append((number_of(address), number_of(client_id), unpacked(row)))
    return found


def _rows(
    connection: Connection, wanted: Sequence[Wanted], how: str, client: str | None
) -> list[Row]:
    """What for, how many entries, and `OF_OUTCOMES`."""
    where = how if client is None else f"{how} {_OF_CLIENT}"
    parts = "count(DISTINCT o.entry_id)", _ENTRY if "e." in where else "", where, ""
    return _asked(connection, wanted, parts, *([] if client is None else [client]))


def _asked(
    connection: Connection, wanted: Sequence[Wanted], parts: Sequence[str], *values: Value
) -> list[Row]:
    asked = json.dumps(sorted(wanted))
    return connection.execute(_FOUND.format(*parts), (asked, *values)).fetchall() if wanted else []


def _made(messages: Value, columns: Row) -> Known:
    (recipients, attempts, delivered, hard, soft, first_at, last_at, latest, at, _, bounce) = (
        columns
    )
    make: Callable[..., Known] = Known
    counts = messages, recipients, attempts, delivered, hard, soft
    return make(*counts, first_at, last_at, at, latest, bounce)
