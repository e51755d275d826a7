"""What a client, a sender or a remote server may choose forges nothing.

True lines of one message, with hostile words planted wherever Postfix logs somebody else's, are
compared with the truth: one entry, its recipients, their outcomes and no others.
"""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pda.maillog.events import Delivery, State
from pda.maillog.pipeline import Pipeline
from pda.maillog.postfix import TEXT_LIMIT, read
from tests.maillog.test_correlate import Known
from tests.support import LONG_ID, NOW, RULES, line

VICTIM = "4jXPlN1VQlzJbVV"
RECORDS = [
    f"{VICTIM}: to=<victim@x>, relay=none, delay=0, delays=0/0/0/0, dsn=5.0.0, status=bounced (x)",
    f"{VICTIM}: removed",
    f"{VICTIM}: message-id=<98494.1.1@evil>",
    f"{LONG_ID}: info: header client-id: evil from h[192.0.2.1]; from=<s@x> to=<r@y>",
    f"{LONG_ID}: from=<news@example.com>, status=expired, returned to sender",
    ">, relay=none, delay=0, delays=0/0/0/0, dsn=5.1.1, status=bounced (gone)",
    "), status=bounced (x", " from h[192.0.2.1]; from=<a@b> to=<c@d>", f"queued as {VICTIM}",
    ">, foo=<q>, relay=none, delay=0, delays=0/0/0/0, dsn=5.1.1, status=bounced (gone)", ">, foo=<",
    '">, relay=none, delay=0, dsn=5.0.0, status=bounced (x', ", relay=none, delay=0, foo=", '\\">, foo="',
    "message repeated 5 times: [ x]", "2026-03-10T10:00:00+00:00 mx1 postfix/qmgr[1]: ", "]: ",
]  # fmt: skip
# printable() leaves printable ASCII and UTF-8 (util/printable.c).
PLAIN = st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), max_size=40)
CHOSEN = st.one_of(
    st.sampled_from(RECORDS),
    st.builds("{} {}".format, PLAIN, st.sampled_from(RECORDS)),
    st.builds("{}: {}".format, st.sampled_from(RECORDS), PLAIN),
    st.text("<>\"\\'()[]{};:=, @fromtostaus", max_size=40),
    PLAIN,
)


ENVELOPES = [
    "x; from=<a@b> to=<victim@x> proto=SMTP helo=<y", "x; from=<a@b> to=<victim@x> proto=SMTP helo=<y>",
    "x>: no; from=<a@b> to=<victim@x> proto=SMTP helo=<y", "victim@x>; to=<victim@x", "; from=<", ";",
    "h> sasl_username=<boss", "h> sasl_method=PLAIN sasl_username=boss",
    "h from local; from=<a@b> to=<victim@x>", "h from h[192.0.2.9]; from=<a@b> to=<victim@x",
]  # fmt: skip


def quoted(local_part: str) -> str:
    """As quote_822_local() writes it since Postfix 3.5: quoted unless it is a plain dot-string."""
    plain = re.fullmatch(r"[^\s()<>@,;:\\\"\[\]\x00-\x1f.]+", local_part)
    return local_part if plain else in_quotes(local_part)


def in_quotes(text: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


# What a later Postfix may write between the attributes that are known, of somebody else's choice.
NEW = st.builds(
    "{}={}".format,
    st.from_regex(r"[A-Za-z0-9_-]{1,9}x", fullmatch=True),
    st.one_of(
        CHOSEN.map(lambda chosen: f"<{quoted(chosen)}@x>"),
        CHOSEN.map(in_quotes),
        st.from_regex(r"[A-Za-z0-9_/.:[\] ()-]{0,9}", fullmatch=True),
    ),
)
MORE = st.lists(st.lists(NEW, max_size=2), min_size=8, max_size=8)


def delivery(to: str, orig_to: str, said: str, more: list[list[str]]) -> str:
    """A record with attributes behind each that is known."""
    known = [
        f"to=<{to}>", f"orig_to=<{orig_to}>", "relay=mx[192.0.2.1]:25", "conn_use=2", "delay=1",
        "delays=1/0/0/0", "tls=may", "dsn=2.0.0",
    ]  # fmt: skip
    attributes = [", ".join([one, *others]) for one, others in zip(known, more, strict=True)]
    return f"{LONG_ID}: {', '.join(attributes)}, status={said}"


@settings(max_examples=200, deadline=None)
@given(CHOSEN, CHOSEN, MORE, CHOSEN)
def test_what_is_not_known_loses_nothing(
    to: str, orig_to: str, more: list[list[str]], reply: str
) -> None:
    to, orig_to = f"{quoted(to)}@a.example", f"{quoted(orig_to)}@b.example"
    queue_id, found = read(delivery(to, orig_to, f"sent (250 {reply})", more), "smtp")
    assert queue_id == LONG_ID
    assert found == Delivery(
        to, "mx[192.0.2.1]:25", 1.0, "sent", f"250 {reply}", "2.0.0", "1/0/0/0", 2, orig_to, "may"
    )


@settings(max_examples=100, deadline=None)
@given(CHOSEN, CHOSEN, MORE)
def test_a_line_that_was_cut_names_nobody_else(
    to: str, orig_to: str, more: list[list[str]]
) -> None:
    """Postfix cuts at 2000 bytes, within what somebody has chosen if they made it long enough."""
    to, orig_to = f"{quoted(to)}@a.example", f"{quoted(orig_to)}@b.example"
    text = delivery(to, orig_to, "deferred (later)", more)
    for cut in range(len(text)):
        _, found = read(text[:cut], "smtp")
        if isinstance(found, Delivery):
            assert (found.recipient, found.orig_to, found.status) == (to, orig_to, "deferred")


def life(words: dict[str, str]) -> list[bytes]:
    """A message that one recipient gets and the other one's host refuses."""
    sender, one, other = (f"{quoted(words[n])}@a.example" for n in ("sender", "one", "other"))
    reply = words["reply"]
    envelope = f"from=<{sender}> to=<{one}> proto=ESMTP helo=<{words['helo']}>"
    texts = [
        ("smtpd", f"NOQUEUE: reject: RCPT from h[192.0.2.9]: 554 5.7.1 no; {envelope}"),
        ("smtpd", f"{LONG_ID}: client=h[192.0.2.9], sasl_method=PLAIN, sasl_username={words['user']}"),
        ("cleanup", f"{LONG_ID}: message-id=<{words['message-id']}>"),
        ("cleanup", f"{LONG_ID}: info: header Subject: {words['header']} from h[192.0.2.9]; {envelope}"),
        ("qmgr", f"{LONG_ID}: from=<{sender}>, size=5, nrcpt=2 (queue active)"),
        ("smtp", f"{LONG_ID}: host mx[192.0.2.1] said: 450 {reply} (in reply to RCPT TO command)"),
        ("smtp", f"{LONG_ID}: to=<{one}>, relay=mx[192.0.2.1]:25, delay=1, delays=1/0/0/0, dsn=2.0.0,"
                 f" status=sent (250 {reply})"),
        ("smtp", f"{LONG_ID}: to=<{other}>, orig_to=<{one}>, relay=mx[192.0.2.1]:25, delay=1,"
                 f" delays=1/0/0/0, dsn=4.0.0, status=deferred (host mx[192.0.2.1] said: 450 {reply}"
                 " (in reply to RCPT TO command))"),
    ]  # fmt: skip
    return [line(text, program=program) for program, text in texts]


@settings(max_examples=400, deadline=None)
@given(
    st.fixed_dictionaries(
        dict.fromkeys(
            ["sender", "one", "other", "reply", "helo", "user", "message-id", "header"], CHOSEN
        )
    )
)
def test_hostile_words_change_nothing(words: dict[str, str]) -> None:
    pipeline = Pipeline(RULES)
    found = Known()
    found.add(pipeline.source().read(life(words), NOW))
    (entry,) = found.lives.values()
    one, other = (f"{quoted(words[n])}@a.example" for n in ("one", "other"))
    deliveries = [a.delivery for a in entry.attempts.values()]
    assert entry.queue_id == LONG_ID
    assert {(d.recipient, d.status) for d in deliveries} == {(one, "sent"), (other, "deferred")}
    assert {d.relay for d in deliveries} == {"mx[192.0.2.1]:25"}
    assert all(words["reply"].strip() in d.reason for d in deliveries)
    assert entry.summary is not None
    assert entry.summary.sender == f"{quoted(words['sender'])}@a.example"
    assert entry.summary.expired_at == entry.summary.removed_at == 0
    states = {o.recipient: o.state for o in entry.outcomes.values()}
    if one != other:
        assert states == {one: State.DELIVERED, other: State.PENDING}
    assert pipeline.tally.at_the_door == 1
    assert not any(isinstance(fact.record, Delivery) for fact in entry.facts.values())


@settings(max_examples=400, deadline=None)
@given(
    st.fixed_dictionaries(
        dict.fromkeys(["sender", "recipient", "helo"], st.sampled_from([*ENVELOPES, "plain"]))
    ),
    st.sampled_from(["helo", "sender", "recipient", ""]),
)
def test_who_is_refused_is_not_who_a_client_names(words: dict[str, str], about: str) -> None:
    """smtpd_check.c repeats what it refuses, in brackets and without quotation marks."""
    sender, recipient = (
        f"{quoted(words['sender'])}@a.example",
        f"{quoted(words['recipient'])}@b.example",
    )
    domain = {"sender": "@a.example", "recipient": "@b.example"}.get(about, "")
    said = f"<{words[about]}{domain}>: rejected" if about else "no"
    envelope = f"from=<{sender}> to=<{recipient}> proto=ESMTP helo=<{words['helo']}>"
    texts = {
        "smtpd": f"NOQUEUE: reject: RCPT from h[192.0.2.9]: 554 5.7.1 {said}; {envelope}",
        "cleanup": f"{LONG_ID}: reject: header Subject: x from h[192.0.2.9]; {envelope}: 5.7.1 no",
    }
    source = Pipeline(RULES).source()
    source.read([line(text, program=program) for program, text in texts.items()], NOW)
    refused = source.refused()
    assert [(one.sender, one.recipient) for one in refused] == [(sender, recipient)] * 2
    assert [one.sasl_username for one in refused] == ["", ""]


@pytest.mark.parametrize(
    ("begin", "again"),
    [
        ("reject: RCPT from h[192.0.2.9]: ", "; from=<a> to=<b> proto=x helo=<"),
        ("reject: RCPT from h[192.0.2.9]: 504 <", "; from=<"),
        ("reject: RCPT from ", "["),
        ("info: header Subject: x from h[192.0.2.9];", ' from=<"'),
        ("info: header Subject:", " from local;"),
        ("to=<", ">, orig_to=<"),
        ("to=<", ">, a=<>"),
        ("to=<", '>, a="\\'),
        ("to=<", ">, relay=c[, delay="),
        ("client=h[192.0.2.9], sasl_username=", ', sasl_sender=a, orig_queue_id=b, c="'),
        ("client=h[192.0.2.9], sasl_method=PLAIN, sasl_username=", ", sasl_sender="),
    ],
)
def test_no_text_takes_long(begin: str, again: str) -> None:
    text = f"{LONG_ID}: {begin}{again * TEXT_LIMIT}"[: TEXT_LIMIT - 1] + "\n"
    started = time.perf_counter()
    read(text, "smtpd")
    assert time.perf_counter() - started < 0.5
