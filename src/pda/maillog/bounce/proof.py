"""What a rule list does with the failures that were seen: explained, counted, compared, grouped.

Owns the answers to "why", "which rule decides how often", "what would change", and "what does no
rule know". Pure: failures in, answers out; whatever the failures are, an answer stays bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias
from xml.sax.saxutils import escape, quoteattr

import msgspec

from pda.maillog.bounce.categories import BY_NAME, FROM_CODE, UNDETERMINED
from pda.maillog.bounce.judge import Rules
from pda.maillog.bounce.reply import examine, mask
from pda.maillog.bounce.rules import Rule
from pda.maillog.events import Failure, Verdict

Judged: TypeAlias = tuple[Failure, int, Verdict]
"""A failure, when it was (µs since the epoch), and the verdict on it."""

MOST_GROUPS = 10_000
"""Different texts told apart; what comes beyond is counted under `(others)`."""
OTHERS = "(others)"
_MOST_SAMPLES = 3
_STUB_WORDS = 12
_SPECIAL = re.compile(r"[\\.^$|?*+()\[\]{}]")
_ADDRESS = re.compile(r"[^\s<>]+@[^\s<>]+")
_SOMEBODY = "user@example.com"
_NOT_OF_AN_ID = re.compile(r"[^a-z0-9]+")


class Explained(msgspec.Struct, frozen=True):
    """A verdict and how it came about, as it is shown."""

    type: str
    category: str
    rule: str
    masked: str
    """What rules with `on="reply"` saw."""
    dsn: str
    """The enhanced status code that rules saw."""
    reply: str
    stage: str
    runner_up: str
    """The next rule that holds and says another category; empty where none does."""
    runner_up_category: str
    why: str


class RuleUse(msgspec.Struct, frozen=True):
    """How often a rule decided about what is stored."""

    rule: str
    """Empty: no rule held."""
    category: str
    in_force: bool
    """False: a rule of an earlier list, whose verdicts are still to be replaced."""
    hits: int
    last_at: int
    """0 where it never decided."""
    sample: str
    """The text of its last hit."""


class Difference(msgspec.Struct):
    """Failures whose verdict would change in the same way."""

    old_type: str
    old_category: str
    new_type: str
    new_category: str
    count: int = 0
    samples: list[str] = []


class Trial(msgspec.Struct):
    """What a rule list would change."""

    failures: int = 0
    unchanged: int = 0
    changes: list[Difference] = []
    """Most frequent first."""


class Unclassified(msgspec.Struct):
    """Failures of one masked text: those that no rule knows, or that one rule matches."""

    text: str
    """Masked."""
    dsn: str
    count: int
    last_at: int
    sample: str
    stub: str = ""
    """A rule to start from."""


class Matches(msgspec.Struct, frozen=True):
    """Failures that a rule holds for, whichever rule decides about them."""

    count: int
    groups: list[Unclassified]
    """Most frequent first, not all of them where there are many."""


class Attempt(msgspec.Struct, frozen=True):
    """What a new rule would do."""

    mistakes: tuple[str, ...]
    """What the validator says of the list with it, with lines."""
    matches: Matches | None = None
    """None, as the trial, where the list cannot be used at all."""
    trial: Trial | None = None


class Described(msgspec.Struct, frozen=True):
    """A rule, as it is shown."""

    id: str
    line: int
    type: str
    """Of a final failure."""
    category: str
    on: str
    patterns: tuple[str, ...]
    conditions: Mapping[str, str]
    comment: str


def explain(rules: Rules, failure: Failure) -> Explained:
    """The verdict on a failure, and why."""
    found, seen = rules.explain(failure), examine(failure)
    verdict, other = found.verdict, found.runner_up
    return Explained(
        type=verdict.bounce_type,
        category=verdict.category,
        rule=verdict.rule,
        masked=found.masked,
        dsn=seen.dsn,
        reply=seen.reply,
        stage=seen.stage,
        runner_up=other.id if other else "",
        runner_up_category=other.category if other else "",
        why=found.why,
    )


def in_reply_to(text: str, command: str, relay: str) -> str:
    """The text that Postfix logs for a reply to an SMTP command (smtp/smtp_trouble.c)."""
    host = relay.partition(":")[0] or "mx.example[192.0.2.1]"
    if not command or " said: " in text:
        return text
    if command.upper() == "CONNECT":
        return f"host {host} refused to talk to me: {text}"
    name = {"MAIL": "MAIL FROM", "RCPT": "RCPT TO"}.get(command.upper(), command.upper())
    name = "end of DATA" if name == "END OF DATA" else name
    return f"host {host} said: {text} (in reply to {name} command)"


def describe(rules: Rules) -> list[Described]:
    """The rules of a list, in its order."""
    return [
        Described(
            rule.id,
            rule.line,
            rule.bounce_type or _usual_type(rule),
            rule.category,
            rule.on,
            rule.patterns,
            dict(rule.conditions),
            rule.comment,
        )
        for rule in rules.rules
    ]


def _usual_type(rule: Rule) -> str:
    if rule.category == UNDETERMINED:
        return UNDETERMINED
    return "hard" if BY_NAME[rule.category].hard else "soft"


def usage(rules: Rules, hits: Iterable[tuple[Verdict, int, int, str]]) -> list[RuleUse]:
    """The rules of a list in its order, then what else decided.

    `hits`: verdict, how often, when last, text of the last.
    """
    by_rule: dict[str, tuple[str, int, int, str]] = {}
    for verdict, count, at, sample in hits:
        category, before, last, text = by_rule.get(verdict.rule, (verdict.category, 0, 0, ""))
        newest = (at, sample) if at >= last else (last, text)
        by_rule[verdict.rule] = category, before + count, *newest
    found = [
        RuleUse(rule.id, rule.category, True, *by_rule.pop(rule.id, ("", 0, 0, ""))[1:])
        for rule in rules.rules
    ]
    return found + [
        RuleUse(rule, category, not rule, count, last, sample)
        for rule, (category, count, last, sample) in sorted(by_rule.items())
    ]


def compare(rules: Rules, judged: Iterable[Judged]) -> Trial:
    """What a list would say otherwise about failures that have their verdicts."""
    trial, found = Trial(), dict[tuple[str, str, str, str], Difference]()
    for failure, _, old in judged:
        new = rules.classify(failure)
        trial.failures += 1
        key = (old.bounce_type, old.category, new.bounce_type, new.category)
        if key[:2] == key[2:]:
            trial.unchanged += 1
            continue
        difference = found.setdefault(key, Difference(*key))
        difference.count += 1
        if len(difference.samples) < _MOST_SAMPLES and failure.reason not in difference.samples:
            difference.samples.append(failure.reason)
    trial.changes = sorted(found.values(), key=lambda one: -one.count)
    return trial


def matching(rule: Rules, judged: Iterable[Judged], limit: int) -> Matches:
    """The failures that a list of one rule knows."""
    groups = _grouped(one for one in judged if rule.classify(one[0]).rule)
    return Matches(sum(one.count for one in groups), groups[:limit])


def group(judged: Iterable[Judged], limit: int) -> list[Unclassified]:
    """Failures grouped by what rules see of them, most frequent first, with rules to start from."""
    frequent = _grouped(judged)[:limit]
    for one, name in zip(frequent, _names(frequent), strict=True):
        one.stub = _stub(one, name)
    return frequent


def _grouped(judged: Iterable[Judged]) -> list[Unclassified]:
    groups: dict[tuple[str, str], Unclassified] = {}
    for failure, at, _ in judged:
        seen = examine(failure)
        key = seen.masked, seen.dsn
        if key not in groups and len(groups) >= MOST_GROUPS:
            key = OTHERS, ""
        one = groups.setdefault(key, Unclassified(*key, 0, at, failure.reason))
        one.count += 1
        if at >= one.last_at:
            one.last_at, one.sample = at, failure.reason
    return sorted(groups.values(), key=lambda one: (-one.count, one.text))


def _names(groups: Iterable[Unclassified]) -> Iterator[str]:
    """An id for each new rule, of the first words of its text."""
    used: dict[str, int] = {}
    for one in groups:
        words = _NOT_OF_AN_ID.sub("-", " ".join(one.text.lower().split()[:5])).strip("-")
        name = f"new-{words[:40].strip('-') or 'rule'}"
        used[name] = used.get(name, 0) + 1
        yield name if used[name] == 1 else f"{name}-{used[name]}"


def _stub(one: Unclassified, name: str) -> str:
    """A rule that wins this text where no other does; the category is to be chosen."""
    if one.text == OTHERS:
        return ""
    category = FROM_CODE.get(one.dsn, UNDETERMINED)
    words = one.text.split()
    pattern = _quoted(" ".join(words[:_STUB_WORDS]))
    end = "$" if len(words) <= _STUB_WORDS else r"\b"
    dsn = f" dsn={quoteattr(_quoted(one.dsn))}" if not words and one.dsn else ""
    body = f"\n  <or>^{escape(pattern)}{end}</or>" if words or not dsn else ""
    sample = _ADDRESS.sub(_SOMEBODY, one.sample)
    sample = sample if mask(sample) == one.text else one.sample
    code = f" dsn={quoteattr(one.dsn)}" if one.dsn else ""
    return (
        f'<regex id="{name}" category="{category}" on="reply"{dsn}>{body}'
        f"\n  <sample{code}>{escape(sample)}</sample>\n</regex>"
    )


def _quoted(text: str) -> str:
    """A pattern that matches this text only."""
    return _SPECIAL.sub(r"\\\g<0>", text)
