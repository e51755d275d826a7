"""Queue entries that are one message, in any order, over restarts, and never by a reply alone."""

from __future__ import annotations

from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pda.maillog.clients import Binding, ClientRules
from pda.maillog.events import State
from pda.store import queries
from pda.store.queries import Filter, OutcomeRow
from tests.support import Store, line, message

FIRST, SECOND, THIRD = "4jXPlN1VQlzJbS1", "4jXPlN1VQlzJbS2", "4jXPlN1VQlzJbS3"
MESSAGE_ID = "<98494.5.1@shop>"


def entry(
    queue_id: str, tail: list[str], *, client: str = "h[198.51.100.9]", host: str = "mx1",
    message_id: str = MESSAGE_ID, second: int = 0, hour: int = 10,
) -> list[bytes]:  # fmt: skip
    """The lines of one queue entry; `tail` are its delivery records and what else happens."""
    at = f"2026-03-10T{hour}:00:{second:02}.000000+00:00"
    heads = [
        (f"client={client}", "smtpd"),
        (f"message-id={message_id}", "cleanup"),
        ("from=<news@example.com>, size=5, nrcpt=1 (queue active)", "qmgr"),
    ]
    tails = [(text, "smtp") for text in tail] + [("removed", "qmgr")]
    return [
        line(f"{queue_id}: {text}", program=program, at=at, host=host)
        for text, program in heads + tails
    ]


def sent(to: str, relay: str, reply: str) -> str:
    return f"to=<{to}>, relay={relay}, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent ({reply})"


def bounced(to: str) -> str:
    return (
        f"to=<{to}>, relay=mx.example.org[192.0.2.1]:25, delay=1, delays=0/0/0/1, dsn=5.1.1,"
        " status=bounced (host mx.example.org[192.0.2.1] said: 550 5.1.1 User unknown)"
    )


def deferred(to: str) -> str:
    return bounced(to).replace("bounced", "deferred").replace("5.1.1", "4.2.0")


FILTER = "127.0.0.1[127.0.0.1]:10024"
AMAVIS = f"250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as {SECOND}"
THROUGH_A_FILTER = [
    *entry(FIRST, [sent("a@x.example", FILTER, AMAVIS), sent("b@x.example", FILTER, AMAVIS)]),
    *entry(
        SECOND,
        [sent("a@x.example", "mx.x.example[192.0.2.1]:25", "250 Ok"), bounced("b@x.example")],
        client=f"localhost[127.0.0.1], orig_queue_id={FIRST}, orig_client=h[198.51.100.9]",
        message_id=MESSAGE_ID,
        second=2,
    ),
]
ANOTHER_HOST = [
    *entry(FIRST, [sent("a@x.example", "mx2.example.com[198.51.100.2]:25", f"250 2.0.0 Ok: queued as {SECOND}")]),
    *entry(
        SECOND, [sent("a@x.example", "mx2[private/lmtp]", f"250 Ok: queued as {THIRD}")],
        client="mx1.example.com[198.51.100.1]", host="mx2", second=2,
    ),
    *entry(THIRD, [bounced("a@x.example")], client="localhost[127.0.0.1]", host="mx2", second=4),
]  # fmt: skip


def by_postfix(
    queue_id: str, head: str, tail: str, *, hour: int = 10, second: int = 0
) -> list[bytes]:
    """The lines of a queue entry that did not come in by smtpd."""
    at = f"2026-03-10T{hour}:00:{second:02}.000000+00:00"
    texts = [(head, "pickup"), ("message-id=<1@app>", "cleanup"), (tail, "smtp")]
    return [line(f"{queue_id}: {text}", program=program, at=at) for text, program in texts if text]


def named_by_header(tail: list[str]) -> list[bytes]:
    """A first entry, of which nothing but a header tells the client."""
    info = "info: header client-id: shop from h[198.51.100.9]; from=<s@x> to=<r@y>"
    return [*entry(FIRST, [info, *tail], message_id="<1@app>")]


PRIVATE = "mx2.example.com[10.0.0.2]:25"
WAYS = {
    "filter": [
        *named_by_header([sent("a@x.example", FILTER, AMAVIS)]),
        *entry(
            SECOND, [bounced("a@x.example")], client="localhost[127.0.0.1]", message_id="<1@app>"
        ),
    ],
    "forward": [
        *named_by_header([sent("a@mx1", "local", f"forwarded as {SECOND}")]),
        *by_postfix(SECOND, "", bounced("b@x.example")),
    ],
    "requeued twice": [
        *named_by_header([deferred("a@x.example")])[:-1],
        line(f"{FIRST}: requeued", program="postsuper"),
        *by_postfix(SECOND, f"uid=89 from=<s@x> orig_id={FIRST}", deferred("a@x.example"), hour=11),
        line(f"{SECOND}: requeued", program="postsuper"),
        *by_postfix(THIRD, f"uid=89 from=<s@x> orig_id={SECOND}", bounced("a@x.example"), hour=12),
    ],
    "filter, then another host": [
        *named_by_header([sent("a@x.example", FILTER, AMAVIS)]),
        *entry(
            SECOND, [sent("a@x.example", PRIVATE, f"250 2.0.0 Ok: queued as {THIRD}")],
            client="localhost[127.0.0.1]", message_id="<1@app>",
        ),
        *entry(
            THIRD, [bounced("a@x.example")],
            client="mx1.example.com[10.0.0.1]", host="mx2", message_id="<1@app>",
        ),
    ],
}  # fmt: skip


def outcomes(store: Store) -> list[OutcomeRow]:
    with store.reading() as connection:
        return queries.outcomes(connection, Filter())


def told(store: Store) -> list[tuple[str, str, str, str, str]]:
    return sorted(
        (o.queue_id, o.recipient, o.state, o.client_id, o.origin) for o in outcomes(store)
    )


def test_a_content_filter_is_a_hop(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(THROUGH_A_FILTER)
    assert told(store) == [
        (SECOND, "a@x.example", "delivered", "shop", f"mx1/{FIRST}"),
        (SECOND, "b@x.example", "hard-bounce", "shop", f"mx1/{FIRST}"),
    ]
    with store.reading() as connection:
        hops = queries.outcomes(connection, Filter(state=State.HANDED_ON))
    assert [hop.recipient for hop in hops] == ["a@x.example", "b@x.example"]


def test_two_hops_over_two_hosts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(ANOTHER_HOST)
    assert told(store) == [(THIRD, "a@x.example", "hard-bounce", "shop", f"mx1/{FIRST}")]


def test_a_client_known_by_header_only_at_the_first_entry_is_inherited(tmp_path: Path) -> None:
    store = Store(tmp_path)
    lines = [one.replace(MESSAGE_ID.encode(), b"<1@app>") for one in ANOTHER_HOST]
    store.add(lines)
    assert [o.client_id for o in outcomes(store)] == ["example.com"]
    info = "info: header client-id: shop from h[198.51.100.9]; from=<s@x> to=<r@y>"
    store.add([line(f"{FIRST}: {info}", program="cleanup")])
    assert [o.client_id for o in outcomes(store)] == ["shop"]


def test_postsuper_requeues(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(entry(FIRST, [deferred("a@x.example")]))
    again = [
        line(f"{SECOND}: uid=89 from=<news@example.com> orig_id={FIRST}", program="pickup"),
        line(f"{SECOND}: message-id={MESSAGE_ID}", program="cleanup"),
        line(f"{SECOND}: {sent('a@x.example', 'mx.x[192.0.2.1]:25', '250 Ok')}"),
    ]
    store.add(again)
    assert told(store) == [(SECOND, "a@x.example", "delivered", "shop", f"mx1/{FIRST}")]


@pytest.mark.parametrize("relay", ["mx.evil.example[192.0.2.66]:25", FILTER])
def test_a_reply_alone_claims_nothing(tmp_path: Path, relay: str) -> None:
    """A remote server names the queue id of somebody else's message."""
    store = Store(tmp_path)
    store.add(entry(SECOND, [bounced("b@x.example")], message_id="<98494.9.9@bank>"))
    store.add(entry(FIRST, [sent("a@x.example", relay, f"250 Ok: queued as {SECOND}")]))
    assert told(store) == [
        (FIRST, "a@x.example", "delivered", "shop", ""),
        (SECOND, "b@x.example", "hard-bounce", "bank", ""),
    ]


STRANGER = "mx.evil.example[6.6.6.6]:25"
OF_EVIL = "mx.evil.example[6.6.6.6], sasl_method=PLAIN, sasl_username=evil"


@pytest.mark.parametrize(
    ("relay", "host", "hour", "second"),
    [
        (STRANGER, "mx1", 11, 0),
        (STRANGER, "mx1", 10, 0),  # a copy that was handed in at once, and named
        (FILTER, "mx1", 11, 0),
        (FILTER, "mx1", 10, 9),
        (STRANGER, "mx2", 11, 0),
    ],
)
@pytest.mark.parametrize("later_first", [False, True])
def test_who_knows_a_message_claims_nothing_of_it(
    tmp_path: Path, relay: str, host: str, hour: int, second: int, later_first: bool
) -> None:
    """Somebody who was sent a copy has its Message-ID and, in its header, its queue id."""
    victim = entry(SECOND, [bounced("b@x.example")], host=host)
    reply = sent("a@x.example", relay, f"250 Ok: queued as {SECOND}")
    evil = entry(FIRST, [reply], client=OF_EVIL, hour=hour, second=second)
    store = Store(tmp_path)
    for lines in (evil, victim) if later_first else (victim, evil):
        store.add(lines)
    assert [row[:3] for row in told(store)] == [
        (FIRST, "a@x.example", "delivered"),
        (SECOND, "b@x.example", "hard-bounce"),
    ]
    assert {row[4] for row in told(store)} == {""}


def test_what_a_client_says_in_its_session_claims_nothing(tmp_path: Path) -> None:
    """AUTH= of MAIL FROM is any client's, and is logged as it came."""
    store = Store(tmp_path)
    forged = f"evil[6.6.6.6], sasl_sender=x[, orig_queue_id={FIRST}, orig_client=h[192.0.2.1]"
    store.add(entry(FIRST, [bounced("a@x.example")]))
    store.add(entry(SECOND, [bounced("b@x.example")], client=forged, second=30))
    assert {row[4] for row in told(store)} == {""}


HERE_ONLY = ClientRules(bindings={"shop": Binding((ip_network("127.0.0.0/8"),), local=True)})


@pytest.mark.parametrize("way", ["filter", "requeued twice"])
def test_a_claim_is_made_where_a_message_came_in(tmp_path: Path, way: str) -> None:
    """A filter hands in what comes from strangers, and so does pickup what is queued again."""
    lines = [one.replace(b"<1@app>", MESSAGE_ID.encode()) for one in WAYS[way]]
    store = Store(tmp_path, clients=HERE_ONLY)
    for one in lines:
        store.add([one])
    assert [row[3:] for row in told(store)] == [("", f"mx1/{FIRST}")]


def test_who_queues_again_did_not_send(tmp_path: Path) -> None:
    """Though nothing is known of where it came in."""
    store = Store(tmp_path, clients=HERE_ONLY)
    again = by_postfix(SECOND, f"uid=0 from=<s@x> orig_id={FIRST}", bounced("a@x.example"))
    store.add([one.replace(b"<1@app>", MESSAGE_ID.encode()) for one in again])
    assert [row[3] for row in told(store)] == [""]


@pytest.mark.parametrize("later_first", [False, True])
def test_an_entry_continues_none_that_came_later(tmp_path: Path, later_first: bool) -> None:
    store = Store(tmp_path)
    client = f"{OF_EVIL}, orig_queue_id={SECOND}"
    early = entry(FIRST, [bounced("a@x.example")], client=client)
    late = entry(SECOND, [bounced("b@x.example")], hour=11)
    for lines in (late, early) if later_first else (early, late):
        store.add(lines)
    assert {row[4] for row in told(store)} == {""}


@pytest.mark.parametrize(("host", "second"), [("mx1", 1), ("mx2", 50)])
def test_clocks_differ_a_little(tmp_path: Path, host: str, second: int) -> None:
    """Whole seconds on one host; two hosts have two clocks."""
    store = Store(tmp_path)
    reply = sent("a@x.example", "mx2.x[192.0.2.3]:25", f"250 Ok: queued as {SECOND}")
    store.add(entry(FIRST, [reply]))
    store.add(entry(SECOND, [bounced("a@x.example")], host=host, second=second))
    assert told(store) == [(SECOND, "a@x.example", "hard-bounce", "shop", f"mx1/{FIRST}")]


def test_what_is_on_hold_may_be_queued_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    hold = "hold: header X: y from h[198.51.100.9]; from=<s@x.example> to=<a@x.example>"
    store.add(entry(FIRST, [])[:-1])
    store.add([line(f"{FIRST}: {hold}", program="cleanup")])
    assert [row[2] for row in told(store)] == ["held"]
    store.add(
        [
            line(f"{FIRST}: requeued", program="postsuper"),
            line(f"{SECOND}: uid=89 from=<news@example.com> orig_id={FIRST}", program="pickup"),
            line(f"{SECOND}: message-id={MESSAGE_ID}", program="cleanup"),
            line(f"{SECOND}: {sent('a@x.example', 'mx.x[192.0.2.1]:25', '250 Ok')}"),
        ]
    )
    assert told(store) == [(SECOND, "a@x.example", "delivered", "shop", f"mx1/{FIRST}")]


@pytest.mark.parametrize("at_a_time", [1, 12])
def test_queued_again_under_an_id_that_was_used_before(tmp_path: Path, at_a_time: int) -> None:
    """What was derived stays with the life that it is about, whenever that is told apart again."""
    used, again = "0C1A24F5C6", "3B9ACA4F5C6"
    delivered = sent("a@x.example", "mx.x[192.0.2.1]:25", "250 Ok").replace("=1", "=7201")
    lines = [
        *entry(again, [deferred("a@x.example")])[:-1],
        *entry(used, [bounced("b@x.example")], message_id="<98494.6.1@bank>", hour=11),
        *(
            line(f"{used}: {text}", program=program, at="2026-03-10T12:00:00.000000+00:00")
            for text, program in [
                (f"uid=89 from=<news@example.com> orig_id={again}", "pickup"),
                (f"message-id={MESSAGE_ID}", "cleanup"),
                (delivered, "smtp"),
                ("removed", "qmgr"),
            ]
        ),
    ]
    store = Store(tmp_path, limit=2)
    for begin in range(0, len(lines), at_a_time):
        store.add(lines[begin : begin + at_a_time])
    assert told(store) == [
        (used, "a@x.example", "delivered", "shop", f"mx1/{again}"),
        (used, "b@x.example", "hard-bounce", "bank", ""),
    ]


def test_what_has_expired_may_be_queued_again(tmp_path: Path) -> None:
    """Where its sender could not be told; nobody was returned anything then."""
    store = Store(tmp_path)
    expired = "from=<news@example.com>, status=expired, returned to sender"
    store.add(entry(FIRST, [deferred("a@x.example"), expired])[:-1])
    assert [row[2] for row in told(store)] == ["expired"]
    again = sent("a@x.example", "mx.x[192.0.2.1]:25", "250 Ok")
    head = f"uid=89 from=<news@example.com> orig_id={FIRST}"
    lines = by_postfix(SECOND, head, again, hour=11)
    store.add([one.replace(b"<1@app>", MESSAGE_ID.encode()) for one in lines])
    assert told(store) == [(SECOND, "a@x.example", "delivered", "shop", f"mx1/{FIRST}")]


def test_two_entries_that_name_each_other_lead_nowhere(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(entry(FIRST, [sent("a@x.example", FILTER, f"250 Ok: queued as {SECOND}")]))
    store.add(entry(SECOND, [sent("a@x.example", FILTER, f"250 Ok: queued as {FIRST}")]))
    assert len(outcomes(store)) == 1


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from([THROUGH_A_FILTER, ANOTHER_HOST]).flatmap(st.permutations),
    st.lists(st.integers(0, 15), max_size=3),
)
def test_any_order_and_any_cut(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], cuts: list[int]
) -> None:
    expected, store = (Store(tmp_path_factory.mktemp("store")) for _ in range(2))
    expected.add(sorted(lines))
    for begin, end in pairwise([0, *sorted(cuts), len(lines)]):
        store.add(lines[begin:end])
    assert told(store) == told(expected)
    expected.close()
    store.close()


@pytest.mark.parametrize("way", WAYS)
def test_whatever_comes_last_after_a_restart(tmp_path: Path, way: str) -> None:
    """Nothing is remembered then, and of what is loaded for it not all at a time."""
    lines = WAYS[way]
    for last, line_ in enumerate(lines):
        folder = tmp_path / str(last)
        folder.mkdir()
        for some in (lines[:last] + lines[last + 1 :], [line_]):
            store = Store(folder, limit=1)
            store.add(some)
            found = told(store)
            store.close()
        assert {one[3:] for one in found} == {("shop", f"mx1/{FIRST}")}, line_
        assert len(found) == 1, line_


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from([THROUGH_A_FILTER, *WAYS.values()]).flatmap(st.permutations),
    st.lists(st.integers(0, 15), max_size=3),
)
def test_hops_are_found_over_restarts(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], cuts: list[int]
) -> None:
    """Each cut closes the database and forgets everything."""
    expected = Store(tmp_path_factory.mktemp("store"))
    expected.add(sorted(lines))
    folder = tmp_path_factory.mktemp("store")
    for begin, end in pairwise([0, *sorted(cuts), len(lines)]):
        store = Store(folder)
        store.add(lines[begin:end])
        found = told(store)
        store.close()
    assert found == told(expected)
    expected.close()


@pytest.mark.parametrize("relay", ["mx2.example.com[198.51.100.2]:25", FILTER])
@pytest.mark.parametrize("cut", range(6))
def test_a_hop_is_found_though_all_else_is_forgotten(tmp_path: Path, relay: str, cut: int) -> None:
    """At the cut others take the one place that there is in memory."""
    first = entry(FIRST, [sent("a@x.example", relay, f"250 2.0.0 Ok: queued as {SECOND}")])
    second = entry(SECOND, [bounced("a@x.example")], client="h[198.51.100.9]", second=2)
    lines = [*first, *second]
    store = Store(tmp_path, limit=1)
    for number, some in enumerate((lines[: cut + 2], lines[cut + 2 :])):
        store.add(some)
        store.add(message(f"4jXPlN1VQl0000{number}", message_id=f"<{number}@x>"))
    assert (SECOND, "a@x.example", "hard-bounce", "shop", f"mx1/{FIRST}") in told(store)
    store.close()
