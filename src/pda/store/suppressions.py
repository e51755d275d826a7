"""Addresses that are better not mailed: advice with its evidence, and what people say instead.

Owns what advice is and the table of what people say. Advice follows from final failures that say
something about the address (`bounced`) and that no later delivery has proven wrong; it is worked
out when it is asked for, so that other thresholds hold at once. Times are µs since the epoch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from pda.store import addresses
from pda.store.addresses import Known
from pda.store.audit import Deed
from pda.store.bounced import LAST_FAILURE
from pda.store.database import Connection, Value
from pda.store.edits import NotThereError

Mail: TypeAlias = Literal["never", "allowed"]
_DAY = 86_400_000_000

TABLE = """
CREATE TABLE said_of_address (
    recipient TEXT NOT NULL, client TEXT NOT NULL, mail TEXT NOT NULL, note TEXT NOT NULL,
    who TEXT NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (recipient, client)
) WITHOUT ROWID
"""


class Thresholds(msgspec.Struct, frozen=True):
    """From when on an address is better not mailed."""

    hard_messages: int = 1
    """Distinct messages that bounced hard."""
    soft_messages: int = 3
    """Distinct messages that were given up for a soft reason, on …"""
    soft_days: int = 3
    """… so many distinct days (UTC). Both are needed."""
    categories: tuple[str, ...] = (
        "invalid-recipient",
        "inactive-mailbox",
        "mailbox-moved",
        "bad-domain",
        "mailbox-full",
    )
    """Of `bounced.ABOUT_ADDRESS`, those that count."""


class Said(msgspec.Struct, frozen=True):
    """What somebody said of an address."""

    mail: Mail
    note: str
    who: str
    at: int
    client: str
    """Empty: for all clients."""


class Why(msgspec.Struct, frozen=True):
    """The failure that weighs most: the last hard one, else the last one."""

    at: int
    id: int
    """The number of its message."""
    host: str
    queue_id: str
    client_id: str
    message_id: str
    bounce_type: str
    category: str
    rule: str
    dsn: str
    reply: str


class Suppression(msgspec.Struct, frozen=True):
    """What is advised about an address."""

    recipient: str
    suppressed: bool
    hard_messages: int
    hard_days: int
    soft_messages: int
    soft_days: int
    """Of failures since the last delivery."""
    first_at: int | None
    last_at: int | None
    delivered_at: int | None
    """The last delivery."""
    why: Why | None
    said: Said | None


class Page(msgspec.Struct, frozen=True):
    """Some suppressed addresses, by address; there may be few, or none, before the last page."""

    suppressions: list[Suppression]
    next: str | None
    """Goes on behind this address."""


class _Evidence(msgspec.Struct, frozen=True):
    """The failures of one day that count, hard ones or others."""

    recipient: str
    hard: int
    day: int
    messages: int
    first_at: int
    last_at: int
    entry_id: int
    """Of the last one."""


_CANDIDATES = """
SELECT recipient FROM bounced WHERE recipient > ?1 AND verdict_id IN ({verdicts}) {own}
GROUP BY recipient HAVING sum(hard) >= ?2
    OR count(*) >= ?3 AND count(DISTINCT at / {day}) >= ?4
"""
_NEVER = "SELECT recipient FROM said_of_address WHERE recipient > ?1 AND mail = 'never' {said}"
_EVIDENCE = """
SELECT b.recipient, b.hard, b.at / {day} AS day, count(*), min(b.at),
    max(printf('%020d %020d', b.at, b.entry_id))
FROM json_each(?1) w CROSS JOIN bounced b ON b.recipient = w.value ->> 0 AND b.at > w.value ->> 1
WHERE verdict_id IN ({verdicts}) {own}
GROUP BY b.recipient, b.hard, day ORDER BY max(b.at)
"""
_OWN = "AND client_id = (SELECT id FROM client WHERE name = ?{n})"
_SAID = """
SELECT recipient, mail, note, who, at, client FROM said_of_address
WHERE recipient IN (SELECT value FROM json_each(?1)) {said} ORDER BY at
"""
_WHY = f"""
SELECT b.at, b.entry_id, h.name, e.queue_id, c.name, e.message_id, v.bounce_type, v.category,
    v.rule, coalesce(m.dsn, ''), coalesce(r.name, '')
FROM bounced b JOIN entry e ON e.id = b.entry_id JOIN host h ON h.id = e.host_id
    JOIN client c ON c.id = e.client_id JOIN verdict v ON v.id = b.verdict_id
    JOIN outcome o ON o.entry_id = b.entry_id AND o.recipient = b.recipient
    {LAST_FAILURE}
WHERE b.recipient = ? AND b.entry_id = ?
"""


class Advice:
    """What is advised, to all or to one client, by these thresholds."""

    def __init__(self, connection: Connection, client: str | None, by: Thresholds) -> None:
        self._connection = connection
        self._client = client
        self._by = by
        rows = connection.execute(
            "SELECT id FROM verdict WHERE category IN (SELECT value FROM json_each(?))",
            (json.dumps(by.categories),),
        ).fetchall()
        self._verdicts = ", ".join(str(number) for (number,) in rows) or "0"

    def page(self, after: str, limit: int) -> Page:
        """The suppressed ones among the next `limit` that bounced, or of which `never` is said."""
        some = self._candidates(after, limit)
        found = [one for one in self.of(some).values() if one.suppressed]
        return Page(found, some[-1] if len(some) == limit else None)

    def of(
        self, recipients: Sequence[str], known: Mapping[str, Known] | None = None
    ) -> dict[str, Suppression]:
        """What is advised about these addresses (as compared), whatever it is; in their order.

        `known`: what `addresses` says of them, for whoever has it already.
        """
        if known is None:
            known = addresses.of_recipients(self._connection, recipients, self._client)
        said = self._said(recipients)
        begin = {one: _since(known.get(one), said.get(one)) for one in recipients}
        evidence = self._evidence(begin)
        return {
            one: self._advice(one, evidence.get(one, []), known.get(one), said.get(one))
            for one in recipients
        }

    def _advice(
        self, recipient: str, left: list[_Evidence], known: Known | None, said: Said | None
    ) -> Suppression:
        hard, soft = [e for e in left if e.hard], [e for e in left if not e.hard]
        by = self._by
        is_hard = _messages(hard) >= by.hard_messages > 0
        is_soft = _messages(left) >= by.soft_messages > 0 and _days(left) >= by.soft_days
        never = said is not None and said.mail == "never"
        weightiest = (hard or left)[-1:]
        return Suppression(
            recipient=recipient,
            suppressed=is_hard or is_soft or never,
            hard_messages=_messages(hard),
            hard_days=_days(hard),
            soft_messages=_messages(soft),
            soft_days=_days(soft),
            first_at=min((one.first_at for one in left), default=None),
            last_at=left[-1].last_at if left else None,
            delivered_at=known.delivered_at if known else None,
            why=self._why(weightiest[0]) if weightiest else None,
            said=said,
        )

    def _candidates(self, after: str, limit: int) -> list[str]:
        """In the order of the addresses, each by its index."""
        by, none = self._by, 2**31
        bounced = _CANDIDATES.format(
            verdicts=self._verdicts,
            own="" if self._client is None else _OWN.format(n=5),
            day=_DAY,
        )
        values: list[Value] = [
            after,
            by.hard_messages or none,
            by.soft_messages or none,
            by.soft_days,
        ]
        said = "AND client = ''" if self._client is None else "AND client IN ('', ?2)"
        found = set(self._first(bounced, [*values, *self._own()], limit))
        found |= set(self._first(_NEVER.format(said=said), [after, *self._own()], limit))
        return sorted(found)[:limit]

    def _first(self, sql: str, values: list[Value], limit: int) -> list[str]:
        ordered = f"{sql} ORDER BY recipient LIMIT {limit:d}"
        return [str(one) for (one,) in self._connection.execute(ordered, values).fetchall()]

    def _evidence(self, since: Mapping[str, int]) -> Mapping[str, list[_Evidence]]:
        own = "" if self._client is None else _OWN.format(n=2)
        sql = _EVIDENCE.format(verdicts=self._verdicts, own=own, day=_DAY)
        asked = json.dumps([*since.items()])
        rows = self._connection.execute(sql, [asked, *self._own()]).fetchall()
        found: dict[str, list[_Evidence]] = {}
        make: Callable[..., _Evidence] = _Evidence
        for *row, last in rows:
            found.setdefault(str(row[0]), []).append(make(*row, *map(int, str(last).split())))
        return found

    def _said(self, recipients: Sequence[str]) -> Mapping[str, Said]:
        """What was said to the client itself comes before what was said to all."""
        own = "AND client = ''" if self._client is None else "AND client IN ('', ?2)"
        sql = _SAID.format(said=own)
        rows = self._connection.execute(sql, [json.dumps(recipients), *self._own()]).fetchall()
        make: Callable[..., Said] = Said
        rows.sort(key=lambda row: row[5] != "")
        return {str(row[0]): make(*row[1:]) for row in rows}

    def _why(self, evidence: _Evidence) -> Why | None:
        key = evidence.recipient, evidence.entry_id
        row = self._connection.execute(_WHY, key).fetchone()
        make: Callable[..., Why] = Why
        return make(*row) if row else None

    def _own(self) -> list[Value]:
        return [] if self._client is None else [self._client]


def _days(evidence: Iterable[_Evidence]) -> int:
    return len({one.day for one in evidence})


def _messages(evidence: Iterable[_Evidence]) -> int:
    return sum(one.messages for one in evidence)


def _since(known: Known | None, said: Said | None) -> int:
    """Only what failed later counts: what somebody allows is as good as a delivery."""
    allowed_at = said.at if said and said.mail == "allowed" else 0
    return max((known.delivered_at if known else None) or 0, allowed_at)


class SayOfAddress(msgspec.Struct, frozen=True):
    """Says that an address is never to be mailed, or that it may be, whatever was before."""

    recipient: str
    """As compared."""
    client: str
    """Empty: for all clients."""
    mail: Mail
    note: str
    who: str

    def write(self, connection: Connection, at: int) -> None:
        """In the place of what was said before."""
        connection.execute(
            "INSERT OR REPLACE INTO said_of_address VALUES (?, ?, ?, ?, ?, ?)",
            (self.recipient, self.client, self.mail, self.note, self.who, at),
        )

    def deed(self, result: None) -> Deed:  # noqa: ARG002
        """Which address."""
        return Deed(f"mail {self.mail}", self.recipient, _for(self.client))


class UnsayOfAddress(msgspec.Struct, frozen=True):
    """Takes back what was said of an address: the evidence counts again."""

    recipient: str
    client: str

    def write(self, connection: Connection, at: int) -> None:  # noqa: ARG002
        """Raises `NotThereError`."""
        key = self.recipient, self.client
        found = connection.execute(
            "DELETE FROM said_of_address WHERE recipient = ? AND client = ? RETURNING 1", key
        )
        if not found.fetchall():
            raise NotThereError("nothing was said of this address")

    def deed(self, result: None) -> Deed:  # noqa: ARG002
        """Which address."""
        return Deed("unsay mail", self.recipient, _for(self.client))


def _for(client: str) -> str:
    return f"client {client}" if client else "all clients"
