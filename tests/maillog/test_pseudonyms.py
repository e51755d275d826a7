"""Erased addresses in every place where a log may name them; others stay as they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pda.maillog.correlate import gather
from pda.maillog.events import Attempt, Fact
from pda.maillog.pseudonyms import Pseudonyms
from tests.support import attempt, events, line, message

ANN = "ann.smith@example.org"
KNOWN = Pseudonyms(b"secret", [Pseudonyms(b"secret", []).hash(ANN)])
NOW = KNOWN.pseudonym(ANN)
MARK = NOW.partition("@")[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ANN, NOW),
        ("Ann.Smith@EXAMPLE.org", NOW),
        (f"<{ANN}>: user unknown", f"<{NOW}>: user unknown"),
        (f"'{ANN}' is unknown.", f"'{NOW}' is unknown."),
        (f"no mailbox {ANN}.", f"no mailbox {NOW}."),
        (f"orcpt=rfc822;{ANN} x", f"orcpt=rfc822;{NOW} x"),
        (f"to={ANN}, b@example.org", f"to={NOW}, b@example.org"),
        (f"mailto:{ANN}", f"mailto:{NOW}"),
        ("https://x.example/?e=ann.smith%40example.org&x", f"https://x.example/?e={MARK}%40example.org&x"),
        ("bounce+ann.smith=example.org@news.example", f"bounce+{MARK}=example.org@news.example"),
        ("b-7-ann.smith=example.org@n.example", f"b-7-{MARK}=example.org@n.example"),
        ("SRS0=ab=XY=example.org=ann.smith@fwd.example", f"SRS0=ab=XY=example.org={MARK}@fwd.example"),
        ("ann.smith+news@example.org", f"{MARK}+news@example.org"),
        (f"{ANN} and {ANN}", f"{NOW} and {NOW}"),
        (f"\0{ANN}\x7f", f"\0{NOW}\x7f"),
    ],
)  # fmt: skip
def test_where_an_address_may_stand(text: str, expected: str) -> None:
    assert KNOWN.text(text) == expected
    assert KNOWN.text(expected) == expected


def test_a_recipient_with_a_backslash() -> None:
    odd = f"{ANN}\\xf4[192.0.2.1]@b.example"
    assert "smith" not in KNOWN.reply(f"no {odd} here", [odd])


@pytest.mark.parametrize(
    "text",
    ["joann.smith@example.org", "ann.smith@example.org.uk", "ann.smith@mail.example.org",
     "list-ann.smith@example.org", "list+ann.smith@example.org", "smith@example.org",
     "delay=0.5, dsn=2.0.0", "no address", "@", "=", "%40", "a=b=c"],
)  # fmt: skip
def test_what_is_another_address_or_none(text: str) -> None:
    assert KNOWN.text(text) == text


def test_the_same_address_in_both_forms_of_its_domain() -> None:
    known = Pseudonyms(b"s", [Pseudonyms(b"s", []).hash("ann@bücher.example")])
    assert "ann" not in known.text("ann@xn--bcher-kva.example")
    assert "ann" not in known.text("ann@bücher.example")


def test_another_secret_makes_another_hash() -> None:
    assert Pseudonyms(b"a", []).hash(ANN) != Pseudonyms(b"b", []).hash(ANN)


def test_the_local_part_alone_in_a_reply_about_that_address() -> None:
    reply = "host mx[192.0.2.1] said: 550 5.1.1 (Ann.Smith): ann.smithson, user unknown"
    assert KNOWN.reply(reply, [ANN]) == reply.replace("(Ann.Smith)", f"({MARK})")
    assert KNOWN.reply(reply, ["other@example.org"]) == reply
    user = Pseudonyms(b"s", [Pseudonyms(b"s", []).hash("user@example.org")])
    assert user.reply("user unknown", ["user@example.org"]) == "user unknown"  # a rule looks for it


LINES = [
    *message(
        message_id="<17-ann.smith=example.org@lists.example>",
        sender=ANN,
        deliveries=[
            attempt(
                "bounced", to="Ann.Smith@Example.org", reason=f"said: 550 <{ANN}> ann.smith unknown"
            ),
            attempt(to="b@example.org"),
        ],
    ),
    line(
        f"4jXPlN1VQlzJbSD: info: header To: Ann Smith <{ANN}>, Bob <b@example.org> from x[192.0.2.1];"
        f" from=<{ANN}> to=<{ANN}> proto=ESMTP helo=<x>",
        program="cleanup",
    ),
]


def test_everything_that_lines_say() -> None:
    told = gather(events(LINES))
    (now,) = KNOWN.told(told)
    assert "smith" not in repr(now).lower()
    assert "Bob <b@example.org>" in repr(now)
    before = {said.digest for said in told[0].said if isinstance(said, Attempt)}
    assert {said.digest for said in now.said if isinstance(said, Attempt)} == before
    assert sum(isinstance(said, Fact) for said in now.said) == 5


def test_lines_that_name_nobody_are_left_alone() -> None:
    told = gather(events(message(deliveries=[attempt()])))
    assert KNOWN.told(told) == told


@given(st.text(max_size=300))
def test_any_text_is_taken_and_stays_as_it_is(text: str) -> None:
    assert KNOWN.text(text) == text


@given(st.text("ann.smith@example.org=+-%40 <>'", max_size=200))
def test_nothing_is_left_after_one_time(text: str) -> None:
    once = KNOWN.text(f"{text} {ANN}")
    assert KNOWN.text(once) == once
    assert f" {ANN}" not in once
