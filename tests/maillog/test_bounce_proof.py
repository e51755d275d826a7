"""The proof of a rule list: explained, counted, compared, and what it does not know."""

from __future__ import annotations

import pytest

from pda.maillog import bounce
from pda.maillog.bounce import proof
from pda.maillog.events import Failure, Verdict
from tests.support import RULES

LIST = bounce.load(b"""<bounces>
<regex id="cat" category="policy" on="reply"><or>\\bcat\\b</or><comment>no cats</comment></regex>
<regex id="mouse" category="invalid-recipient" on="reply" stage="RCPT"><or>mouse</or></regex>
</bounces>""")


@pytest.mark.parametrize(
    ("text", "command", "relay", "reason"),
    [
        ("connect to x: refused", "", "", "connect to x: refused"),
        ("550 no", "RCPT TO", "mx.a[192.0.2.1]:25", "host mx.a[192.0.2.1] said: 550 no (in reply to RCPT TO command)"),
        ("550 no", "rcpt", "mx.a[192.0.2.1]:25", "host mx.a[192.0.2.1] said: 550 no (in reply to RCPT TO command)"),
        ("550 no", "end of data", "a", "host a said: 550 no (in reply to end of DATA command)"),
        ("421 no", "CONNECT", "a", "host a refused to talk to me: 421 no"),
        ("host b said: 550 no", "RCPT TO", "a", "host b said: 550 no"),
    ],
)  # fmt: skip
def test_a_reply_as_postfix_logs_it(text: str, command: str, relay: str, reason: str) -> None:
    assert proof.in_reply_to(text, command, relay) == reason


@pytest.mark.parametrize(
    "command", ["CONNECT", "HELO", "MAIL FROM", "RCPT TO", "DATA", "end of DATA"]
)
def test_the_stage_is_seen(command: str) -> None:
    found = proof.explain(LIST, Failure(proof.in_reply_to("550 mouse", command, ""), "", "", ""))
    assert command.startswith(found.stage)
    assert found.rule == ("mouse" if command == "RCPT TO" else "")


def test_a_verdict_is_explained() -> None:
    reason = (
        "host a[192.0.2.1] said: 550 5.7.1 cat <a@b.example> mouse (in reply to RCPT TO command)"
    )
    found = proof.explain(LIST, Failure(reason, "5.7.1", "bounced", ""))
    assert (found.type, found.category, found.rule) == ("soft", "policy", "cat")
    assert found.masked == "cat ADDR mouse"
    assert (found.dsn, found.reply, found.stage) == ("5.7.1", "550", "RCPT")
    assert (found.runner_up, found.runner_up_category) == ("mouse", "invalid-recipient")
    assert "Rule cat (line 2)" in found.why


def test_rules_are_described() -> None:
    cat, mouse = proof.describe(LIST)
    assert (cat.id, cat.line, cat.type, cat.comment) == ("cat", 2, "soft", "no cats")
    assert (mouse.type, mouse.conditions) == ("hard", {"stage": "RCPT"})


def test_usage_is_counted_by_rule_over_its_verdicts() -> None:
    hits = [
        (Verdict("soft", "policy", "cat"), 3, 100, "early"),
        (Verdict("hard", "policy", "cat"), 4, 200, "late"),
        (Verdict("soft", "virus", "gone"), 1, 50, "old"),
        (Verdict("soft", "undetermined", ""), 2, 60, "what"),
    ]
    assert proof.usage(LIST, hits) == [
        proof.RuleUse("cat", "policy", True, 7, 200, "late"),
        proof.RuleUse("mouse", "invalid-recipient", True, 0, 0, ""),
        proof.RuleUse("", "undetermined", True, 2, 60, "what"),
        proof.RuleUse("gone", "virus", False, 1, 50, "old"),
    ]


UNKNOWN = Verdict("undetermined", "undetermined", "")


def failed(*texts: str, verdict: Verdict = UNKNOWN) -> list[proof.Judged]:
    return [(Failure(text, "", "bounced", ""), n, verdict) for n, text in enumerate(texts)]


def test_lists_are_compared() -> None:
    known = Verdict("soft", "policy", "some other rule")
    trial = proof.compare(
        LIST,
        [*failed("cat", verdict=known), *failed("cat", "cat", "a cat", "cat b", "cat c", "dog")],
    )
    assert (trial.failures, trial.unchanged) == (7, 2)
    (one,) = trial.changes
    assert (one.old_type, one.new_type, one.new_category) == ("undetermined", "soft", "policy")
    assert (one.count, one.samples) == (5, ["cat", "a cat", "cat b"])


TEXTS = [
    "host a[192.0.2.1] said: 550 Frobnicated (x+y) $5 for <ann@example.org> & co (in reply to RCPT TO command)",
    "host a[192.0.2.1] said: 550 Frobnicated (x+y) $5 for <bob@example.net> & co (in reply to RCPT TO command)",
    "host a[192.0.2.1] said: 554 " + "lorem ipsum dolor " * 20 + "(in reply to DATA command)",
    "host a[192.0.2.1] said: 554 5.9.9 (in reply to DATA command)",
    "host a[192.0.2.1] said: 554 (in reply to DATA command)",
]  # fmt: skip


def test_what_no_rule_knows_is_grouped_with_a_rule_to_start_from() -> None:
    found = proof.group(failed(*TEXTS, TEXTS[0]), 10)
    assert [one.count for one in found] == [3, 1, 1, 1]
    assert (found[0].last_at, found[0].sample) == (5, TEXTS[0])
    assert "ann@" not in found[0].stub
    usable = [one for one in found if one.text or one.dsn]
    xml = f"<bounces>{''.join(one.stub for one in usable)}</bounces>".encode()
    assert bounce.check(xml) == []
    rules = bounce.load(xml)
    won = {rules.classify(failure).rule for failure, _, _ in failed(*TEXTS[:4])}
    assert len(won) == 3
    assert "" not in won


def test_names_of_new_rules_differ() -> None:
    many = failed(*(f"strange thing number one again {word}" for word in ("here", "there", "böse")))
    ids = [
        rule.id
        for one in proof.group(many, 10)
        for rule in bounce.load(f"<bounces>{one.stub}</bounces>".encode()).rules
    ]
    assert len(set(ids)) == 3


def test_groups_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "MOST_GROUPS", 5)
    words = [f"strange{'x' * n} thing" for n in range(20)]
    found = proof.group(failed(*words), 100)
    assert len(found) == 6
    assert (found[0].text, found[0].count, found[0].stub) == (proof.OTHERS, 15, "")


def test_the_limit_keeps_the_most_frequent() -> None:
    (one,) = proof.group(failed("rare words", "many words", "many words"), 1)
    assert (one.text, one.count) == ("many words", 2)


def test_stubs_of_texts_that_the_shipped_list_does_not_know() -> None:
    reason = (
        "host a[192.0.2.1] said: 554 5.0.0 frobnicated beyond repair (in reply to RCPT TO command)"
    )
    failure = Failure(reason, "5.0.0", "bounced", "")
    assert RULES.classify(failure).category == "undetermined"
    (one,) = proof.group([(failure, 1, RULES.classify(failure))], 1)
    assert bounce.check(f"<bounces>{one.stub}</bounces>".encode()) == []
