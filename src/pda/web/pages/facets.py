"""What a list of recipients can be narrowed by, and how many there are of each.

Owns the facets, and where their numbers come from: what is counted already where nothing but the
view narrows the list, else the first ones that are found. A number says whether it is exact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from pda.store import queries
from pda.store.database import Connection
from pda.store.queries import AttemptRow, Bounds, Counts, Filter, Group, OutcomeRow, Scope
from pda.store.tally import STATES
from pda.web.pages import wording
from pda.web.pages.outcomes import KINDS, PROVIDERS
from pda.web.pages.view import ALWAYS, View

Sign: TypeAlias = Literal["", "≈", "≥"]
"""Exact; of whole hours or days, or with what was removed since; at least."""
FACETS: Final = ("state", "status", "bounce_type", "category", "provider")
_OF_OUTCOME: Final = ("state", "bounce_type", "category")
_OFFERED: Final = 40
_LOOKED_AT: Final = 1000
_BOUNDS: Final = Bounds(entries=20_000, seconds=0.15)
_COUNTED: Final = STATES[:-1]
"""The last one hands on: it is no outcome."""
_LABELS: Final = {"state": "State", "status": "An attempt was", "bounce_type": "Type",
                  "category": "Category", "provider": "Provider"}  # fmt: skip
_STATUSES: Final = {
    "sent": ("delivered", "finally_ok"),
    "deferred": ("finally_ok", "expired", "pending"),
    "bounced": ("soft_bounce", "hard_bounce", "undetermined_bounce"),
}
"""The states that tell of such an attempt; of deferrals there are others that do not."""
_FIXED: Final = {"status": tuple(_STATUSES), "bounce_type": ("soft", "hard", "undetermined")}


class Number(msgspec.Struct, frozen=True):
    """How many recipients."""

    count: int
    sign: Sign = ""

    def __str__(self) -> str:
        thin = "\N{NARROW NO-BREAK SPACE}" if self.sign else ""
        return f"{self.sign}{thin}{wording.number(self.count)}"


class Choice(msgspec.Struct, frozen=True):
    """A value that a facet can be set to."""

    value: str
    words: str
    number: Number | None
    """None where it is not known."""


class Facet(msgspec.Struct, frozen=True):
    """What can be chosen of one kind."""

    name: str
    label: str
    chosen: str
    choices: list[Choice]


class Values(msgspec.Struct, frozen=True):
    """The numbers of a facet's values."""

    by: Mapping[str, Number]
    exact: bool = False
    """Whether there is nothing of a value that is not named."""

    def of(self, value: str) -> Number | None:
        """None where it is not known."""
        return self.by.get(value, Number(0) if self.exact else None)


class Numbers(msgspec.Struct, frozen=True):
    """Recipients altogether, and by the values of each facet."""

    total: Number
    facets: Mapping[str, Values]


NONE: Final = Numbers(Number(0), dict.fromkeys(FACETS, Values({}, exact=True)))
"""Of a list that is empty."""


def counted(connection: Connection, view: View) -> Numbers:
    """Of all that a view shows, from what is counted."""
    rows = queries.short(connection, view.client, view.since, view.until) if view.is_short else None
    is_exact = rows is not None or (
        view.preset == ALWAYS and _nothing_is_gone(connection, view.client)
    )
    sign: Sign = "" if is_exact else "≈"
    scope = Scope(client=view.client, host=view.host)
    if view.preset != ALWAYS:
        scope = msgspec.structs.replace(scope, since=view.since, until=view.until - 1)

    def groups(group: Group) -> dict[str, Counts]:
        if rows is not None:
            points = rows.points(scope, 0, group)
        else:
            points = queries.series(connection, scope, "whole", group)
        return {one.group: one.counts for one in points}

    whole = groups("").get("", Counts())
    return Numbers(
        Number(_recipients(whole), sign),
        {
            "state": Values({
                state.replace("_", "-"): Number(getattr(whole, state), sign) for state in _COUNTED
            }),
            "status": Values({
                status: Number(sum(getattr(whole, state) for state in states), _least(status, sign))
                for status, states in _STATUSES.items()
            }),
            "bounce_type": Values(_by(groups("type"), sign), exact=True),
            "category": Values(_by(groups("category"), sign), exact=True),
            "provider": Values(_by(groups("provider"), sign or "≥")),
        },
    )  # fmt: skip


def _nothing_is_gone(connection: Connection, client: str | None) -> bool:
    """What was removed for its age goes on being counted."""
    there = sum(
        one.recipients
        for one in queries.states(connection, client)
        if one.state.replace("-", "_") in _COUNTED
    )
    points = queries.series(connection, Scope(client=client), "whole")
    return there == sum(_recipients(one.counts) for one in points)


def _least(status: str, sign: Sign) -> Sign:
    return "≥" if status == "deferred" and not sign else sign


def _by(groups: Mapping[str, Counts], sign: Sign) -> dict[str, Number]:
    found = {name: _recipients(counts) for name, counts in groups.items() if name}
    return {name: Number(count, sign) for name, count in found.items() if count}


def _recipients(counts: Counts) -> int:
    return sum(getattr(counts, state) for state in _COUNTED)


def looked_at(connection: Connection, wanted: Filter) -> Numbers:
    """Of the first ones that a filter chooses; exact where there are no others.

    Of their attempts those are known that the filter chooses too, so there it is at least so many.
    """
    outcomes = queries.outcomes_page(connection, wanted, limit=_LOOKED_AT, bounds=_BOUNDS)
    attempts = queries.attempts_page(connection, wanted, limit=_LOOKED_AT, bounds=_BOUNDS).rows
    sign: Sign = "" if outcomes.next is None else "≥"
    shown = {_whom(row) for row in outcomes.rows}
    tried = [row for row in attempts if _whom(row) in shown]
    return Numbers(
        Number(len(outcomes.rows), sign),
        {
            **{name: _values(outcomes.rows, name, sign) for name in _OF_OUTCOME},
            **{name: _values(tried, name, "≥") for name in FACETS if name not in _OF_OUTCOME},
        },
    )


def _whom(row: OutcomeRow | AttemptRow) -> tuple[int, str]:
    return row.id, row.recipient.lower()


def _values(rows: Sequence[OutcomeRow | AttemptRow], member: str, sign: Sign) -> Values:
    """Each recipient once."""
    found: defaultdict[str, set[tuple[int, str]]] = defaultdict(set)
    for row in rows:
        if value := getattr(row, member):
            found[value].add(_whom(row))
    by = {value: Number(len(whom), sign) for value, whom in found.items()}
    return Values(by, exact=not sign)


def offered(every: Numbers, found: Numbers | None, chosen: Mapping[str, str]) -> list[Facet]:
    """What can be chosen, frequent categories and providers first.

    `every` is of the view, `found` of what else narrows the list, if anything does. A facet that is
    set narrows the others, not itself.
    """
    facets = []
    for name in FACETS:
        now, told = chosen.get(name, ""), every.facets[name]
        if found is not None and any(key != name for key in chosen):
            told = found.facets[name]
            if now:
                told = Values({now: told.by[now]} if now in told.by else {})
        named = dict(_named(name, every.facets[name]))
        if now:
            named.setdefault(now, now)
        choices = [Choice(value, words, told.of(value)) for value, words in named.items()]
        facets.append(Facet(name, _LABELS[name], now, choices))
    return facets


def _named(name: str, known: Values) -> Iterator[tuple[str, str]]:
    if name == "state":
        for kind in KINDS:
            for state in kind.states:
                yield state, "Held" if state == "held" else kind.label
    elif name in _FIXED:
        yield from ((value, value) for value in _FIXED[name])
    else:
        ranked = sorted(known.by, key=lambda value: (-known.by[value].count, value))
        words = PROVIDERS if name == "provider" else {}
        yield from ((value, words.get(value, value)) for value in ranked[:_OFFERED])
