"""What a validator says of a rule list: its mistakes, its samples, and rules that cannot win.

Owns the checks that go beyond reading the file. Pure: bytes in, mistakes out.
"""

from __future__ import annotations

import re

from pda.maillog.bounce.judge import Rules
from pda.maillog.bounce.patterns import searcher
from pda.maillog.bounce.rules import Mistake, Rule, RuleError, RuleList, read_what_is_sound

_LITERAL = re.compile(r"[^\\.^$|?*+()\[\]{}]+")


def check(xml: bytes, schema: bytes | None = None) -> list[Mistake]:
    """Everything that is wrong with a rule file, in the order of its lines; empty if nothing is.

    Beside what keeps a file from being used: samples that another rule wins, and rules that an
    earlier rule always wins from, both as far as the rules themselves are without a mistake.
    """
    try:
        rule_list, mistakes = read_what_is_sound(xml, schema)
    except RuleError as error:
        return list(error.mistakes)
    return sorted(mistakes + _lost_samples(rule_list) + _shadowed(rule_list))


def _lost_samples(rule_list: RuleList) -> list[Mistake]:
    judge = Rules(rule_list)
    lost = []
    for rule in rule_list.rules:
        for sample in rule.samples:
            winner = judge.classify(sample.failure).rule
            if winner != rule.id:
                by = f"rule {winner} wins it" if winner else "no rule holds"
                lost.append(Mistake(sample.line, f"sample of rule {rule.id}: {by}"))
    return lost


def _shadowed(rule_list: RuleList) -> list[Mistake]:
    """Rules all of whose patterns an earlier rule has too, or plainly contains.

    Only certain cases: the same pattern, a plain text that the earlier rule finds, and an earlier
    rule that matches everything. The earlier rule must ask for nothing that this one does not ask.
    """
    found = []
    for number, rule in enumerate(rule_list.rules):
        for earlier in rule_list.rules[:number]:
            if _covers(earlier, rule):
                text = f"rule {rule.id} can never win: rule {earlier.id} in line {earlier.line}"
                found.append(Mistake(rule.line, f"{text} comes first and always holds too"))
                break
    return found


def _covers(earlier: Rule, rule: Rule) -> bool:
    if not set(earlier.conditions) <= set(rule.conditions):
        return False
    if not earlier.patterns:
        return True
    if not rule.patterns or earlier.on != rule.on:
        return any(searcher(pattern)("") for pattern in earlier.patterns)
    return all(_contained(pattern, earlier) for pattern in rule.patterns)


def _contained(pattern: str, earlier: Rule) -> bool:
    if pattern in earlier.patterns:
        return True
    plain = _LITERAL.fullmatch(pattern) is not None
    # A plain text is found anywhere, so an anchored pattern need not match where it stands.
    return any(
        searcher(other)("") or (plain and _unanchored(other) and searcher(other)(pattern))
        for other in earlier.patterns
    )


def _unanchored(pattern: str) -> bool:
    return not re.search(r"[\^$]|\\[bBAz]", pattern)
