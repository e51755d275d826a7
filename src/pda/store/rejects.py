"""What was refused, as rows and as pages of them.

Owns the tables. A line that is received again is the same row: it is known by its second and the
hash of the rest. Rows stand in the order of time, and a page looks at a bounded number of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from pda.maillog.events import Refusal, address_key, manner_of, without_places
from pda.store.database import Connection, Row, Value
from pda.store.names import Names, NewNames, Texts, number_of

TABLES = (
    """
CREATE TABLE reject (
    at INTEGER NOT NULL, digest INTEGER NOT NULL, micros INTEGER NOT NULL, grade INTEGER NOT NULL,
    host_id INTEGER NOT NULL, queue_id TEXT NOT NULL, client_id INTEGER NOT NULL,
    manner_id INTEGER NOT NULL, reply_id INTEGER NOT NULL, client_host TEXT NOT NULL,
    client_ip TEXT NOT NULL, sender TEXT, recipient TEXT NOT NULL, helo TEXT NOT NULL,
    sasl_username TEXT NOT NULL,
    PRIMARY KEY (at, digest)
) WITHOUT ROWID
""",
    "CREATE TABLE reject_manner (id INTEGER PRIMARY KEY, name TEXT NOT NULL)",
    "CREATE TABLE reject_reply (id INTEGER PRIMARY KEY, name TEXT NOT NULL)",
)
NEW = {
    "reject_manner": "INSERT INTO reject_manner VALUES (?, ?)",
    "reject_reply": "INSERT INTO reject_reply VALUES (?, ?)",
}
_UNKNOWN = "\x00"
PUT = f"""
INSERT INTO reject VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
    NULLIF(?, char({ord(_UNKNOWN)})), ?, ?, ?)
ON CONFLICT (at, digest) DO UPDATE SET micros = excluded.micros, grade = excluded.grade
WHERE excluded.grade > grade
"""
_SECOND = 1_000_000
_MOST_LOOKED_AT = 100_000


class ClientOf(Protocol):
    """Tells whose mail it surely was, by address and SASL user name; empty where nobody knows."""

    def __call__(self, client_ip: str, sasl_username: str, /) -> str: ...


class RejectRows:
    """Makes rows for one database."""

    def __init__(self, connection: Connection, hosts: Names, clients: Names) -> None:
        self._hosts, self._clients = hosts, clients
        self._manners = Texts("reject_manner", connection)
        self._replies = Texts("reject_reply", connection)

    def forget_texts(self) -> dict[str, int]:
        """From now on no number of a text up to these is given any more."""
        return {"reject_reply": self._replies.forget(), "reject_manner": self._manners.forget()}

    def rows(self, refused: Iterable[Refusal], client_of: ClientOf, new: NewNames) -> list[Row]:
        """Their rows."""
        return [self._row(one, client_of, new) for one in refused]

    def _row(self, one: Refusal, client_of: ClientOf, new: NewNames) -> Row:
        second = one.at // _SECOND * _SECOND
        return (
            second,
            one.digest,
            one.at - second,
            one.grade,
            self._hosts.number(one.host, new),
            one.queue_id,
            self._clients.number(client_of(one.client_ip, one.sasl_username), new),
            self._manners.number(one.manner, new),
            self._replies.number(one.reply, new),
            one.client_host,
            one.client_ip,
            _UNKNOWN if one.sender is None else one.sender,
            address_key(one.recipient),
            one.helo,
            one.sasl_username,
        )


class RejectFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which; None stands for all."""

    client: str | None = None
    host: str | None = None
    queue_id: str | None = None
    client_ip: str | None = None
    """Address of who was refused."""
    sender: str | None = None
    recipient: str | None = None
    """The whole address, or `@domain`."""
    reply: str | None = None
    """Part of the reply, in any case."""
    since: int | None = None
    until: int | None = None


class RejectRow(msgspec.Struct, frozen=True):
    """A message or recipient that was refused."""

    at: int
    host: str
    queue_id: str
    client_id: str
    program: str
    action: str
    stage: str
    reply_code: str
    dsn: str
    reply: str
    client_host: str
    client_ip: str
    sender: str | None
    recipient: str
    helo: str
    sasl_username: str


class RejectPage(msgspec.Struct, frozen=True):
    """Some of them, latest first."""

    rows: list[RejectRow]
    next: str | None
    complete: bool
    """Not where as many rows were looked at as may be."""


_ROWS = """
SELECT r.at, r.digest, r.micros, h.name, r.queue_id, c.name, m.name, t.name, r.client_host,
    r.client_ip, r.sender, r.recipient, r.helo, r.sasl_username
FROM reject r JOIN host h ON h.id = r.host_id JOIN client c ON c.id = r.client_id
    JOIN reject_manner m ON m.id = r.manner_id JOIN reject_reply t ON t.id = r.reply_id
WHERE (r.at, r.digest) < (?, ?) AND (r.at, r.digest) >= (?, ?)
"""
_END = """
SELECT at, digest FROM reject WHERE (at, digest) < (?, ?) AND at >= ?
ORDER BY at DESC, digest DESC LIMIT 1 OFFSET ?
"""
_CONDITIONS = (
    ("client", "c.name = ?"),
    ("host", "h.name = ?"),
    ("queue_id", "r.queue_id = ?"),
    ("client_ip", "r.client_ip = ?"),
    ("sender", "r.sender = ?"),
    ("reply", "instr(lower(t.name), lower(?)) > 0"),
)
_FIRST = -(2**63)
_LAST = 2**63 - 1


def page(connection: Connection, wanted: RejectFilter, after: str, limit: int) -> RejectPage:
    """Those behind a cursor, latest first. Raises ValueError for what is no cursor."""
    begin = _cursor(after) if after else (_LAST if wanted.until is None else wanted.until, _LAST)
    since = wanted.since // _SECOND * _SECOND if wanted.since is not None else _FIRST
    end = connection.execute(_END, (*begin, since, _MOST_LOOKED_AT)).fetchone()
    conditions, values = _conditions(wanted)
    rows = connection.execute(
        f"{_ROWS} {conditions} ORDER BY r.at DESC, r.digest DESC LIMIT {limit:d}",
        [*begin, *(end or (since, _FIRST)), *values],
    ).fetchall()
    found = [_found(row) for row in rows]
    if len(rows) == limit:
        return RejectPage(found, _cursor_at(rows[-1]), complete=True)
    return RejectPage(found, _cursor_at(end) if end else None, complete=end is None)


def _cursor_at(row: Row) -> str:
    return f"{number_of(row[0])}.{number_of(row[1])}"


def _cursor(text: str) -> tuple[int, int]:
    at, dot, digest = text.partition(".")
    if not dot or abs(int(at)) > _LAST or abs(int(digest)) > _LAST:
        raise ValueError(text)
    return int(at), int(digest)


def _conditions(wanted: RejectFilter) -> tuple[str, list[Value]]:
    used: list[tuple[str, Value]] = [
        (sql, value)
        for member, sql in _CONDITIONS
        if (value := getattr(wanted, member)) is not None
    ]
    if (recipient := wanted.recipient) is not None:
        key = address_key(recipient)
        if recipient.startswith("@"):
            used += [("substr(r.recipient, -length(?)) = ?", key)]
            sql = " AND ".join(sql for sql, _ in used)
            return f" AND {sql}", [*(value for _, value in used), key]
        used.append(("r.recipient = ?", key))
    return "".join(f" AND {sql}" for sql, _ in used), [value for _, value in used]


def _found(row: Row) -> RejectRow:
    at, _, micros, host, queue_id, client_id, manner, reply, *about = row
    client_host, client_ip, sender, recipient, *_rest = about
    named = str(recipient), str(sender or ""), str(client_ip), str(client_host)
    make: Callable[..., RejectRow] = RejectRow
    return make(
        number_of(at) + number_of(micros),
        host,
        queue_id,
        client_id,
        *manner_of(str(manner)),
        without_places(str(reply), named),
        *about,
    )
