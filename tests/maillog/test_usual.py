"""Lines of usual forms, read by the block, say what the grammar says of each by itself."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pda.maillog import actions, postfix, usual
from pda.maillog.events import Attempt, Event, Ignored, Unknown
from pda.maillog.pipeline import Hosts, Pipeline
from pda.maillog.syslog import HeaderReader
from tests.support import NOW, RULES
from tests.support import line as log_line

Q = "4jXPlN1VQlzJbSD"
WAY = "relay=mx.b.example[192.0.2.1]:25, delay=1.2, delays=0.1/0/0/1.1"
FROM_APP = "from app.example[192.0.2.7]; from=<a@b> to=<c@d> proto=ESMTP helo=<app>"
USUAL = [
    ("smtp", f"{Q}: to=<a@b.example>, {WAY}, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued (x))"),
    ("smtp", f"{Q}: to=<a@b>, orig_to=<root>, {WAY}, tls=may, dsn=4.0.0, status=deferred (x)"),
    ("smtp", "7F1AC2: to=<a@b>, relay=none, conn_use=2, delay=9, delays=9/0/0/0, dsn=5.1.1, status=bounced (no)"),
    ("qmgr", f"{Q}: from=<>, size=12, nrcpt=2 (queue active)"),
    ("qmgr", f"{Q}: removed"),
    ("postsuper", f"{Q}: removed"),
    ("cleanup", f"{Q}: message-id=<x: y, status=sent (z)>"),
    ("cleanup", f"{Q}: info: header client-id: shop {FROM_APP}"),
    ("cleanup", f"{Q}: info: header Subject: 5 from x from y {FROM_APP}"),
    ("smtpd", f"{Q}: client=h.example[2001:db8::1], sasl_method=PLAIN, sasl_username=me"),
    ("bounce", f"{Q}: sender non-delivery notification: 4jXPlN1kTYzJbRK"),
    ("smtp", f"{Q}: host mx[192.0.2.7] said: 450 later (in reply to RCPT TO command)"),
    ("smtpd", "connect from unknown[192.0.2.7]"),
    ("smtp", "connect to mx.b.example[192.0.2.1]:25: Connection refused"),
    ("anvil", "statistics: max connection rate 1/60s for (smtp:192.0.2.1) at Jun 10 06:22:30"),
    ("smtpd", "warning: hostname x does not resolve to address 192.0.2.1"),
]  # fmt: skip
OTHER = [
    ("smtp", f"{Q}: to=<a@b>, {WAY}, dsn=2.1.5, status=deliverable (250 2.1.5 Ok)"),
    ("qmgr", f"{Q}: from=<a@b>, status=expired, returned to sender"),
    ("smtp", f'{Q}: to=<"a>b"@c>, {WAY}, dsn=2.0.0, status=sent (x)'),
    ("smtp", f"{Q}: to=<a@b>, {WAY}, dsn=2.0.0, status=deliverable (x)"),
    ("smtp", f"{Q}: to=<a@b>, {WAY}, dsn=4.4.1, status=deferred (cut of"),
    ("cleanup", f"{Q}: message-id="),
    ("smtpd", "NOQUEUE: reject: RCPT from h[192.0.2.7]: 550 no; from=<a@b> to=<c@d> proto=SMTP helo=<x>"),
    ("smtpd", f"{Q}: client=none"),
    ("qmgr", f"{Q}: message repeated"),
    ("smtp", f"message repeated 2 times: [ {Q}: to=<a@b>, {WAY}, dsn=4.4.1, status=deferred (x)]"),
    ("cleanup", f"{Q}: info: header a: b from x[192.0.2.1]; from=<c from y[192.0.2.2]; d> to=<e>"),
    ("smtp", f"warning: {Q}: removed"),
    ("smtp", "reject: removed"),
    ("postsuper", "Deleted: removed"),
    ("postsuper", "Expired: from=<a@b>, size=1, nrcpt=1 (queue active)"),
    ("dovecot", f"{Q}: removed"),
]  # fmt: skip
HEADS = [
    "2026-03-10T10:00:00.123456+00:00 mx1 postfix/{}[42]: {}", "<22>Mar 10 10:00:00 mx1 postfix/{}[42]: {}",
    "2026-03-10T11:00:00+01:00 MX1.example postfix/{}[7]: {}", "2026 Mar 10 10:00:00.5 mx1 postfix-out/{}[42]: {}",
    "Mar 10 10:00:00 2026 mx1 postfix/{}[42]: {}", "<22>1 2026-03-10T10:00:00Z mx1 postfix/{} 42 - - {}",
    "Tue Mar 10 10:00:00 2026 mx1 postfix/{}[42]: {}", "Mar 10 10:00:00 mx1 Tue Mar 10 10:00:00 2026 mx1 postfix/{}[42]: {}",
    "2026-03-10T10:00:60+00:00 mx1 postfix/{}[42]: {}", "2026-03-10T10:00:00.1234567Z mx1 {}[42]: {}",
    "Mär 10 10:00:00 mx1 postfix/{}[42]: {}", "Mar 10 10:00:00 mx1 {}: {}", "Mar 10 10:00:00 mx1 postfix/{}[4x]: {}",
    "<2222>Mar 10 10:00:00 mx1 postfix/{}[42]: {}", "{}[42]: {}",
]  # fmt: skip
PUT = st.one_of(
    st.text("\n\r\0 .:,;[]<>()\"/=0T\u00e9\u2028", max_size=4),
    st.sampled_from([": ", "]: ", f"{Q}: removed", "\nMar 10 10:00:00 mx1 postfix/qmgr[42]: ", " from ", ">, "]),
)  # fmt: skip


@pytest.mark.parametrize(("program", "text"), USUAL, ids=lambda text: text[:40])
def test_usual_lines_are_found(program: str, text: str) -> None:
    """None of them is left to the grammar of headers and texts."""
    ((*_, queue_id, said, behind),) = usual.rows([log_line(text, program=program)])
    assert not behind
    if said:
        record = postfix.COMMON_READERS[said[: postfix.START]](said)
        assert (queue_id, record) == postfix.read(text, "qmgr")
    else:
        assert isinstance(postfix.read(text, program)[1], Ignored)


@pytest.mark.parametrize(("program", "text"), OTHER, ids=lambda text: text[:40])
def test_others_are_left_to_the_grammar(program: str, text: str) -> None:
    source, line = Pipeline(RULES).source(), log_line(text, program=program)
    source.read([log_line("connect from x[192.0.2.1]", program=program)], NOW)
    assert said(source.read([line], NOW)) == expected(HeaderReader(), [line])[0]


@st.composite
def lines(draw: st.DrawFn) -> list[bytes]:
    """Lines of usual forms and others, whole and damaged, in any order."""
    found = []
    for _ in range(draw(st.integers(1, 6))):
        program, text = draw(st.sampled_from(USUAL + OTHER))
        line = draw(st.sampled_from(HEADS)).format(program, text)
        if draw(st.booleans()):
            at, cut = draw(st.integers(0, len(line))), draw(st.integers(0, 3))
            line = line[:at] + draw(PUT) + line[at + cut :]
        found.append(line.encode() + draw(st.sampled_from([b"", b"\r", b"\0\0", b"\xff", b"\xc3"])))
    return found


@settings(max_examples=600, deadline=None)
@given(lines())
def test_a_block_says_what_its_lines_say_alone(some: list[bytes]) -> None:
    """Whatever was read before, whatever stands beside it: no line becomes another one."""
    pipeline = Pipeline(RULES)
    source = pipeline.source()
    usual_lines = [head.format(*one).encode() for head in HEADS for one in USUAL[:1]]
    source.read(usual_lines, NOW)
    before = Counter(pipeline.tally.kinds)
    found = said(source.read(some, NOW))
    events, kinds = expected(HeaderReader(), some)
    assert found == events, some
    assert Counter(pipeline.tally.kinds) - before == kinds, some


STRICT = {
    postfix.COMMON_READERS["to="]: postfix._unusual_delivery,
    postfix.COMMON_READERS["fro"]: postfix._unusual_from,
    postfix.COMMON_READERS["inf"]: actions._unusual_action,
}
SAID = [text.partition(": ")[2] for _, text in USUAL + OTHER if text.startswith(f"{Q}: ")]
CHOSEN = [
    f">, {WAY}, dsn=2.0.0, status=sent (x)", ", relay=x", ", dsn=5.0.0", ")", " (", '">', '"', "a>b",
    " from y[192.0.2.2]; from=<x> to=<y>", "; from=<x> to=<y> proto=SMTP helo=<z>", "1", "\u00b9",
]  # fmt: skip
HOSTILE = st.one_of(PUT, st.sampled_from(CHOSEN))


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(SAID), st.lists(st.tuples(st.integers(0, 250), HOSTILE), max_size=3))
def test_what_is_read_at_a_glance_is_what_the_grammar_says(
    said: str, planted: list[tuple[int, str]]
) -> None:
    for at, put in planted:
        said = said[:at] + put + said[at:]
    reader = postfix.COMMON_READERS.get(said[: postfix.START])
    if reader in STRICT:
        assert reader(said) == STRICT[reader](said)


@given(st.lists(st.binary(max_size=40)))
def test_each_line_has_its_row(some: list[bytes]) -> None:
    assert len(usual.rows(some)) == len(some)


AROUND_A_CHANGE = [
    ("Europe/Berlin", "Oct 26 {:02}:{:02}:07", (2025, 10, 26, 0, 40)),
    ("Europe/Berlin", "Oct 26 {:02}:{:02}:07", (2025, 10, 26, 5, 0)),
    ("Europe/Berlin", "Mar 30 {:02}:{:02}:07", (2025, 3, 30, 9, 0)),
    ("Australia/Lord_Howe", "Apr  6 {:02}:{:02}:07", (2025, 4, 5, 15, 10)),
    ("Australia/Lord_Howe", "2025 Oct  5 {:02}:{:02}:07", (2025, 10, 5, 9, 0)),
    ("UTC", "Jan  2 {:02}:{:02}:07", (2026, 1, 1, 2, 31)),
    ("Asia/Kathmandu", "Jan  2 {:02}:{:02}:07", (2026, 1, 1, 2, 31)),
]


@pytest.mark.parametrize(("zone", "stamp", "received"), AROUND_A_CHANGE)
@pytest.mark.parametrize("order", [1, -1, 7])
def test_each_minute_around_a_change_is_as_its_line_says_alone(
    zone: str, stamp: str, received: tuple[int, ...], order: int
) -> None:
    """Of the clock, or of the year that a stamp without one is of."""
    at = int(datetime(*received, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[arg-type,misc]
    minutes = [(hour, minute) for hour in range(5) for minute in range(60)]
    minutes = minutes[::order] if order != 7 else [minutes[7 * n % 300] for n in range(300)]
    some = [f"{stamp.format(*one)} mx postfix/qmgr[1]: {Q}: removed".encode() for one in minutes]
    found = Pipeline(RULES).source(ZoneInfo(zone)).read(some, at)
    alone = [HeaderReader(ZoneInfo(zone)).read(line.decode(), at) for line in some]
    assert [event.said.at for event in found] == [one.at for one in alone if one]


def said(events: list[Event]) -> list[object]:
    """Of each event: about which entry, when, what."""
    found: list[object] = []
    for event in events:
        one = event.said
        record = one.delivery if isinstance(one, Attempt) else one.record
        found.append((event.host, event.queue_id, one.at, one.grade, record))
    return found


def expected(reader: HeaderReader, some: list[bytes]) -> tuple[list[object], Counter[object]]:
    """The same by the grammar of headers and that of texts; and how many of each kind."""
    events: list[object] = []
    kinds: Counter[object] = Counter()
    for line in some:
        header = reader.read(line.decode("utf-8", "backslashreplace"), NOW)
        if header is None:
            continue
        queue_id, record = postfix.read(header.text, header.program, header.syslog_name)
        program = header.program if header.program in postfix.PROGRAMS else "other"
        kinds[program, record.kind()] += 1
        if queue_id in ("", "NOQUEUE") or isinstance(record, Ignored | Unknown):
            continue
        host = Hosts().name(header.hostname)
        at, grade = header.at, header.grade
        if header.repeat and record.kind() == "delivery":
            at, grade = at // 1_000_000 * 1_000_000, grade & 1
        events += [(host, queue_id, at, grade, record)] * (header.repeat or 1)
    return events, kinds
