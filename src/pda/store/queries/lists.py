"""Whole lists: all that a filter chooses, oldest first.

For those who need everything at once; where there may be much, see `pages`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from pda.store.database import Connection
from pda.store.names import number_of
from pda.store.queries import rows
from pda.store.queries.filters import Condition, Filter, conditions, where
from pda.store.queries.overview import clients
from pda.store.queries.rows import AnyRow, AttemptRow, Listing, MessageRow, OutcomeRow
from pda.store.queries.sources import sources_of, within

Which: TypeAlias = Literal["all", "not plainly sent", "undetermined"]
"""Which attempts: those sent at the first try may be left out."""

_WHICH: dict[Which, list[Condition]] = {
    "all": [],
    "not plainly sent": [(f"(m.status <> 'sent' OR {rows.DEFERRED_BEFORE})", [])],
    "undetermined": [("'undetermined' IN (v.bounce_type, v.category)", [])],
}


def attempts(connection: Connection, wanted: Filter, which: Which = "all") -> list[AttemptRow]:
    """Delivery attempts."""
    order = "a.at, e.queue_id, e.message_id, a.recipient"
    return _all(connection, rows.ATTEMPTS, order, wanted, _WHICH[which])


def outcomes(connection: Connection, wanted: Filter) -> list[OutcomeRow]:
    """Outcomes of recipients, by when they came into their state.

    An entry whose message goes on as another one has no outcome of its own, unless asked for.
    """
    order = "o.last_at, e.queue_id, e.message_id, o.recipient"
    return _all(connection, rows.OUTCOMES, order, wanted)


def messages(connection: Connection, wanted: Filter) -> list[MessageRow]:
    """Queue entries."""
    return _all(connection, rows.MESSAGES, "e.born, e.queue_id", wanted)


def _all(
    connection: Connection,
    listing: Listing[AnyRow],
    order: str,
    wanted: Filter,
    more: Sequence[Condition] = (),
) -> list[AnyRow]:
    last = connection.execute("SELECT coalesce(max(id), 0) FROM entry").fetchall()[0][0]
    some = within(sources_of(connection, listing.kind, wanted), 0, number_of(last))
    found = [some, *conditions(listing.kind, wanted), *more]
    sql, values = where(found)
    limit = "" if wanted.limit is None else f" LIMIT {wanted.limit:d}"
    statement = f"{listing.select()} WHERE {sql} ORDER BY {order}{limit}"
    return listing.made(connection.execute(statement, values).fetchall())


def recipients(connection: Connection, client: str | None = None) -> dict[str, list[str]]:
    """The distinct recipients of each client, or of one."""
    found = connection.execute(
        "SELECT DISTINCT c.name, coalesce(o.address, o.recipient) FROM outcome o"
        " JOIN entry e ON e.id = o.entry_id JOIN client c ON c.id = e.client_id"
        " WHERE c.name <> '' AND c.name = coalesce(?, c.name) AND o.recipient <> '' ORDER BY 1, 2",
        (client,),
    ).fetchall()
    known = clients(connection) if client is None else [client]
    by_client: dict[str, list[str]] = {name: [] for name in known}
    for name, recipient in found:
        by_client.setdefault(str(name), []).append(str(recipient))
    return by_client
