"""Entries of the original's interface: what its clients expect, and which of them they ask for.

Pure: rows and query parameters in, JSON-able values out; knows no HTTP and no store. Owns the
original's words: states, `expired`, `unknown`. Its clients refuse members they do not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from pda.maillog.events import Verdict
from pda.store.queries import AttemptRow, OutcomeRow
from pda.web.ports import OriginalCategory

SOFT, HARD, UNKNOWN, OK, FINALLY_OK = range(5)
UNDECIDED: Final = "unable to decide on type of bounce"
_UNDETERMINED: Final = "undetermined"
_LONG: Final = re.compile(r"[+-]?[0-9]{1,19}")
_LONGEST: Final = 2**63 - 1


class Entry(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """One delivery attempt, or one expiry; its members are fixed."""

    date: int
    """ms since the epoch."""
    queue_id: str
    msg_id: str
    rcpt_email: str
    sender_email: str
    status: str
    info: str
    state: int
    state_info: str


Choice: TypeAlias = list[Entry] | Entry | None
Selection: TypeAlias = Choice | dict[str, Choice] | dict[str, dict[str, Choice]]

_PROPERTIES: Final = {"rcptEmail": "rcpt_email", "queueId": "queue_id", "msgId": "msg_id"}


class UnknownQueryError(ValueError):
    """A query that the interface does not have."""


class Query(msgspec.Struct, frozen=True):
    """What a query string asks for."""

    since: int | None = None
    """µs since the epoch; both inclusive."""
    until: int | None = None
    last: bool | None = None
    """Only the last entry, or the first; None for all."""
    group_by: tuple[str, ...] = ()
    """Fields of an entry, the outer one first."""


def read_query(parameters: Mapping[str, str]) -> Query:
    """The query; what does not parse counts as absent, but for `groupBy`: `UnknownQueryError`."""
    since, until = _long(parameters.get("from")), _long(parameters.get("to"))
    return Query(
        since=_microseconds(since) if since else None,
        until=_microseconds(until, 999) if until is not None else None,
        last={"true": True, "false": False}.get(parameters.get("lastOrFirst", "").lower()),
        group_by=_group_by(parameters.get("groupBy", "")),
    )


def attempt_entry(row: AttemptRow, original_category: OriginalCategory) -> Entry:
    """The entry of a delivery attempt."""
    # A bounce that `soft_bounce = yes` turns into a deferral is logged as SOFTBOUNCE.
    status = row.status if row.status in ("sent", "bounced") else "deferred"
    return _entry(row, row.at, status, row.reason, _judged(row, original_category))


def expired_entry(row: OutcomeRow) -> Entry:
    """The entry of a recipient whose message expired."""
    judged = SOFT, "expired, returned to sender"
    return _entry(row, row.last_at, "expired", "returned to sender", judged)


def _entry(
    row: AttemptRow | OutcomeRow, at: int, status: str, info: str, judged: tuple[int, str]
) -> Entry:
    """What all entries say in the same way; `judged` is state and stateInfo."""
    return Entry(
        date=at // 1000,
        queue_id=row.queue_id,
        msg_id=row.msg_id or row.message_id,
        rcpt_email=row.recipient,
        sender_email=row.sender or "unknown",
        status=status,
        info=info,
        state=judged[0],
        state_info=judged[1],
    )


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Oldest first; those of one date by queue id, msgId, recipient."""
    return sorted(entries, key=lambda e: (e.date, e.queue_id, e.msg_id, e.rcpt_email))


def select(entries: Sequence[Entry], query: Query) -> Selection:
    """What the query asks for of these entries, which stand in their order.

    `OUTER-and-INNER` is keyed by the inner property first, as the original does.
    """
    if not query.group_by:
        return _pick(entries, query.last)
    if len(query.group_by) == 1:
        return _groups(entries, query.group_by[0], query.last)
    outer, inner = query.group_by
    return {
        value: _groups(group, outer, query.last)
        for value, group in _grouped(entries, inner).items()
    }


def _pick(entries: Sequence[Entry], last: bool | None) -> Choice:
    if last is None:
        return list(entries)
    if not entries:
        return None
    return entries[-1] if last else entries[0]


def _groups(entries: Iterable[Entry], by: str, last: bool | None) -> dict[str, Choice]:
    return {value: _pick(group, last) for value, group in _grouped(entries, by).items()}


def _grouped(entries: Iterable[Entry], by: str) -> dict[str, list[Entry]]:
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(getattr(entry, by), []).append(entry)
    return groups


def _judged(row: AttemptRow, original_category: OriginalCategory) -> tuple[int, str]:
    if row.status == "sent":
        return (FINALLY_OK, "finally OK") if row.deferred_before else (OK, "OK")
    if row.category is None or _UNDETERMINED in (row.bounce_type, row.category):
        return UNKNOWN, UNDECIDED
    verdict = Verdict("hard" if row.bounce_type == "hard" else "soft", row.category, row.rule or "")
    return HARD if row.bounce_type == "hard" else SOFT, original_category(verdict)


def _group_by(text: str) -> tuple[str, ...]:
    names = text.split("-and-") if text else []
    if len(names) > 2 or len(set(names)) < len(names) or not set(names) <= _PROPERTIES.keys():
        raise UnknownQueryError(f"groupBy={text}")
    return tuple(_PROPERTIES[name] for name in names)


def _long(text: str | None) -> int | None:
    """A Java long, or None."""
    if text is None or not _LONG.fullmatch(text):
        return None
    number = int(text)
    return number if -_LONGEST - 1 <= number <= _LONGEST else None


def _microseconds(ms: int, more: int = 0) -> int:
    """As much of it as a database row can hold."""
    return max(-_LONGEST, min(_LONGEST, ms * 1000 + more))
