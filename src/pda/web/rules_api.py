"""`/api/v1/rules`, `classify` and `bounces/unclassified`: the rules, and the proof of them.

Owns their parameters and members. What rules are is the service's business: see `ports.RuleBook`.
They are about the whole service, so a client principal may ask for a verdict only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from pda.maillog.events import Failure
from pda.store.database import Connection
from pda.web.asking import Asker
from pda.web.editing import author
from pda.web.errors import Refused
from pda.web.ports import Site
from pda.web.routes import Operation, Who
from pda.web.values import When, publisher

_Type: TypeAlias = Literal["soft", "hard", "undetermined"]
_CATEGORY: Final = Meta(description="Why, in one of the categories of the README.")
_REFUSED: Final = {422: "The list cannot be used; `detail` names every mistake with its line."}


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A failure to be classified."""

    reason: Annotated[str, Meta(description="The text in brackets at the end of the log line.")]
    dsn: Annotated[str, Meta(description="The enhanced status code, as `5.1.1`.")] = ""
    status: Annotated[str, Meta(description="Postfix's status: `bounced`, `deferred` …")] = ""
    relay: Annotated[str, Meta(description="As logged: `mx.example.org[192.0.2.1]:25`.")] = ""


class Explained(msgspec.Struct, frozen=True):
    """A verdict and how it came about."""

    type: _Type
    category: Annotated[str, _CATEGORY]
    rule: Annotated[str, Meta(description="Id of the rule that decided; empty where none did.")]
    masked: Annotated[str, Meta(description='What rules with `on="reply"` saw.')]
    dsn: Annotated[str, Meta(description="The enhanced status code that rules saw.")]
    reply: Annotated[str, Meta(description="The reply code that rules saw.")]
    stage: Annotated[str, Meta(description="The SMTP stage that rules saw.")]
    runner_up: Annotated[
        str, Meta(description="The next rule that holds and says another category.")
    ]
    runner_up_category: str
    why: Annotated[str, Meta(description="In a sentence.")]


class RuleList(msgspec.Struct, frozen=True):
    """The rule list in force, and how far history was judged by it."""

    source: Annotated[str, Meta(description="A file, an address, or that it came with pda.")]
    rules: int
    digest: str
    loaded_at: When
    refused: Annotated[str, Meta(description="Why the last reload left an older list in force.")]
    refused_at: When | None
    entries: Annotated[int, Meta(description="Queue entries that are stored.")]
    entries_left: Annotated[int, Meta(description="Those still to be judged by this list.")]
    changed: Annotated[int, Meta(description="Attempts that got another verdict by it.")]
    judged_at: Annotated[When | None, Meta(description="When all of history was judged.")]


class Rule(msgspec.Struct, frozen=True):
    """A rule of the list in force."""

    id: str
    line: Annotated[int, Meta(description="Where it stands in the list.")]
    type: Annotated[_Type, Meta(description="Of a final failure.")]
    category: Annotated[str, _CATEGORY]
    on: Annotated[str, Meta(description="What its patterns are looked for in.")]
    patterns: tuple[str, ...]
    conditions: Mapping[str, str]
    comment: str


class Rules(msgspec.Struct, frozen=True):
    """The rules in force, in their order."""

    list: RuleList
    rules: Sequence[Rule]


class RuleHits(msgspec.Struct, frozen=True):
    """How often a rule decided about what is stored."""

    rule: Annotated[str, Meta(description="Empty: no rule held.")]
    category: Annotated[str, _CATEGORY]
    in_force: Annotated[bool, Meta(description="Not if it is a rule of an earlier list.")]
    hits: int
    last_at: When | None
    sample: Annotated[str, Meta(description="The text of its last hit.")]


class RuleStatistics(msgspec.Struct, frozen=True):
    """The rules in force in their order, then what else decided."""

    rules: Sequence[RuleHits]


class Unknown(msgspec.Struct, frozen=True):
    """Failures of one masked text that no rule knows."""

    text: Annotated[str, Meta(description="Masked: without addresses, hosts and numbers.")]
    dsn: str
    count: int
    last_at: When | None
    sample: Annotated[str, Meta(description="One of them as it was logged.")]
    stub: Annotated[str, Meta(description="A rule to start from.")]


class Unclassified(msgspec.Struct, frozen=True):
    """Failures that no rule knows, most frequent first."""

    unclassified: Sequence[Unknown]


class UnclassifiedQuery(msgspec.Struct, frozen=True):
    """How many groups."""

    limit: Annotated[int, Meta(ge=1, le=1000, description="Groups at the most.")] = 100


class Difference(msgspec.Struct, frozen=True):
    """Failures whose verdict would change in the same way."""

    old_type: _Type
    old_category: str
    new_type: _Type
    new_category: str
    count: int
    samples: Annotated[Sequence[str], Meta(description="Up to three of their texts.")]


class Trial(msgspec.Struct, frozen=True):
    """What a list would change of what is stored."""

    failures: Annotated[int, Meta(description="Failures that were judged.")]
    unchanged: int
    changes: Annotated[Sequence[Difference], Meta(description="Most frequent first.")]


class Reloaded(msgspec.Struct, frozen=True):
    """What is in force now."""

    message: str
    list: RuleList


rule_list: Final = publisher(RuleList)
_rule, _hits, _unknown = publisher(Rule), publisher(RuleHits), publisher(Unknown)
_explained, _trial = publisher(Explained), publisher(Trial)


class RulesApi:
    """The rules, for programs."""

    def __init__(self, site: Site, asker: Asker) -> None:
        self._service = site.service
        self._asker = asker

    @Operation("GET", "/api/v1/rules", who=Who.WHOLE)
    async def rules(self) -> Rules:
        """The rule list in force."""
        described = self._service.rulebook.described()
        return Rules(rule_list(self._service.rules_status()), [_rule(one) for one in described])

    @Operation("GET", "/api/v1/rules/stats", who=Who.WHOLE, answers=RuleStatistics)
    async def rules_stats(self) -> msgspec.Raw:
        """Hits, last hit and a sample of each rule."""
        return await self._asker.ask_much(self._usage)

    @Operation("GET", "/api/v1/bounces/unclassified", who=Who.WHOLE, answers=Unclassified)
    async def unclassified(self, query: UnclassifiedQuery) -> msgspec.Raw:
        """Failures that no rule knows, grouped by their masked text, most frequent first."""
        return await self._asker.ask_much(self._unclassified, query.limit)

    @Operation("POST", "/api/v1/classify")
    async def classify(self, body: Asked) -> Explained:
        """The verdict on a failure, and why."""
        failure = Failure(body.reason, body.dsn, body.status, body.relay)
        return _explained(self._service.rulebook.explained(failure))

    @Operation(
        "POST", "/api/v1/rules/try", who=Who.WHOLE, answers=Trial, takes="application/xml",
        errors=_REFUSED,
    )  # fmt: skip
    async def rules_try(self, body: bytes) -> msgspec.Raw:
        """What the list in the body would change of what is stored; it changes nothing."""
        try:
            return await self._asker.ask_much(self._tried, body)
        except ValueError as error:
            raise Refused(422, f"the list cannot be used: {error}") from None

    @Operation("POST", "/api/v1/rules/reload", who=Who.ADMIN, errors=_REFUSED)
    async def rules_reload(self) -> Reloaded:
        """Reads the rule list again, and begins to judge history by it.

        A list that cannot be used leaves the one in force.
        """
        said = await self._service.reload_rules(author())
        status = self._service.rules_status()
        if status.refused:
            raise Refused(422, said)
        return Reloaded(said, rule_list(status))

    def _usage(self, connection: Connection) -> msgspec.Raw:
        found = self._service.rulebook.usage(connection)
        return encoded(RuleStatistics([_hits(one) for one in found]))

    def _unclassified(self, connection: Connection, limit: int) -> msgspec.Raw:
        found = self._service.rulebook.unclassified(connection, limit)
        return encoded(Unclassified([_unknown(one) for one in found]))

    def _tried(self, connection: Connection, xml: bytes) -> msgspec.Raw:
        return encoded(_trial(self._service.rulebook.trial(connection, xml)))


def encoded(answer: msgspec.Struct) -> msgspec.Raw:
    """An answer as JSON; long ones are encoded in the thread that asked for them."""
    return msgspec.Raw(msgspec.json.encode(answer))
