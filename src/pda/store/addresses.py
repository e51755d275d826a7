"""What is known of addresses and messages, many at a time.

Owns how they are found: sorted by their hashes, piece after piece of terms, and their rows in the
order of the queue entries: so each page is read once. Times are µs since the epoch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence

import msgspec

from pda.maillog.events import State
from pda.store import terms
from pda.store.database import Connection, Value

_DELIVERED = f"{State.DELIVERED:d}, {State.FINALLY_OK:d}"
_SOFT = f"{State.SOFT_BOUNCE:d}, {State.EXPIRED:d}"
_FOUND = f"""
WITH wanted (hash, text, asked) AS MATERIALIZED (
    SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1)
), found (entry_id, text, asked) AS MATERIALIZED (
    SELECT DISTINCT t.entry_id, w.text, w.asked
    FROM term_piece p CROSS JOIN wanted w CROSS JOIN term t
        ON t.piece = p.number AND t.hash = w.hash
    ORDER BY t.entry_id LIMIT -1  -- without LIMIT the order would be left out
)
SELECT w.asked, count(DISTINCT o.entry_id), count(*), coalesce(sum(o.attempts), 0),
    sum(o.state IN ({_DELIVERED})), sum(o.state = {State.HARD_BOUNCE:d}), sum(o.state IN ({_SOFT})),
    min(o.first_at), max(o.last_at), max(o.last_at) FILTER (WHERE o.state IN ({_DELIVERED})),
    max(printf('%020d %d', o.last_at, o.change)),
    max(printf('%020d %d', o.last_at, o.change)) FILTER (WHERE o.state = {State.HARD_BOUNCE:d})
FROM found w {{}} CROSS JOIN outcome o ON o.entry_id = w.entry_id
WHERE o.state <> {State.HANDED_ON:d}
"""
_ENTRY = "CROSS JOIN entry e ON e.id = w.entry_id"
"""A page of its own for each: only where something is asked of it."""
_BY_RECIPIENT = " AND o.recipient = w.text"
_BY_MESSAGE = " AND w.text IN (e.message_id, e.msg_id)"
_OF_CLIENT = " AND e.client_id = (SELECT id FROM client WHERE name = ?2)"


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
    wanted = [(terms.term("recipient", one), one, one) for one in set(recipients)]
    return _known(connection, wanted, _BY_RECIPIENT, client)


def of_messages(
    connection: Connection, messages: Iterable[str], client: str | None
) -> dict[str, Known]:
    """What is known of messages by Message-ID, with or without brackets, or the original's msgId.

    That of several entries with one Message-ID counts together.
    """
    wanted = [
        (terms.term("message-id", form), form, one)
        for one in set(messages)
        for form in {one, one if one.startswith("<") else f"<{one}>"}
    ]
    return _known(connection, wanted, _BY_MESSAGE, client)


def _known(
    connection: Connection, wanted: Sequence[tuple[int, str, str]], how: str, client: str | None
) -> dict[str, Known]:
    where = how if client is None else how + _OF_CLIENT
    sql = f"{_FOUND.format(_ENTRY if 'e.' in where else '')}{where} GROUP BY w.asked"
    values: list[Value] = [json.dumps(sorted(wanted))]
    if client is not None:
        values.append(client)
    rows = connection.execute(sql, values).fetchall()
    make: Callable[..., Known] = Known
    return {str(row[0]): make(*row[1:10], _change(row[10]), _change(row[11])) for row in rows}


def _change(packed: Value) -> int | None:
    """The number out of a time and the number of a change."""
    return None if packed is None else int(str(packed).partition(" ")[2])
