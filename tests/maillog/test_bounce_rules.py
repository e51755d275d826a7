"""Rule lists: the original's form, our own, and every mistake with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import etree

from pda.maillog import bounce
from pda.maillog.events import Failure, Verdict

SCHEMA = (Path(__file__).parents[2] / "conf/bounce-rules.rng").read_bytes()

ORIGINAL = """<?xml version="1.0" encoding="UTF-8"?>
<!-- a list as the original service reads it -->
<bounces>
  <regex type="soft" category="mailbox is full">
    <or>552 </or>
    <or>quota.*(:?exceeded|)|full.*mailbox</or>
  </regex>
  <regex type="soft" category="greylisting">
    <or>greylisting|greylisted</or>
  </regex>
  <regex type="soft" category="my own words">
    <or>schránka</or>
  </regex>
  <regex type="hard" category="mailbox not found, is inactive, disabled or does not exist">
    <or>550 |553 |501 </or>
    <or>@</or>
  </regex>
</bounces>
""".encode()

NOT_FOUND = "mailbox not found, is inactive, disabled or does not exist"

ORIGINAL_VERDICTS = [
    ("host mx.quota.example[192.0.2.1] said: 550 No", "bounced", Verdict("soft", "mailbox is full", "regex-1")),
    ("host x[192.0.2.1] said: 552 5.2.2 No", "bounced", Verdict("soft", "mailbox is full", "regex-1")),
    ("host x[192.0.2.1] said: 450 GREYLISTED 550 ", "deferred", Verdict("soft", "greylisting", "regex-2")),
    ("host x[192.0.2.1] said: 550 SCHRÁNKA", "bounced", Verdict("soft", "my own words", "regex-3")),
    ("host x[192.0.2.1] said: 550 No", "bounced", Verdict("hard", NOT_FOUND, "regex-4")),
    ("host x[192.0.2.1] said: 550 No", "deferred", Verdict("soft", NOT_FOUND, "regex-4")),
    ("write to a@b", "bounced", Verdict("hard", NOT_FOUND, "regex-4")),
    ("host x[192.0.2.1] said: 5509 No", "bounced", Verdict("undetermined", "undetermined", "")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "status", "verdict"), ORIGINAL_VERDICTS)
def test_a_list_in_the_originals_form(text: str, status: str, verdict: Verdict) -> None:
    rules = bounce.load(ORIGINAL, SCHEMA)
    assert rules.classify(Failure(text, "5.1.1", status, "")) == verdict
    assert verdict.bounce_type == "undetermined" or bounce.original_category(verdict) == (
        verdict.category
    )


def own(body: str, attributes: str = 'id="a" category="policy" on="reply"') -> bytes:
    return f"<bounces>\n<regex {attributes}>\n{body}\n</regex>\n</bounces>".encode()


def won(xml: bytes, failure: Failure) -> str:
    return bounce.load(xml, SCHEMA).classify(failure).rule


CONDITIONS = [
    ('dsn="[45]\\.7\\.1"', Failure("x no", "5.7.1", "bounced", ""), Failure("x no", "5.7.10", "bounced", "")),
    ('reply="55\\d"', Failure("host h[1] said: 550 no", "", "bounced", ""), Failure("host h[1] said: 450 no", "", "bounced", "")),
    ('status="bounced"', Failure("no", "", "bounced", ""), Failure("no", "", "deferred", "")),
    ('stage="RCPT|MAIL"', Failure("host h[1] said: 550 no (in reply to RCPT TO command)", "", "bounced", ""), Failure("host h[1] said: 550 no (in reply to DATA command)", "", "bounced", "")),
]  # fmt: skip


@pytest.mark.parametrize(("condition", "holds", "fails"), CONDITIONS)
@pytest.mark.parametrize("body", ["<or>\\bno\\b</or>", ""])
def test_conditions(condition: str, body: str, holds: Failure, fails: Failure) -> None:
    xml = own(body, f'id="a" category="policy" on="reply" {condition}')
    assert won(xml, holds) == "a"
    assert won(xml, fails) == ""


OPERATORS = b"""<bounces>
<operator name="cats" relay="(?:^|\\.)cats\\.example$" reply="\\[meow\\d\\]"/>
<regex id="a" category="policy" on="reply" operator="cats"><or>no</or></regex>
</bounces>"""


@pytest.mark.parametrize(
    ("text", "relay", "rule"),
    [
        ("no", "mx.CATS.example[192.0.2.1]:25", "a"),
        ("host mx.cats.example[192.0.2.1] said: 550 no", "", "a"),
        ("host mx.dogs.example[192.0.2.1] said: 550 no [MEOW7]", "", "a"),
        ("host mx.dogs.example[192.0.2.1] said: 550 no", "", ""),
        ("no", "mx.cats.example.evil[192.0.2.1]:25", ""),
    ],
)
def test_operator_by_relay_or_by_shape(text: str, relay: str, rule: str) -> None:
    assert won(OPERATORS, Failure(text, "", "bounced", relay)) == rule


def test_file_order_wins_over_kinds_of_rules() -> None:
    xml = b"""<bounces>
    <regex id="code" category="policy" dsn="5\\.1\\.1"/>
    <regex type="soft" category="violation"><or>mouse</or></regex>
    <regex id="reply" category="virus" on="reply"><or>cat</or></regex>
    <regex id="late" category="policy" dsn="5\\.2\\.2"/>
    </bounces>"""
    rules = bounce.load(xml, SCHEMA)

    def rule(text: str, dsn: str) -> str:
        return rules.classify(Failure(text, dsn, "bounced", "")).rule

    assert rule("cat mouse", "5.1.1") == "code"
    assert rule("cat mouse", "5.2.2") == "regex-2"
    assert rule("cat", "5.2.2") == "reply"
    assert rule("dog", "5.2.2") == "late"


def test_a_type_of_its_own_beats_the_category() -> None:
    xml = own("<or>no</or>", 'id="a" category="inactive-mailbox" on="reply" type="soft"')
    verdict = bounce.load(xml, SCHEMA).classify(Failure("no", "", "bounced", ""))
    assert verdict == Verdict("soft", "inactive-mailbox", "a")


MISTAKES = [
    (own("<or>(</or>"), 3, "RE2 refuses"),
    (own("<or>(?=x)</or>"), 3, "RE2 refuses"),
    (own("<or>(x)\\1</or>"), 3, "RE2 refuses"),
    (own("<or>x{1001}</or>"), 3, "RE2 refuses"),
    (own(f"<or>{'x' * 5000}</or>"), 3, "5000 characters"),
    (own("<or/>"), 3, "matches every text"),
    (own("<or> </or>"), 3, "matches every text"),
    (own("<or>User</or>"), 3, "can never match"),
    (own("<and>x</and>"), 3, "<and> is not known inside <regex>"),
    (own("stray<or>x</or>"), 2, "text directly inside <regex>"),
    (own(""), 2, "neither an <or> nor a condition"),
    (own("<or>x</or>", 'category="policy" on="reply"'), 2, "needs an id"),
    (own("<or>x</or>", 'id="A b" category="policy"'), 2, "id 'A b'"),
    (own("<or>x</or>", 'id="a" category="nonsense"'), 2, "category 'nonsense'"),
    (own("<or>x</or>", 'id="a"'), 2, "needs a category"),
    (own("<or>x</or>", 'category="policy"'), 2, 'needs type="soft"'),
    (own("<or>x</or>", 'id="a" category="policy" type="firm"'), 2, 'type="firm"'),
    (own("<or>x</or>", 'id="a" category="policy" on="body"'), 2, 'on="body"'),
    (own("<or>x</or>", 'id="a" category="policy" colour="red"'), 2, "no attribute 'colour'"),
    (own("<or>x</or>", 'id="a" category="policy" dsn="("'), 2, "RE2 refuses"),
    (own("<or>x</or>", 'id="a" category="policy" operator="dogs"'), 2, "operator='dogs'"),
    (
        own("", 'id="a" category="policy" stage="RCTP|Data"'),
        2,
        "stage='RCTP|Data' matches no stage",
    ),
    (own("", 'id="a" category="policy" status="bounce"'), 2, "status='bounce' matches no status"),
    (own("", 'id="a" category="policy" reply="9.."'), 2, "reply='9..' matches no reply"),
    (b"<bounces>\n<operator name='x'/>\n</bounces>", 2, "<operator> needs"),
    (b"<bounces>\n</bounces>", 1, "there is no <regex>"),
    (b"<rules>\n</rules>", 1, "not <bounces>"),
    (b"<bounces>\n<regex>\n</bounces>", 3, "not well-formed"),
    (b"", 1, "not well-formed"),
    (b"<!DOCTYPE bounces>\n" + ORIGINAL.split(b"?>\n", 1)[1], 1, "DOCTYPE"),
    (ORIGINAL + b"<!-- " + b"x" * (1 << 20) + b" -->", 1, "bytes"),
    (own("<or>&undefined;</or>"), 3, "not well-formed"),
    (own("<or>x</or>" * 2001).replace(b"\n", b""), 1, "2001 patterns; 2000 at most"),
]


@pytest.mark.parametrize(("xml", "line", "words"), MISTAKES)
def test_mistake_is_told_with_its_line(xml: bytes, line: int, words: str) -> None:
    with pytest.raises(bounce.RuleError) as caught:
        bounce.load(xml)
    told = [mistake for mistake in caught.value.mistakes if words in mistake.text]
    assert [mistake.line for mistake in told] == [line]
    assert f"line {line}: " in str(caught.value)


def test_every_mistake_is_told() -> None:
    xml = b"""<bounces>
<regex id="a" category="policy" on="reply"><or>(</or></regex>
<regex id="a" category="policy" on="reply"><or>x</or></regex>
<regex type="hard"><or>x</or></regex>
</bounces>"""
    with pytest.raises(bounce.RuleError) as caught:
        bounce.load(xml)
    assert [mistake.line for mistake in caught.value.mistakes] == [2, 3, 4]


def test_entities_are_never_expanded(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("topsecret")
    xml = f"""<!DOCTYPE bounces [<!ENTITY x SYSTEM "file://{secret}"><!ENTITY y "yyyy">]>
<bounces><regex type="soft" category="c"><or>&x;&y;</or></regex></bounces>"""
    for encoding in ("utf-8", "utf-16"):
        with pytest.raises(bounce.RuleError, match="DOCTYPE") as caught:
            bounce.load(xml.encode(encoding))
        assert "topsecret" not in str(caught.value)


def test_comments_do_not_cut_a_pattern() -> None:
    assert won(own("<or>big<!-- and -->cat</or>"), Failure("bigcat", "", "bounced", "")) == "a"


CHECKED = [
    (own("<or>x</or>\n<sample>y</sample>"), 4, "sample of rule a: no rule holds"),
    (
        b"<bounces>\n<regex id='a' category='policy' on='reply'><or>cat</or></regex>\n"
        b"<regex id='b' category='virus' on='reply'><or>dog</or><sample>cat dog</sample></regex>\n"
        b"</bounces>",
        3,
        "sample of rule b: rule a wins it",
    ),
    (
        b"<bounces>\n<regex id='a' category='policy' on='reply'><or>c.t</or></regex>\n"
        b"<regex id='b' category='virus' on='reply'><or>big cat</or></regex>\n</bounces>",
        3,
        "rule b can never win: rule a in line 2",
    ),
    (
        b"<bounces>\n<regex id='a' category='policy' dsn='5'/>\n"
        b"<regex id='b' category='virus' on='reply' dsn='5'><or>x.*y</or></regex>\n</bounces>",
        3,
        "rule b can never win: rule a in line 2",
    ),
    (
        b"<bounces>\n<regex type='soft' category='c'><or>a|</or></regex>\n"
        b"<regex id='b' category='virus' on='reply'><or>x.*y</or></regex>\n</bounces>",
        3,
        "rule b can never win: rule regex-1 in line 2",
    ),
]


@pytest.mark.parametrize(("xml", "line", "words"), CHECKED)
def test_check_finds_lost_samples_and_shadowed_rules(xml: bytes, line: int, words: str) -> None:
    [mistake] = bounce.check(xml, SCHEMA)
    assert mistake.line == line
    assert words in mistake.text


def test_check_tells_everything_at_once() -> None:
    xml = b"""<bounces>
<operator name="o" relay="("/>
<regex id="a" category="policy" on="reply"><or>cat</or>
<sample>dog</sample></regex>
<regex id="a" category="policy" on="reply"><or>(</or></regex>
<regex id="b" category="virus" on="reply" operator="o"><or>big cat</or></regex>
<regex id="c" category="nonsense" on="reply"><or>x</or><sample>y</sample></regex>
</bounces>"""
    assert [(mistake.line, mistake.text.partition(":")[0]) for mistake in bounce.check(xml)] == [
        (2, "RE2 refuses the pattern '('"),
        (4, "sample of rule a"),
        (5, "RE2 refuses the pattern '('"),
        (5, "id 'a' is already used in line 3"),
        (6, "rule b can never win"),
        (7, "category 'nonsense' is not one of " + ", ".join(bounce.BY_NAME)),
    ]


def test_check_lists_the_mistakes_of_a_file_that_cannot_be_used() -> None:
    assert [mistake.line for mistake in bounce.check(own("<or>(</or>"))] == [3]


@pytest.mark.parametrize(
    "body",
    [
        b"<regex id='a' category='policy' on='reply' dsn='5'><or>cat</or></regex>"
        b"<regex id='b' category='virus' on='reply'><or>cat</or></regex>",
        b"<regex id='a' category='policy' on='reply'><or>^cat</or></regex>"
        b"<regex id='b' category='virus' on='reply'><or>cat</or></regex>",
        b"<regex id='a' category='policy' on='reply'><or>cat</or></regex>"
        b"<regex id='b' category='virus' on='reply'><or>ca[tr]</or></regex>",
        b"<regex type='soft' category='c'><or>cat</or></regex>"
        b"<regex id='b' category='virus' on='reply'><or>cat</or></regex>",
    ],
)
def test_check_does_not_cry_wolf(body: bytes) -> None:
    assert bounce.check(b"<bounces>" + body + b"</bounces>", SCHEMA) == []


def test_the_schema_agrees_with_the_reader_about_form() -> None:
    relax_ng = etree.RelaxNG(etree.fromstring(SCHEMA))
    assert relax_ng.validate(etree.fromstring(ORIGINAL))
    assert relax_ng.validate(etree.fromstring(OPERATORS))
    of_form = ("<and>", "stray", "colour", "A b", "firm", "body", "id=&quot;a&quot;>")
    for xml, _, _ in MISTAKES:
        if any(word.encode() in xml for word in of_form):
            assert not relax_ng.validate(etree.fromstring(xml)), xml


def test_the_schema_is_asked_too() -> None:
    xml = b"""<bounces>
<regex id="a" category="policy" on="reply"><or>x</or><comment>a</comment>
<comment>b</comment></regex></bounces>"""
    bounce.load(xml)
    with pytest.raises(bounce.RuleError):
        bounce.load(xml, SCHEMA)
