"""Entries of the original's interface: states, shapes, choice. No HTTP."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pda.maillog.bounce import ORIGINAL_NAMES, original_category
from pda.store.queries import AttemptRow, OutcomeRow
from pda.web.entries import (
    UNDECIDED,
    Entry,
    Query,
    UnknownQueryError,
    attempt_entry,
    expired_entry,
    in_order,
    read_query,
    select,
)

MEMBERS = {
    "date", "queueId", "msgId", "rcptEmail", "senderEmail", "status", "info", "state", "stateInfo",
}  # fmt: skip
ATTEMPT = AttemptRow(
    at=1_370_871_282_123_999,
    host="mx1",
    queue_id="3bY",
    client_id="shop",
    message_id="<98494.1.2@shop>",
    msg_id="98494.1.2",
    sender="news@example.com",
    recipient="rcpt@example.org",
    orig_to=None,
    relay="none",
    delay=1.0,
    dsn="4.2.2",
    status="deferred",
    reason="mailbox full",
    bounce_type="soft",
    category="mailbox-full",
    rule="r",
    deferred_before=False,
)
EXPIRED = OutcomeRow(
    1, 1_370_871_282_123_999, "mx1", "3bY", "", "shop", "<x@y>", "", None, "rcpt@example.org",
    "expired", 3, "soft", "mailbox-full", "r", 9,
)  # fmt: skip


def row(**changes: object) -> AttemptRow:
    return msgspec.structs.replace(ATTEMPT, **changes)


def entry(**changes: object) -> Entry:
    return msgspec.structs.replace(attempt_entry(ATTEMPT, original_category), **changes)


@pytest.mark.parametrize(
    ("changes", "status", "state", "state_info"),
    [
        ({}, "deferred", 0, "mailbox is full"),
        ({"status": "SOFTBOUNCE"}, "deferred", 0, "mailbox is full"),
        (
            {"status": "bounced", "bounce_type": "hard", "category": "invalid-recipient"},
            "bounced", 1, "mailbox not found, is inactive, disabled or does not exist",
        ),
        ({"status": "bounced"}, "bounced", 0, "mailbox is full"),
        ({"bounce_type": "undetermined", "category": "undetermined"}, "deferred", 2, UNDECIDED),
        ({"category": "undetermined"}, "deferred", 2, UNDECIDED),
        ({"bounce_type": "undetermined"}, "deferred", 2, UNDECIDED),
        ({"bounce_type": None, "category": None, "rule": None}, "deferred", 2, UNDECIDED),
        ({"category": "a category of its own list"}, "deferred", 0, "a category of its own list"),
        ({"status": "sent", "bounce_type": None, "category": None}, "sent", 3, "OK"),
        ({"status": "sent", "deferred_before": True}, "sent", 4, "finally OK"),
    ],
)  # fmt: skip
def test_state_of_an_attempt(
    changes: dict[str, object], status: str, state: int, state_info: str
) -> None:
    made = attempt_entry(row(**changes), original_category)
    assert (made.status, made.state, made.state_info) == (status, state, state_info)


def test_every_member_of_an_attempt_and_no_other() -> None:
    assert msgspec.to_builtins(entry()) == {
        "date": 1_370_871_282_123,
        "queueId": "3bY",
        "msgId": "98494.1.2",
        "rcptEmail": "rcpt@example.org",
        "senderEmail": "news@example.com",
        "status": "deferred",
        "info": "mailbox full",
        "state": 0,
        "stateInfo": "mailbox is full",
    }


def test_every_member_of_an_expiry_and_no_other() -> None:
    assert msgspec.to_builtins(expired_entry(EXPIRED)) == {
        "date": 1_370_871_282_123,
        "queueId": "3bY",
        "msgId": "<x@y>",
        "rcptEmail": "rcpt@example.org",
        "senderEmail": "unknown",
        "status": "expired",
        "info": "returned to sender",
        "state": 0,
        "stateInfo": "expired, returned to sender",
    }
    assert expired_entry(EXPIRED).state_info in ORIGINAL_NAMES


def test_nothing_unknown_is_null() -> None:
    made = attempt_entry(row(msg_id="", message_id="", sender=None, reason=""), original_category)
    assert (made.msg_id, made.sender_email, made.info) == ("", "unknown", "")
    assert attempt_entry(row(sender=""), original_category).sender_email == "unknown"


def test_a_message_id_of_another_form_stands_as_logged() -> None:
    made = attempt_entry(row(msg_id="", message_id="<a@b>"), original_category)
    assert made.msg_id == "<a@b>"


def test_order_is_by_date_then_queue_id_then_msg_id_then_recipient() -> None:
    wanted = [
        entry(date=1, queue_id="z"),
        entry(date=2, queue_id="a", msg_id="b"),
        entry(date=2, queue_id="b", msg_id="a", rcpt_email="b"),
        entry(date=2, queue_id="b", msg_id="b", rcpt_email="a"),
        entry(date=2, queue_id="b", msg_id="b", rcpt_email="c"),
    ]
    assert in_order(reversed(wanted)) == wanted


# --- Query strings -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "query"),
    [
        ({}, Query()),
        ({"from": "5", "to": "7"}, Query(since=5000, until=7999)),
        ({"from": "0"}, Query()),
        ({"to": "0"}, Query(until=999)),
        ({"from": "-5"}, Query(since=-5000)),
        ({"from": "+5"}, Query(since=5000)),
        ({"from": "x", "to": "1e3"}, Query()),
        ({"from": " 5", "to": "5_0"}, Query()),
        ({"from": "\N{ARABIC-INDIC DIGIT FIVE}"}, Query()),
        ({"from": "9223372036854775808"}, Query()),
        ({"to": "9223372036854775807"}, Query(until=2**63 - 1)),
        ({"from": "-9223372036854775808"}, Query(since=-(2**63) + 1)),
        ({"lastOrFirst": "true"}, Query(last=True)),
        ({"lastOrFirst": "FALSE"}, Query(last=False)),
        ({"lastOrFirst": "1"}, Query()),
        ({"groupBy": ""}, Query()),
        ({"groupBy": "msgId"}, Query(group_by=("msg_id",))),
        ({"groupBy": "queueId-and-rcptEmail"}, Query(group_by=("queue_id", "rcpt_email"))),
        ({"other": "1"}, Query()),
    ],
)
def test_query_string(parameters: dict[str, str], query: Query) -> None:
    assert read_query(parameters) == query


@pytest.mark.parametrize(
    "text", ["sender", "msgid", "msgId-and-msgId", "msgId-and-", "msgId-and-queueId-and-rcptEmail"]
)
def test_unknown_group_by(text: str) -> None:
    with pytest.raises(UnknownQueryError):
        read_query({"groupBy": text})


@given(st.dictionaries(st.sampled_from(["from", "to", "lastOrFirst"]), st.text()))
def test_a_hostile_query_string_is_read_or_absent(parameters: dict[str, str]) -> None:
    query = read_query(parameters)
    for bound in (query.since, query.until):
        assert bound is None or -(2**63) < bound < 2**63


# --- Choice ------------------------------------------------------------------------------------

A1 = entry(date=1, queue_id="Q1", rcpt_email="a@x")
B1 = entry(date=2, queue_id="Q1", rcpt_email="b@x")
A2 = entry(date=3, queue_id="Q2", rcpt_email="a@x")
A3 = entry(date=4, queue_id="Q2", rcpt_email="a@x")
ALL = [A1, B1, A2, A3]


@pytest.mark.parametrize(
    ("query", "selection"),
    [
        (Query(), ALL),
        (Query(last=True), A3),
        (Query(last=False), A1),
        (Query(group_by=("queue_id",)), {"Q1": [A1, B1], "Q2": [A2, A3]}),
        (Query(group_by=("queue_id",), last=True), {"Q1": B1, "Q2": A3}),
        (Query(group_by=("queue_id",), last=False), {"Q1": A1, "Q2": A2}),
        (
            Query(group_by=("queue_id", "rcpt_email")),
            {"a@x": {"Q1": [A1], "Q2": [A2, A3]}, "b@x": {"Q1": [B1]}},
        ),
        (
            Query(group_by=("rcpt_email", "queue_id")),
            {"Q1": {"a@x": [A1], "b@x": [B1]}, "Q2": {"a@x": [A2, A3]}},
        ),
        (
            Query(group_by=("queue_id", "rcpt_email"), last=True),
            {"a@x": {"Q1": A1, "Q2": A3}, "b@x": {"Q1": B1}},
        ),
    ],
)
def test_selection(query: Query, selection: object) -> None:
    assert select(ALL, query) == selection


@pytest.mark.parametrize(
    ("query", "selection"),
    [
        (Query(), []),
        (Query(last=True), None),
        (Query(group_by=("msg_id",)), {}),
        (Query(group_by=("msg_id", "queue_id"), last=True), {}),
    ],
)
def test_selection_of_nothing(query: Query, selection: object) -> None:
    assert select([], query) == selection


def test_members_of_a_selection_are_those_of_the_original() -> None:
    encoded = msgspec.json.decode(msgspec.json.encode(select(ALL, Query())))
    assert all(set(each) == MEMBERS for each in encoded)
