"""Verdicts of the shipped rule list: golden cases, and what may never influence them."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pda.maillog import bounce
from pda.maillog.events import Failure, Verdict

HERE = Path(__file__).parent
CONF = HERE.parents[1] / "conf"
SHIPPED = (CONF / "bounce-rules.xml").read_bytes()
SCHEMA = (CONF / "bounce-rules.rng").read_bytes()
RULES = bounce.load(SHIPPED, SCHEMA)


def golden() -> list[tuple[Failure, str, str]]:
    lines = (HERE / "bounce_verdicts.tsv").read_text(encoding="utf-8").splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    return [(Failure(r[4], r[1], r[0], "mx.example[192.0.2.1]:25"), r[2], r[3]) for r in rows]


GOLDEN = golden()


@pytest.mark.parametrize(("failure", "bounce_type", "category"), GOLDEN)
def test_golden(failure: Failure, bounce_type: str, category: str) -> None:
    verdict = RULES.classify(failure)
    assert (verdict.bounce_type, verdict.category) == (bounce_type, category)
    assert bool(verdict.rule) == (category != bounce.UNDETERMINED)


def test_shipped_list_has_no_mistakes() -> None:
    assert bounce.check(SHIPPED, SCHEMA) == []


def test_shipped_list_is_small_and_every_rule_has_an_own_sample() -> None:
    assert sum(len(rule.patterns) for rule in RULES.rules) <= 250
    assert all(rule.samples for rule in RULES.rules)


def test_every_category_has_a_rule() -> None:
    assert {r.category for r in RULES.rules} == set(bounce.BY_NAME) - {bounce.UNDETERMINED}


def test_codes_alone_say_what_the_table_says() -> None:
    for code, category in bounce.FROM_CODE.items():
        status = "bounced" if code[0] == "5" else "deferred"
        got = RULES.classify(Failure("so it is", code, status, ""))
        assert got.category == category, code


@pytest.mark.parametrize("code", ["5.0.0", "5.7.1", "5.7.0", "", "5.9.9", "rubbish"])
def test_generic_codes_decide_nothing(code: str) -> None:
    assert RULES.classify(Failure("so it is", code, "bounced", "")).category == "undetermined"


@pytest.mark.parametrize("status", ["deferred", "SOFTBOUNCE", "undefined"])
def test_nothing_is_hard_before_it_is_final(status: str) -> None:
    for failure, _, category in GOLDEN:
        verdict = RULES.classify(Failure(failure.reason, failure.dsn, status, failure.relay))
        assert verdict.bounce_type == "soft", (failure.reason, category)


def test_without_a_status_the_code_says_whether_it_is_final() -> None:
    text = "host mx.example[192.0.2.1] said: {} No such user (in reply to RCPT TO command)"
    assert RULES.classify(Failure(text.format("550"), "", "", "")).bounce_type == "hard"
    assert RULES.classify(Failure(text.format("450"), "", "", "")).bounce_type == "soft"
    assert RULES.classify(Failure(text.format("450"), "4.1.1", "", "")).bounce_type == "soft"


WORDS = st.sampled_from(
    ["disabled", "full", "user", "unknown", "spam", "quota", "blocked", "relay", "mailbox"]
)
NAMES = st.lists(WORDS, min_size=1, max_size=3).map(".".join)


@given(case=st.sampled_from(GOLDEN), name=NAMES)
def test_no_host_name_or_address_decides(case: tuple[Failure, str, str], name: str) -> None:
    failure, bounce_type, category = case
    renamed = re.sub(
        r"\b(?:mx|b|shop|nowhere)\.example\b", f"{name}.example", failure.reason
    ).replace("a@", f"{name}@")
    verdict = RULES.classify(Failure(renamed, failure.dsn, failure.status, ""))
    assert (verdict.bounce_type, verdict.category) == (bounce_type, category)


@given(
    st.builds(
        Failure,
        reason=st.text() | st.sampled_from([f.reason for f, _, _ in GOLDEN]),
        dsn=st.sampled_from(["", "5.1.1", "4.2.2"]) | st.text(max_size=8),
        status=st.sampled_from(["bounced", "deferred", ""]) | st.text(max_size=8),
        relay=st.text(max_size=20),
    )
)
def test_any_failure_has_a_verdict_and_it_never_changes(failure: Failure) -> None:
    verdict = RULES.classify(failure)
    assert verdict == RULES.judge(failure) == RULES.explain(failure).verdict
    assert bounce.original_category(verdict) in {*bounce.ORIGINAL_NAMES, bounce.UNDECIDED}


def test_order_of_failures_changes_no_verdict() -> None:
    failures = [failure for failure, _, _ in GOLDEN]
    before = {failure: RULES.classify(failure) for failure in failures}
    fresh = bounce.load(SHIPPED)
    random.Random(4).shuffle(failures)
    assert {failure: fresh.classify(failure) for failure in failures} == before


@pytest.mark.parametrize(
    "unit", ["user ", "<", "a@", "@", "x.", "://", "4.", "user", "550-", "é", "'", "( "]
)
def test_hostile_text_takes_no_longer(unit: str) -> None:
    text = f"host mx.example[192.0.2.1] said: 550 {unit * 200_000} (in reply to RCPT TO command)"
    started = time.perf_counter()
    RULES.classify(Failure(text, "5.0.0", "bounced", ""))
    assert time.perf_counter() - started < 0.5


def test_explanation_names_rule_masked_text_and_runner_up() -> None:
    text = "host mx.example[192.0.2.1] said: 550 5.1.1 <a@b.example> unknown user. Spam rejected (in reply to RCPT TO command)"
    told = RULES.explain(Failure(text, "5.1.1", "bounced", ""))
    assert told.rule is not None
    assert told.runner_up is not None
    assert told.verdict == Verdict("soft", "spam-content", told.rule.id)
    assert told.masked == "ADDR unknown user spam rejected"
    assert told.runner_up.category != told.rule.category
    assert told.rule.id in told.why
    assert "soft" in told.why


def test_explanation_of_nothing_found() -> None:
    told = RULES.explain(Failure("so it is", "4.0.0", "deferred", ""))
    assert (told.rule, told.runner_up, told.verdict.rule) == (None, None, "")
    assert "not final" in told.why


def test_every_category_has_one_of_the_originals_names() -> None:
    for name, category in bounce.BY_NAME.items():
        assert category.original in bounce.ORIGINAL_NAMES
        assert bounce.original_category(Verdict("soft", name, "x")) == category.original
    assert len(bounce.ORIGINAL_NAMES) == 21
    assert bounce.original_category(Verdict("undetermined", "undetermined", "")) == bounce.UNDECIDED


def test_connection_refused_keeps_the_originals_finer_name() -> None:
    refused = Failure(
        "connect to mx.example[192.0.2.1]:25: Connection refused", "4.4.1", "deferred", "none"
    )
    name = bounce.original_category(RULES.classify(refused))
    assert name == "bad domain/command: connection refused"
