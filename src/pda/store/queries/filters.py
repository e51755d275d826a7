"""Which attempts, outcomes or messages are asked for, as conditions of SQL.

Owns the `Filter` and what each of its members means for each kind of row. A client principal's id
goes into `client`, and with it into the SQL.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final, Literal, TypeAlias

import msgspec

from pda.maillog.events import State, address_key
from pda.store.database import Value

Kind: TypeAlias = Literal["attempt", "outcome", "message"]
Condition: TypeAlias = tuple[str, list[Value]]
"""SQL and its values, in order."""


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which attempts, outcomes or messages; None stands for all.

    What is said of an attempt (status, dsn …) chooses the outcomes of recipients, and the messages,
    that have such an attempt; what is said of an outcome (state) the attempts it came of. Of a
    message all that is said of recipients has to hold of one of them.
    """

    client: str | None = None
    host: str | None = None
    queue_id: str | None = None
    message_id: str | None = None
    """A Message-ID, with or without its brackets, or the original's `msgId`."""
    sender: str | None = None
    """The whole address, as `recipient`; empty: notifications."""
    recipient: str | None = None
    """The whole address; the domain in any case, as A-labels or in Unicode."""
    domain: str | None = None
    """Of the recipient, likewise."""
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
)
_OF_ATTEMPT = (
    ("status", "{m}.status = ?"),
    ("dsn", "substr({m}.dsn || '.', 1, length(?) + 1) = ? || '.'"),
    ("relay", "instr(lower({r}.name), lower(?)) > 0"),
    ("provider", "{r}.provider = ?"),
)
_OF_STATE = (("state", "{o}.state = ?"),)
_OF_VERDICT = (
    ("bounce_type", "{v}.bounce_type = ?"),
    ("category", "{v}.category = ?"),
    ("rule", "{v}.rule = ?"),
)
_OTHER_ATTEMPT = """
EXISTS (SELECT 1 FROM attempt a2 JOIN manner m2 ON m2.id = a2.manner_id
    JOIN relay r2 ON r2.id = a2.relay_id WHERE a2.entry_id = e.id AND {same} AND {where})
"""
_OTHER_OUTCOME = """
EXISTS (SELECT 1 FROM outcome o2 LEFT JOIN verdict v2 ON v2.id = o2.verdict_id
    WHERE o2.entry_id = e.id AND {same} AND {where})
"""
_SAME = "({a}.recipient = {o}.recipient COLLATE NOCASE OR {a}.recipient = {o}.address)"
"""Attempts have a recipient as logged; outcomes one as compared and, if that differs, as logged."""


def conditions(kind: Kind, wanted: Filter) -> list[Condition]:
    """What the rows of this kind have to meet.

    Of an entry `e`, with its attempt `a` (manner `m`, relay `r`, verdict `v`) or its outcome `o`
    (verdict `v`).
    """
    found = [*_given(wanted, _OF_ENTRY), *_in_time(kind, wanted)]
    if wanted.sender is not None:
        found.append(_is_address("e.sender", wanted.sender))
    if wanted.message_id is not None:
        found.append(_of_message(wanted.message_id))
    return found + _OF_RECIPIENTS[kind](wanted)


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


def _of_an_attempt(wanted: Filter) -> list[Condition]:
    found = _of_address("a.recipient", wanted)
    if wanted.text is not None:
        found.append(_any(_contains(wanted.text, "e.sender", "a.recipient")))
    found += _given(wanted, (*_OF_ATTEMPT, *_OF_VERDICT), m="m", r="r", v="v")
    state = _given(wanted, _OF_STATE, o="o2")
    return found + _other(_OTHER_OUTCOME, state, _SAME.format(o="o2", a="a"))


def _of_an_outcome(wanted: Filter) -> list[Condition]:
    found = _of_address("o.recipient", wanted)
    if wanted.text is not None:
        found.append(_any(_contains(wanted.text, "e.sender", "o.recipient", "o.address")))
    found += _given(wanted, _OF_VERDICT, v="v")
    hops: Condition = f"o.state <> {State.HANDED_ON:d}", []
    found += _given(wanted, _OF_STATE, o="o") or [hops]
    attempt = _given(wanted, _OF_ATTEMPT, m="m2", r="r2")
    return found + _other(_OTHER_ATTEMPT, attempt, _SAME.format(o="o", a="a2"))


def _of_a_message(wanted: Filter) -> list[Condition]:
    """That one of its recipients is as all of the filter says."""
    outcome = _of_address("o2.recipient", wanted)
    outcome += _given(wanted, (*_OF_STATE, *_OF_VERDICT), o="o2", v="v2")
    attempt = _given(wanted, _OF_ATTEMPT, m="m2", r="r2")
    if wanted.text is not None:
        of_sender = _contains(wanted.text, "e.sender")
        of_recipient = _contains(wanted.text, "o2.recipient", "o2.address")
        if not (outcome or attempt):  # it may have no recipient yet
            return [_any([*of_sender, *_other(_OTHER_OUTCOME, [_any(of_recipient)])])]
        outcome.append(_any([*of_sender, *of_recipient]))
    if not outcome:
        return _other(_OTHER_ATTEMPT, attempt)
    same = _SAME.format(o="o2", a="a2")
    return _other(_OTHER_OUTCOME, [*outcome, *_other(_OTHER_ATTEMPT, attempt, same)])


_OF_RECIPIENTS: Final = {
    "attempt": _of_an_attempt,
    "outcome": _of_an_outcome,
    "message": _of_a_message,
}


def _of_address(column: str, wanted: Filter) -> list[Condition]:
    found: list[Condition] = []
    if wanted.recipient is not None:
        found.append(_is_address(column, wanted.recipient))
    if wanted.domain is not None:
        spelt = _spellings(address_key(f"@{wanted.domain}"))
        found.append(_any([_ends_with(column, text) for text in spelt]))
    return found


def _is_address(column: str, address: str) -> Condition:
    local = address.rpartition("@")[0]
    key = address_key(address)
    known = list(dict.fromkeys([address, *_spellings(key)]))
    marks = ",".join("?" * len(known))
    same = f"({column} IN ({marks}) OR {column} = ? COLLATE NOCASE AND substr({column}, 1, ?) = ?)"
    return same, [*known, key, len(local), local]


def _spellings(key: str) -> list[str]:
    """With A-labels, as addresses are compared, and in Unicode: attempts have theirs as logged."""
    local, at, domain = key.rpartition("@")
    with suppress(UnicodeError):
        domain = domain.encode("ascii").decode("idna")
    return list(dict.fromkeys([key, f"{local}{at}{domain}"]))


def _contains(text: str, *columns: str) -> list[Condition]:
    return [(f"instr(lower({column}), ?) > 0", [_lower(text)]) for column in columns]


def _ends_with(column: str, text: str) -> Condition:
    return f"lower(substr({column}, ?)) = ?", [-len(text), _lower(text)]


def _lower(text: str) -> str:
    """As SQLite does: ASCII only."""
    return text.encode().lower().decode()


def _other(exists: str, found: list[Condition], same: str = "1") -> list[Condition]:
    """That there is another row like this, of the same recipient; none where nothing is said."""
    if not found:
        return []
    sql, values = _all(found)
    return [(exists.format(same=same, where=sql), values)]


def _all(found: list[Condition]) -> Condition:
    return " AND ".join(sql for sql, _ in found), [v for _, values in found for v in values]


def _any(found: list[Condition]) -> Condition:
    sql, values = " OR ".join(sql for sql, _ in found), [v for _, vs in found for v in vs]
    return f"({sql})", values
