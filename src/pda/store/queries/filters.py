"""Which attempts, outcomes or messages are asked for, as conditions of SQL.

Owns the `Filter` and what each of its members means for each kind of row. A client principal's id
goes into `client`, and with it into the SQL.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from pda.maillog.events import State, address_key
from pda.store.database import Value

Kind: TypeAlias = Literal["attempt", "outcome", "message"]
Condition: TypeAlias = tuple[str, list[Value]]
"""SQL and its values, in order."""


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which attempts, outcomes or messages; None stands for all.

    What is said of an attempt (status, dsn …) chooses the outcomes of recipients, and the messages,
    that have such an attempt; what is said of an outcome (state) the attempts it came of.
    """

    client: str | None = None
    host: str | None = None
    queue_id: str | None = None
    message_id: str | None = None
    """A Message-ID, with or without its brackets, or the original's `msgId`."""
    sender: str | None = None
    recipient: str | None = None
    """The whole address; the domain in any case."""
    domain: str | None = None
    """Of the recipient, in any case."""
    text: str | None = None
    """Part of a recipient's or the sender's address, in any case."""
    status: str | None = None
    """Postfix's word: `sent`, `deferred`, `bounced`, `SOFTBOUNCE` …"""
    state: State | None = None
    """Of the outcome."""
    bounce_type: str | None = None
    category: str | None = None
    rule: str | None = None
    dsn: str | None = None
    """The beginning of the enhanced status code: `5`, `5.7`, `5.7.1`."""
    relay: str | None = None
    """Part of the relay as logged: a host name, an address."""
    provider: str | None = None
    """Who runs the relay, see `pda.maillog.providers`."""
    since: int | None = None
    until: int | None = None
    """Both inclusive: when an attempt was made, an outcome came about, a message arrived."""
    limit: int | None = None
    """Of whole lists; a page has its own."""


_AT = {"attempt": "a.at", "outcome": "o.last_at", "message": "e.born"}
_OF_ENTRY = (
    ("client", "+e.client_id = (SELECT id FROM client WHERE name = ?)"),
    ("host", "+e.host_id = (SELECT id FROM host WHERE name = ?)"),
    ("queue_id", "+e.queue_id = ?"),
    ("sender", "e.sender = ?"),
)
_OF_ATTEMPT = (
    ("status", "{m}.status = ?"),
    ("dsn", "substr({m}.dsn || '.', 1, length(?) + 1) = ? || '.'"),
    ("relay", "instr(lower({r}.name), lower(?)) > 0"),
    ("provider", "{r}.provider = ?"),
)
_OF_VERDICT = (
    ("bounce_type", "{v}.bounce_type = ?"),
    ("category", "{v}.category = ?"),
    ("rule", "{v}.rule = ?"),
)
_OTHER_ATTEMPT = """
EXISTS (SELECT 1 FROM attempt a2 JOIN manner m2 ON m2.id = a2.manner_id
    JOIN relay r2 ON r2.id = a2.relay_id WHERE a2.entry_id = e.id {and_recipient} AND {where})
"""
_OTHER_OUTCOME = """
EXISTS (SELECT 1 FROM outcome o2 LEFT JOIN verdict v2 ON v2.id = o2.verdict_id
    WHERE o2.entry_id = e.id {and_recipient} AND {where})
"""


def conditions(kind: Kind, wanted: Filter) -> list[Condition]:
    """What the rows of this kind have to meet.

    Of an entry `e`, with its attempt `a` (manner `m`, relay `r`, verdict `v`) or its outcome `o`
    (verdict `v`).
    """
    found = [*_given(wanted, _OF_ENTRY), *_in_time(kind, wanted)]
    if wanted.message_id is not None:
        found.append(_of_message(wanted.message_id))
    found += _of_recipient(kind, wanted)
    found += _of_attempt(kind, wanted)
    found += _of_outcome(kind, wanted)
    return found


def message_ids(text: str) -> list[str]:
    """The forms in which a message may be known by this."""
    return [text] if text.startswith("<") else [text, f"<{text}>"]


def where(found: list[Condition]) -> Condition:
    """All of them as one."""
    return _all(found) if found else ("1", [])


def _given(wanted: Filter, known: tuple[tuple[str, str], ...], **names: str) -> list[Condition]:
    """The conditions whose members are set; each `?` is that member."""
    return [
        (sql.format(**names), [value] * sql.count("?"))
        for member, sql in known
        if (value := getattr(wanted, member)) is not None
    ]


def _in_time(kind: Kind, wanted: Filter) -> list[Condition]:
    known = (("since", f"{_AT[kind]} >= ?"), ("until", f"{_AT[kind]} <= ?"))
    return _given(wanted, known)


def _of_message(text: str) -> Condition:
    forms = message_ids(text)
    marks = ",".join("?" * len(forms))
    return f"(e.message_id IN ({marks}) OR e.msg_id = ?)", [*forms, text]


def _of_recipient(kind: Kind, wanted: Filter) -> list[Condition]:
    """Attempts have a recipient as logged, outcomes one as compared."""
    column = {"attempt": "a.recipient", "outcome": "o.recipient", "message": "o2.recipient"}[kind]
    found: list[Condition] = []
    if wanted.recipient is not None:
        found.append(_is_recipient(column, wanted.recipient))
    if wanted.domain is not None:
        found.append(_ends_with(column, address_key(f"@{wanted.domain}")))
    if kind == "message":
        found = _by_outcome(kind, found)
    if wanted.text is not None:
        there = [_contains(column, wanted.text)]
        of_recipient = _by_outcome(kind, there) if kind == "message" else there
        found.append(_any([_contains("e.sender", wanted.text), *of_recipient]))
    return found


def _is_recipient(column: str, address: str) -> Condition:
    local = address.rpartition("@")[0]
    key = address_key(address)
    same = f"({column} IN (?, ?) OR {column} = ? COLLATE NOCASE AND substr({column}, 1, ?) = ?)"
    return same, [address, key, key, len(local), local]


def _contains(column: str, text: str) -> Condition:
    return f"instr(lower({column}), ?) > 0", [_lower(text)]


def _ends_with(column: str, text: str) -> Condition:
    return f"lower(substr({column}, ?)) = ?", [-len(text), _lower(text)]


def _lower(text: str) -> str:
    """As SQLite does: ASCII only."""
    return text.encode().lower().decode()


def _of_attempt(kind: Kind, wanted: Filter) -> list[Condition]:
    if kind == "attempt":
        return _given(wanted, _OF_ATTEMPT, m="m", r="r")
    found = _given(wanted, _OF_ATTEMPT, m="m2", r="r2")
    if not found:
        return []
    same = "AND a2.recipient = o.recipient COLLATE NOCASE" if kind == "outcome" else ""
    sql, values = _all(found)
    return [(_OTHER_ATTEMPT.format(and_recipient=same, where=sql), values)]


def _of_outcome(kind: Kind, wanted: Filter) -> list[Condition]:
    state = (("state", "{o}.state = ?"),)
    if kind == "message":
        of_any = _given(wanted, (*state, *_OF_VERDICT), o="o2", v="v2")
        return _by_outcome(kind, of_any)
    verdict = _given(wanted, _OF_VERDICT, v="v")
    if kind == "outcome":
        hops: Condition = f"o.state <> {State.HANDED_ON:d}", []
        return [*verdict, *(_given(wanted, state, o="o") or [hops])]
    return [*verdict, *_by_outcome(kind, _given(wanted, state, o="o2"))]


def _by_outcome(kind: Kind, found: list[Condition]) -> list[Condition]:
    """The condition that there is such an outcome; of an attempt: of its recipient."""
    if not found:
        return []
    same = "AND o2.recipient = a.recipient COLLATE NOCASE" if kind == "attempt" else ""
    sql, values = _all(found)
    return [(_OTHER_OUTCOME.format(and_recipient=same, where=sql), values)]


def _all(found: list[Condition]) -> Condition:
    return " AND ".join(sql for sql, _ in found), [v for _, values in found for v in values]


def _any(found: list[Condition]) -> Condition:
    sql, values = " OR ".join(sql for sql, _ in found), [v for _, vs in found for v in vs]
    return f"({sql})", values
