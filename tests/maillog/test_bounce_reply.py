"""What is taken from a failed attempt: the masked reply, codes, stage, operator."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pda.maillog import bounce
from pda.maillog.bounce import reply
from pda.maillog.bounce.reply import masked_words
from pda.maillog.events import Failure

MASKED = [
    (
        "host mx.full.example[192.0.2.1] said: 550 5.1.1 <a@full.example>: Unknown (in reply to RCPT TO command)",
        "ADDR unknown",
    ),
    (
        "host mx.example[192.0.2.1] said: 550-5.1.1 No   such 550-5.1.1 user 550 5.1.1 here (in reply to RCPT TO command)",
        "no such user here",
    ),
    (
        "host mx.example[192.0.2.1] said: 550 #5.1.0 Gone. (#5.1.0) (in reply to RCPT TO command)",
        "gone",
    ),
    (
        "host mx.example[192.0.2.1] refused to talk to me: 554 mx.spam.example says no",
        "HOST says no",
    ),
    (
        "delivery temporarily suspended: connect to mx.full.example[2001:db8::1]:25: Connection refused",
        "connect to HOST IP N connection refused",
    ),
    (
        "host mx[192.0.2.1] said: 550 see https://full.example/user?unknown=1 or www.full.example/x (in reply to DATA command)",
        "see URL or URL",
    ),
    (
        "host mx[192.0.2.1] said: 550 queued as 3bZLDk1V50z37Dv, id 4711, size 10.5 (in reply to end of DATA command)",
        "queued as ID id N size N",
    ),
    (
        "host mx[192.0.2.1] said: 550 10.1.2.3 and [192.0.2.7]:25 (in reply to RCPT TO command)",
        "IP and IP N",
    ),
    (
        "host mx[192.0.2.1] said: 550 It doesn't, he can't, they couldn\u2019t (in reply to RCPT TO command)",
        "it does not he can not they could not",
    ),
    (
        "host mx[192.0.2.1] said: 550 bounce+full=user.unknown@x.example...Mailbox (in reply to RCPT TO command)",
        "ADDR mailbox",
    ),
    (
        "host mx[192.0.2.1] said: 550 a@b.example:user_unknown <full> (in reply to RCPT TO command)",
        "ADDR user unknown ADDR",
    ),
    (
        "host mx[192.0.2.1] said: 421 4.7.0 [TSS04] OFR_417 (in reply to RCPT TO command)",
        "tss04 ofr_417",
    ),
    ("mail for full.example loops back to myself", "mail for HOST loops back to myself"),
    (
        "host mx[192.0.2.1] said: 550 'a.b@x.example', (full.example). \"1.2.3.4\" a+b=c@full-x.example: www.full.example/x) (in reply to RCPT TO command)",
        "ADDR HOST IP ADDR URL",
    ),
    (
        "host mx[192.0.2.1] said: 550 mx.full.example[192.0.2.9] 1full.example[192.0.2.9]: name=full.example type=MX (in reply to RCPT TO command)",
        "HOST IP HOST IP name HOST type mx",
    ),
    (
        "host mx[192.0.2.1] said: 550 see http:// full.example/x <http://full.example> user_a.full.example (in reply to RCPT TO command)",
        "see http HOST x URL HOST",
    ),
    (
        "host mx[192.0.2.1] said: 550 1.2.3.4.5 1.2-3 4.7.1 \u0661.\u0662.\u0663.\u0664 (in reply to RCPT TO command)",
        "N N IP",
    ),
    ("", ""),
]


@pytest.mark.parametrize(("text", "masked"), MASKED)
def test_masked_reply(text: str, masked: str) -> None:
    assert bounce.mask(text) == masked


@given(st.text())
def test_masking_is_lower_case_with_single_blanks(text: str) -> None:
    masked = bounce.mask(text)
    assert "  " not in masked
    assert masked == masked.strip()


@given(st.text(alphabet="ab .@<>:/[]0-", max_size=60))
def test_no_address_survives(text: str) -> None:
    assert "@" not in bounce.mask(f"host x[192.0.2.1] said: 550 {text}")


def test_words_that_name_somebody_are_not_remembered() -> None:
    masked_words.clear()
    assert bounce.mask("<who@full.example>: unknown, mx.full.example") == "ADDR unknown HOST"
    assert set(masked_words) == {"unknown,"}


@given(
    st.text(alphabet="ab02", min_size=1, max_size=16), st.sampled_from(["", "(", "'", "):", ","])
)
def test_ids_are_known_at_a_glance_for_what_they_are(word: str, mark: str) -> None:
    masked_words.clear()
    assert masked_words[word + mark] == reply._masked(word + mark)


FACTS = [
    ("host h[192.0.2.1] said: 552 4.2.2 full (in reply to RCPT TO command)", "5.0.0", ("552", "4.2.2", "RCPT")),
    ("host h[192.0.2.1] said: 553 sorry (#5.1.1) (in reply to MAIL FROM command)", "5.0.0", ("553", "5.1.1", "MAIL")),
    ("host h[192.0.2.1] said: 550-5.7.1 x 550 5.7.1 y (in reply to end of DATA command)", "5.7.1", ("550", "5.7.1", "end of DATA")),
    ("host h[192.0.2.1] said: 550 no (in reply to LHLO command)", "5.0.0", ("550", "5.0.0", "HELO")),
    ("host h[192.0.2.1] said: 550 no (in reply to XFORWARD name/address command)", "", ("550", "", "other")),
    ("host h[192.0.2.1] refused to talk to me: 421 busy", "4.0.0", ("421", "4.0.0", "CONNECT")),
    ("unknown user: x said: 550 5.2.2 full", "5.1.1", ("", "5.1.1", "")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "dsn", "facts"), FACTS)
def test_codes_and_stage(text: str, dsn: str, facts: tuple[str, str, str]) -> None:
    evidence = bounce.examine(Failure(text, dsn, "bounced", ""))
    assert (evidence.reply, evidence.dsn, evidence.stage) == facts


def test_the_relay_names_the_host_and_else_the_text() -> None:
    text = "host MX.text.example[192.0.2.1] said: 550 no (in reply to RCPT TO command)"
    assert (
        bounce.examine(Failure(text, "", "", "Relay.example[192.0.2.1]:25")).host == "relay.example"
    )
    assert bounce.examine(Failure(text, "", "", "")).host == "mx.text.example"
