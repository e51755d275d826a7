"""Verdicts: the first rule of a list, in file order, that holds.

Owns the decision and its explanation. Everything that decides is in the failure itself and in the
list: no history, no clock, and no order of arrival. Every pattern runs in RE2, so a verdict
costs time linear in the text whatever the rules are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from operator import attrgetter
from typing import TypeAlias

import msgspec
import re2

from pda.maillog.bounce.categories import BY_NAME, UNDETERMINED
from pda.maillog.bounce.patterns import matcher, operator_finder, re2_options, searcher
from pda.maillog.bounce.reply import FINAL, Evidence, examine
from pda.maillog.bounce.rules import CONDITIONS, Rule, RuleList, read
from pda.maillog.events import BounceType, Failure, Verdict

CACHE = 4096
"""Verdicts, and masked replies, remembered. Some 8 MB at most, as only short ones are; replies
that differ only in the address, as most do, are one masked reply."""
_SHORT = 700

_Conditions: TypeAlias = tuple[tuple[Callable[[Evidence], str], Callable[[str], bool]], ...]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict and how it came about."""

    verdict: Verdict
    rule: Rule | None
    """The rule that decided."""
    masked: str
    """The reply as rules with `on="reply"` see it."""
    runner_up: Rule | None
    """The next rule in the file that holds too, with another category."""
    why: str
    """One sentence for each step."""


class _Texts:
    """The patterns of some rules, searched together in one text.

    `re2.Filter` looks for the words of all patterns in one pass, and runs only those patterns whose
    words are there. One automaton for all (`re2.Set`) is no faster on texts that it has seen, and
    twenty times slower on new ones: counted gaps between words make it grow without end.
    """

    def __init__(self, rules: Iterable[tuple[int, Rule]]) -> None:
        self._filter = re2.Filter()
        self._rule_of: list[int] = []
        for index, rule in rules:
            for pattern in rule.patterns:
                self._filter.Add(pattern, re2_options())
                self._rule_of.append(index)
        if self._rule_of:
            self._filter.Compile()

    def __bool__(self) -> bool:
        return bool(self._rule_of)

    def matching(self, text: str) -> tuple[int, ...]:
        """Numbers of the rules that have a pattern in the text, in file order."""
        if not self._rule_of:
            return ()
        # Patterns are numbered in file order, and found in the order of their numbers.
        found = self._filter.Match(text.encode("utf-8", "replace"))
        return tuple(map(self._rule_of.__getitem__, found)) if found else ()


class Rules:
    """A rule list in force. Immutable but for its bounded memory of verdicts."""

    def __init__(self, rule_list: RuleList) -> None:
        self.rules = rule_list.rules
        numbered = list(enumerate(self.rules))
        self._on_reply = _Texts((i, r) for i, r in numbered if r.on == "reply")
        self._on_text = _Texts((i, r) for i, r in numbered if r.on == "text")
        self._without_text = [i for i, r in numbered if not r.patterns]
        facts: dict[str, Callable[[Evidence], str]] = {
            name: attrgetter(name) for name in CONDITIONS
        }
        facts["operator"] = operator_finder(rule_list.operators)
        self._conditions = [
            tuple((facts[name], matcher(pattern)) for name, pattern in rule.conditions)
            for rule in self.rules
        ]
        self._verdicts = [
            (_verdict(rule, final=False), _verdict(rule, final=True))
            for rule in (*self.rules, None)
        ]
        self._remembered_verdict = lru_cache(CACHE)(self._judge_known_replies)
        self._remembered_matching = lru_cache(CACHE)(self._on_reply.matching)

    def forget(self) -> None:
        """Forgets the replies that were judged lately: somebody in them is to be forgotten."""
        self._remembered_verdict.cache_clear()
        self._remembered_matching.cache_clear()

    def classify(self, failure: Failure) -> Verdict:
        """The verdict on a failed attempt."""
        if len(failure.reason) + len(failure.relay) > _SHORT:
            return self.judge(failure)
        return self._remembered_verdict(failure)

    def judge(self, failure: Failure) -> Verdict:
        """As `classify`, without any memory."""
        evidence = examine(failure)
        return self._verdict(evidence, self._on_reply.matching(evidence.masked))

    def _judge_known_replies(self, failure: Failure) -> Verdict:
        evidence = examine(failure)
        return self._verdict(evidence, self._remembered_matching(evidence.masked))

    def explain(self, failure: Failure) -> Explanation:
        """The verdict, the rule, what it saw, and what else would have held."""
        evidence = examine(failure)
        holding = self._holding(evidence)
        rule = holding[0] if holding else None
        verdict = _verdict(rule, final=is_final(failure))
        return Explanation(
            verdict=verdict,
            rule=rule,
            masked=evidence.masked,
            runner_up=next((r for r in holding if r.category != verdict.category), None),
            why=" ".join((_why_rule(rule, evidence), _why_type(verdict, rule, failure))),
        )

    def _verdict(self, evidence: Evidence, on_reply: tuple[int, ...]) -> Verdict:
        with_text = self._first(evidence, self._with_text(evidence, on_reply), len(self.rules))
        first = self._first(evidence, self._without_text, with_text)
        return self._verdicts[first][is_final(evidence.failure)]

    def _first(self, evidence: Evidence, numbers: Iterable[int], before: int) -> int:
        """The first of some rules that holds, if it comes before another, and else the other."""
        for number in numbers:
            if number >= before:
                break
            conditions = self._conditions[number]
            if not conditions or _hold(conditions, evidence):
                return number
        return before

    def _holding(self, evidence: Evidence) -> list[Rule]:
        """All rules that hold, in file order."""
        with_text = self._with_text(evidence, self._on_reply.matching(evidence.masked))
        numbers = sorted({*with_text, *self._without_text})
        return [self.rules[n] for n in numbers if _hold(self._conditions[n], evidence)]

    def _with_text(self, evidence: Evidence, on_reply: tuple[int, ...]) -> Iterable[int]:
        """Numbers of the rules that have a pattern in their text, in file order."""
        if not self._on_text:
            return on_reply
        return sorted((*on_reply, *self._on_text.matching(evidence.raw)))


def load(xml: bytes, schema: bytes | None = None) -> Rules:
    """Make a rule list from a file's bytes.

    `schema` is an optional RELAX NG schema that is asked as well. Raises `RuleError`, which lists
    every mistake with its line.
    """
    return Rules(read(xml, schema))


def is_final(failure: Failure) -> bool:
    """Whether the attempt was the last for its recipient; without a status the code says it."""
    if failure.status:
        return failure.status in FINAL
    return not (failure.dsn or examine(failure).reply).startswith("4")


def _hold(conditions: _Conditions, evidence: Evidence) -> bool:
    for fact, matches in conditions:  # noqa: SIM110 a generator costs a twentieth of a verdict
        if not matches(fact(evidence)):
            return False
    return True


def _verdict(rule: Rule | None, *, final: bool) -> Verdict:
    if rule is None:
        return Verdict("undetermined" if final else "soft", UNDETERMINED, "")
    if not final:
        return Verdict("soft", rule.category, rule.id)
    return Verdict(rule.bounce_type or _usual_type(rule.category), rule.category, rule.id)


def _usual_type(category: str) -> BounceType:
    if category == UNDETERMINED:
        return "undetermined"
    return "hard" if BY_NAME[category].hard else "soft"


def _why_rule(rule: Rule | None, evidence: Evidence) -> str:
    if rule is None:
        return "No rule holds, and the codes alone decide nothing."
    seen = evidence.masked if rule.on == "reply" else evidence.raw
    found = next((p for p in rule.patterns if searcher(p)(seen)), None)
    parts = [f"'{found}' is found in the {rule.on}"] if found is not None else []
    parts += [f"{name} matches '{pattern}'" for name, pattern in rule.conditions]
    return f"Rule {rule.id} (line {rule.line}): {' and '.join(parts)}."


def _why_type(verdict: Verdict, rule: Rule | None, failure: Failure) -> str:
    if not is_final(failure):
        return f"The attempt is not final ({failure.status or 'by its code'}), so it is soft."
    if rule is None:
        return "The failure is final, so its type stays undetermined."
    source = "the rule" if rule.bounce_type else f"category {rule.category}"
    return f"The failure is final, and {source} makes it {verdict.bounce_type}."
