"""What lines of one queue id say together: identity, lives, outcomes, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import permutations
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pda.maillog.clients import ClientRules
from pda.maillog.correlate import Correlator, gather
from pda.maillog.events import Event, Life, Outcome, State
from pda.maillog.pipeline import Pipeline
from tests.support import LONG_ID, RULES, attempt, events, line, message

SHORT_ID = "4F5C61A2"
BOUNCE = "host mx.example.org[192.0.2.1] said: 550 5.1.1 User unknown (in reply to RCPT TO command)"


class Known:
    """A correlator that is handed what it has said before, as a store would."""

    def __init__(self) -> None:
        self.correlator = Correlator(ClientRules())
        self.lives: dict[int, Life] = {}

    def add(self, new: Sequence[Event]) -> int:
        changes = self.correlator.add(gather(new), {}) + self.correlator.join({})
        for change in changes:
            self.lives[id(change.life)] = change.life
        return len(changes)

    def outcomes(self) -> list[tuple[str, str, State, int]]:
        return sorted(
            (life.queue_id, outcome.recipient, outcome.state, outcome.attempts)
            for life in self.lives.values()
            for outcome in life.outcomes.values()
        )

    def only(self) -> Life:
        (life,) = [life for life in self.lives.values() if life.facts or life.attempts]
        return life

    def outcome(self) -> Outcome:
        (outcome,) = self.only().outcomes.values()
        return outcome


def known(*lines: bytes, live: bool = True) -> Known:
    found = Known()
    found.add(events(lines, live=live))
    return found


def deferral(
    at: str = "2026-03-10T10:00:01.500000+00:00", delay: str = "1.5", **more: str
) -> bytes:
    return attempt(
        "deferred",
        at=at,
        delay=delay,
        reason="connect to mx: Connection refused",
        dsn="4.4.1",
        **more,
    )


LATER = "2026-03-10T10:05:00.000000+00:00"


@pytest.mark.parametrize(
    ("deliveries", "state", "attempts"),
    [
        ([attempt()], State.DELIVERED, 1),
        ([deferral(), attempt(at=LATER, delay="300")], State.FINALLY_OK, 2),
        ([deferral()], State.PENDING, 1),
        ([attempt("bounced", reason=BOUNCE, dsn="5.1.1")], State.HARD_BOUNCE, 1),
        ([attempt("bounced", reason="host x said: 550 zzz qqq", dsn="5.0.0")], State.UNDETERMINED_BOUNCE, 1),
        ([line(f"{LONG_ID}: to=<rcpt@example.org>, relay=none, delay=1, delays=1/0/0/0, dsn=2.0.0,"
               " status=sent (thrown away)", program="discard")], State.DISCARDED, 1),
    ],
)  # fmt: skip
def test_states(deliveries: list[bytes], state: State, attempts: int) -> None:
    outcome = known(*message(deliveries=deliveries)).outcome()
    assert (outcome.state, outcome.attempts) == (state, attempts)


def expiry(at: str = "2026-03-10T11:00:00.000000+00:00") -> bytes:
    text = f"{LONG_ID}: from=<news@example.com>, status=expired, returned to sender"
    return line(text, program="qmgr", at=at)


def test_expiry_is_for_every_recipient_still_deferred() -> None:
    found = known(
        deferral(to="a@x.example"), deferral(to="b@x.example"), attempt(to="c@x.example"), expiry()
    )
    states = {o.recipient: o.state for o in found.only().outcomes.values()}
    assert states == {
        "a@x.example": State.EXPIRED,
        "b@x.example": State.EXPIRED,
        "c@x.example": State.DELIVERED,
    }


def test_an_expiry_without_any_deferral_is_kept_and_gives_way_to_one() -> None:
    found = known(expiry())
    assert found.outcome().recipient == ""
    found.add(events([deferral()]))
    assert found.outcome() == Outcome(
        "rcpt@example.org",
        State.EXPIRED,
        found.outcome().first_at,
        found.outcome().last_at,
        1,
        found.outcome().verdict,
        found.outcome().relay,
    )


def test_who_could_not_be_told_of_an_expiry_is_tried_again() -> None:
    """The notification fails, so the message stays in the queue, and expires again."""
    retry = deferral(at="2026-03-10T11:30:00.000000+00:00", delay="5400")
    lines = [deferral(), expiry(), retry, expiry(at="2026-03-10T11:30:01.000000+00:00")]
    for order in permutations(lines):
        assert known(*order).outcome().state is State.EXPIRED
    assert known(*lines[:3]).outcome().state is State.PENDING


def said(text: str, second: int, program: str = "postsuper") -> bytes:
    """What somebody says of the message, so many seconds after it came."""
    return line(f"{LONG_ID}: {text}", program=program, at=f"2026-03-10T10:00:{second:02}+00:00")


ORIGIN = "from h[192.0.2.9]; from=<s@x> to=<r@y.example> proto=ESMTP helo=<h>"
HOLD, DISCARD = (
    said(f"{word}: header X-Spam: yes {ORIGIN}", 1, "cleanup") for word in ("hold", "discard")
)
MILTER_HOLD = said(
    f"milter-hold: END-OF-MESSAGE {ORIGIN.replace(';', ': milter triggers HOLD action;')}",
    1,
    "cleanup",
)
ACCESS_HOLD = said(
    f"hold: RCPT {ORIGIN.replace(';', ': <r@y.example>: Recipient address triggers HOLD action;')}",
    1,
    "smtpd",
)
PLACED, RELEASED, DELETED = (
    said("placed on hold", 5),
    said("released from hold", 6),
    said("removed", 7),
)
GIVEN_UP = said("from=<s@x>, status=force-expired, returned to sender", 50, "qmgr")
LATE_REJECT = said(
    f"milter-reject: END-OF-MESSAGE {ORIGIN.replace(';', ': 5.7.1 no;')}", 2, "cleanup"
)
BODY_REJECT = said(f"reject: body spam {ORIGIN}: 5.7.1 no", 2, "cleanup")
RCPT_REJECT = said(
    f"reject: RCPT {ORIGIN.replace(';', ': 550 5.1.1 <q@y.example>: no;')}", 0, "smtpd"
)
TRIED = deferral(at="2026-03-10T10:00:09.000000+00:00", delay="9", to="r@y.example")
RUNNING = TRIED.replace(b"0.1/0/0.4/1", b"0.1/0/0.4/8")
"""Tried already when it was put on hold."""
TO_OTHERS = attempt(to="other@z.example", at="2026-03-10T10:00:09.000000+00:00", delay="9")


@pytest.mark.parametrize(
    ("lines", "states"),
    [
        ([HOLD], {"r@y.example": State.HELD}),
        ([MILTER_HOLD], {"r@y.example": State.HELD}),
        ([ACCESS_HOLD], {"r@y.example": State.HELD}),
        ([ACCESS_HOLD, RCPT_REJECT], {"r@y.example": State.HELD}),
        ([HOLD, RELEASED], {"r@y.example": State.PENDING}),
        ([HOLD, RELEASED, DELETED], {"r@y.example": State.DISCARDED}),
        ([HOLD, DELETED], {"r@y.example": State.DISCARDED}),
        ([HOLD, GIVEN_UP], {"r@y.example": State.EXPIRED}),
        ([HOLD, RELEASED, TRIED], {"r@y.example": State.PENDING}),
        ([HOLD, RELEASED, TRIED, GIVEN_UP], {"r@y.example": State.EXPIRED}),
        ([HOLD, RELEASED, TO_OTHERS], {"other@z.example": State.DELIVERED}),  # an alias, a redirect
        ([HOLD, TO_OTHERS], {"other@z.example": State.DELIVERED}),  # that it was released is lost
        ([HOLD, DISCARD], {"r@y.example": State.DISCARDED}),
        ([DISCARD], {"r@y.example": State.DISCARDED}),
        ([HOLD, LATE_REJECT], {}),
        ([HOLD, BODY_REJECT], {}),
        ([DISCARD, BODY_REJECT], {}),
        ([HOLD, said("removed (canceled)", 2, "cleanup")], {}),
        ([TRIED, said("placed on hold", 30)], {"r@y.example": State.HELD}),
        ([RUNNING, PLACED], {"r@y.example": State.HELD}),
        ([RUNNING, PLACED, RELEASED], {"r@y.example": State.PENDING}),
        ([TRIED, PLACED], {"r@y.example": State.PENDING}),  # released, since it was tried
        ([RUNNING, PLACED, said("removed", 40)], {"r@y.example": State.DISCARDED}),
    ],
)  # fmt: skip
def test_what_is_held_or_thrown_away(lines: list[bytes], states: dict[str, State]) -> None:
    for order in permutations(lines):
        found = Known()
        for one in order:
            found.add(events([one]))
        assert {o.recipient: o.state for o in found.only().outcomes.values()} == states
        assert {o.recipient: o.state for o in known(*order).only().outcomes.values()} == states


@pytest.mark.parametrize("stamp", ["Mar 10 10:00:09", "2026-03-10T10:00:09+00:00"])
def test_attempts_within_a_second_are_in_the_order_of_their_delays(stamp: str) -> None:
    """Three, so that their digests would tell the wrong order of one of them."""
    tries = [
        deferral(at=stamp, delay="9.01"),
        deferral(at=stamp, delay="9.2"),
        attempt(at=stamp, delay="9.3"),
    ]
    for order in permutations(tries):
        outcome = known(*order, live=False).outcome()
        assert (outcome.state, outcome.attempts) == (State.FINALLY_OK, 3)


@pytest.mark.parametrize("number", range(8))
def test_who_was_reached_is_not_tried_again(number: int) -> None:
    """Delays of whole seconds, as before Postfix 2.3, do not tell the order."""
    stamp = "Mar 10 10:00:09"
    reasons = {"reason": f"250 Ok {number}"}
    tries = [deferral(at=stamp, delay="9"), attempt(at=stamp, delay="9", **reasons)]
    assert known(*tries, live=False).outcome().state is State.FINALLY_OK


def test_an_attempt_without_head_is_kept_and_joined() -> None:
    found = known(attempt())
    summary = found.only().summary
    assert summary is not None
    assert summary.client_id == ""
    found.add(events(message(deliveries=[])))
    summary = found.only().summary
    assert summary is not None
    assert (summary.client_id, summary.msg_id, summary.sender) == (
        "shop", "98494.7.1", "news@example.com",
    )  # fmt: skip


def header(value: str) -> bytes:
    text = f"info: header Client-ID: {value} from h[192.0.2.9]; from=<s@x> to=<r@y>"
    return line(f"{LONG_ID}: {text}", program="cleanup")


@pytest.mark.parametrize(
    ("extra", "client_id"),
    [
        ([header("by-header"), line(f"{LONG_ID}: message-id=<98494.1.2@by-id>", program="cleanup")], "by-id"),
        ([header("by-header"), line(f"{LONG_ID}: message-id=<1@host>", program="cleanup")], "by-header"),
        ([line(f"{LONG_ID}: client=h[192.0.2.9], sasl_method=PLAIN, sasl_username=by-sasl", program="smtpd")], "by-sasl"),
        ([line(f"{LONG_ID}: from=<a@By-Sender.example>, size=1, nrcpt=1 (queue active)", program="qmgr")], "by-sender.example"),
        ([line(f"{LONG_ID}: from=<>, size=1, nrcpt=1 (queue active)", program="qmgr")], ""),
    ],
)  # fmt: skip
def test_client_id(extra: list[bytes], client_id: str) -> None:
    for lines in ([*extra, attempt()], [attempt(), *reversed(extra)]):
        summary = known(*lines).only().summary
        assert summary is not None
        assert summary.client_id == client_id


# --- Identity ---------------------------------------------------------------------------------


def test_a_line_sent_again_changes_nothing() -> None:
    lines = message(deliveries=[deferral(), attempt(at=LATER, delay="300")])
    found = known(*lines)
    before = found.outcomes()
    assert found.add(events(lines)) == 0
    assert found.outcomes() == before


@pytest.mark.parametrize(
    "stamp",
    [
        "2026-03-10T10:00:01+00:00",  # a file with whole seconds
        "2026 Mar 10 10:00:01.500",
        "2026 Mar 10 12:00:01.500",  # … read with a wrong zone
        "Mar 10 10:00:01",
    ],
)
@pytest.mark.parametrize("coarse_first", [False, True])
def test_another_format_of_the_same_attempt_is_the_same(stamp: str, coarse_first: bool) -> None:
    fine, coarse = events([attempt()]), events([attempt(at=stamp)], live=False)
    found = Known()
    for new in (coarse, fine) if coarse_first else (fine, coarse):
        found.add(new)
    (kept,) = found.only().attempts.values()
    assert kept.at == fine[0].said.at  # the finer stamp with a zone wins


def test_equal_texts_at_different_times_are_copies() -> None:
    """One address given twice in one message."""
    other = attempt(at="2026-03-10T10:00:01.600000+00:00")
    assert len(known(attempt(), other, attempt()).only().attempts) == 2


def test_equal_texts_in_a_file_of_whole_seconds_are_counted() -> None:
    twice = [attempt(at="Mar 10 10:00:01")] * 2
    found = known(*twice, live=False)
    assert len(found.only().attempts) == 2
    found.add(events(twice, live=False))
    assert len(found.only().attempts) == 2


def test_equal_texts_of_a_live_stream_of_whole_seconds_are_sent_again() -> None:
    assert len(known(*[attempt(at="Mar 10 10:00:01")] * 2).only().attempts) == 1


def test_an_alias_to_two_files_is_two_attempts() -> None:
    record = (
        "{}: to=<team@x.example>, relay=local, delay=0.1, delays=0.1/0/0/0, dsn=2.0.0,"
        " status=sent (delivered to file: /var/{})"
    )
    one, two = (line(record.format(LONG_ID, name), program="local") for name in "ab")
    found = known(one, two, one)
    assert (len(found.only().attempts), found.outcome().attempts) == (2, 2)


def test_a_repeated_hour_repeats_nothing() -> None:
    """The same attempt, read in the hour before and in the hour after the clock went back."""
    zone = ZoneInfo("Europe/Prague")
    found = Known()
    for received in ("2026-10-25T02:31:00+02:00", "2026-10-25T02:31:00+01:00"):
        source = Pipeline(RULES).source(zone)
        at = int(datetime.fromisoformat(received).timestamp() * 1_000_000)
        found.add(source.read([attempt(at="Oct 25 02:30:00")], at))
    assert len(found.only().attempts) == 1


def test_a_repeated_line_stands_for_further_copies() -> None:
    """rsyslog's `message repeated N times` comes behind the first one."""
    first = attempt(at="Mar 10 10:00:01")
    again = first.replace(b": 4jXP", b": message repeated 3 times: [ 4jXP") + b"]"
    for live in (False, True):
        found = known(first, again, live=live)
        assert (len(found.only().attempts), found.outcome().attempts) == (4, 4)
        found.add(events([first, again], live=live))
        assert len(found.only().attempts) == 4


@pytest.mark.parametrize("later_first", [False, True])
def test_a_repeated_line_may_begin_a_file(later_first: bool) -> None:
    first = attempt(at="Mar 10 10:00:01")
    again = first.replace(b": 4jXP", b": message repeated 2 times: [ 4jXP") + b"]"
    found = Known()
    for one in (again, first) if later_first else (first, again):
        found.add(events([one], live=False))
    assert len(found.only().attempts) == 3


def test_the_syslog_name_is_no_part_of_a_key() -> None:
    lines = message(deliveries=[attempt().replace(b"postfix/smtp", b"postfix-10.0.0.1/smtp")])
    assert known(*lines).outcome().state is State.DELIVERED
    assert len(known(*lines).lives) == 1


def test_two_hosts_may_have_equal_queue_ids() -> None:
    lines = [attempt(), attempt().replace(b" mx1 ", b" MX2.example.org ")]
    found = known(*lines)
    assert sorted(life.host for life in found.lives.values()) == ["mx1", "mx2"]


LONG_LIFE = [
    *message(deliveries=[deferral(), attempt(at=LATER, delay="300")]),
    header("by-header"),
    deferral(to="other@example.org"),
    attempt("bounced", to="third@Example.ORG", reason=BOUNCE, dsn="5.1.1"),
    expiry(),
]


@settings(max_examples=200, deadline=None)
@given(st.permutations(LONG_LIFE + LONG_LIFE[:3]), st.integers(1, 10))
def test_any_order_and_any_cut_give_the_same(lines: list[bytes], cut: int) -> None:
    expected, found = known(*LONG_LIFE), Known()
    found.add(events(lines[:cut]))
    found.add(events(lines[cut:]))
    assert found.outcomes() == expected.outcomes()
    assert found.only().summary == expected.only().summary


def test_memory_is_bounded() -> None:
    correlator = Correlator(ClientRules(), limit=10)
    for n in range(50):
        new = gather(events([attempt(queue_id=f"4jXPlN1VQlzJb{n:02}")]))
        assert correlator.missing(new)
        correlator.add(new, {})
        correlator.join({})
    correlator.missing([])
    assert len(correlator) == 10


@pytest.mark.parametrize(("raw", "asked"), [("<1@printer>", True), ("<>", False), ("", False)])
def test_nobody_is_asked_for_all_that_has_no_message_id(raw: str, asked: bool) -> None:
    """Devices in a private network send without; cleanup(8) says `message-id=<>`."""
    correlator = Correlator(ClientRules())
    inside = [one.replace(b"192.0.2.9", b"10.0.0.9") for one in message(message_id=raw)]
    correlator.add(gather(events(inside)), {})
    assert bool(correlator.wanted().message_ids) is asked


def test_a_server_that_gives_all_mail_one_queue_id_is_not_listened_to_for_ever() -> None:
    correlator = Correlator(ClientRules(), limit=10)
    named = "4jXPlN1VQlzJbS0"

    def wanted(*lines: bytes) -> int:
        correlator.missing([])
        correlator.add(gather(events(lines)), {})
        keys = correlator.wanted().keys
        correlator.join({})
        return len(keys)

    for n in range(300):
        queue_id = f"4jXPlN1VQlzJb{n:03}"
        wanted(attempt(queue_id=queue_id, reason=f"250 2.0.0 Ok: queued as {named}"))
    assert wanted(*message(named)) <= 100
