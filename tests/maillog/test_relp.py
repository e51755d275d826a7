"""RELP's server side: sessions as cases, hostile octets, and any split gives the same messages."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pda.maillog.relp import RelpServer

# As librelp 1.11 sends it, trailing line feeds included.
OFFERS = (
    b"relp_version=0\nrelp_software=librelp,1.11.0,http://librelp.adiscon.com\ncommands=syslog\n\n"
)
OPEN = b"1 open %d %s\n" % (len(OFFERS), OFFERS)
OPENED = b"1 rsp 55 200 OK\nrelp_version=0\nrelp_software=pda\ncommands=syslog\n"
LINE = b"<22>2026-11-22T09:38:41.000000+00:00 mx1 postfix/qmgr[12]: 4XkABC: removed"


def frame(number: int, message: bytes = LINE, command: bytes = b"syslog") -> bytes:
    return b"%d %s %d %s\n" % (number, command, len(message), message)


def feed(pieces: Iterable[bytes], limit: int = 65536) -> tuple[RelpServer, list[bytes]]:
    server = RelpServer(limit)
    return server, [message for piece in pieces for message in server.feed(piece)]


def opened() -> RelpServer:
    server = RelpServer()
    assert server.feed(OPEN) == []
    assert server.outgoing() == OPENED
    return server


# --- A session -----------------------------------------------------------------------------------


def test_a_session_as_rsyslog_has_it() -> None:
    server = opened()
    assert server.feed(frame(2) + frame(3, b"a\nb\n") + b"4 close 0\n") == [LINE, b"a\nb\n"]
    assert server.outgoing() == b""
    assert server.unanswered == 2
    server.stored(2)
    assert server.outgoing() == b"2 rsp 6 200 OK\n3 rsp 6 200 OK\n4 rsp 0\n0 serverclose 0\n"
    assert (server.outgoing(), server.ended, server.unanswered) == (b"", True, 0)


def test_a_message_is_answered_only_when_it_is_stored() -> None:
    server = opened()
    server.feed(frame(2) + frame(3) + frame(4))
    server.stored(1)
    assert server.outgoing() == b"2 rsp 6 200 OK\n"
    assert server.outgoing() == b""
    server.feed(frame(5))
    server.stored(3)
    assert server.outgoing() == b"3 rsp 6 200 OK\n4 rsp 6 200 OK\n5 rsp 6 200 OK\n"


def test_close_is_answered_after_all_messages() -> None:
    server = opened()
    server.feed(frame(2) + frame(3) + b"4 close 0\n")
    server.stored(1)
    assert server.outgoing() == b"2 rsp 6 200 OK\n"
    assert not server.ended
    server.stored(1)
    assert server.outgoing() == b"3 rsp 6 200 OK\n4 rsp 0\n0 serverclose 0\n"
    assert server.ended


def test_close_without_a_message() -> None:
    server = opened()
    server.feed(b"2 close 0\n")
    assert server.outgoing() == b"2 rsp 0\n0 serverclose 0\n"


def test_an_empty_message_is_one() -> None:
    assert feed([OPEN + b"2 syslog 0\n3 syslog 0 \n"])[1] == [b"", b""]


def test_numbers_begin_again_after_the_largest() -> None:
    server = opened()
    server._number = server._answered = 999_999_998
    assert len(server.feed(frame(999_999_999) + frame(1) + frame(2))) == 3
    server.stored(3)
    answers = b"999999999 rsp 6 200 OK\n1 rsp 6 200 OK\n2 rsp 6 200 OK\n"
    assert (server.error, server.outgoing()) == (None, answers)


def test_numbers_of_ten_digits_are_no_numbers() -> None:
    server = opened()
    server._number = 999_999_998
    messages = server.feed(frame(999_999_999) + frame(1_000_000_000))
    assert (messages, str(server.error)) == ([LINE], "something else than RELP")


def test_answers_are_put_together_piece_by_piece() -> None:
    """Who reads none of them costs no memory."""
    server = opened()
    server.feed(b"".join(frame(number, b"x") for number in range(2, 50_002)))
    server.stored(50_000)
    pieces = []
    while octets := server.outgoing():
        pieces.append(octets)
    assert max(map(len, pieces)) < 30_000
    assert b"".join(pieces) == b"".join(b"%d rsp 6 200 OK\n" % n for n in range(2, 50_002))


# --- Limits --------------------------------------------------------------------------------------


def test_an_oversize_message_keeps_its_beginning_and_the_session() -> None:
    server, messages = feed([OPEN + frame(2, b"x" * 300) + frame(3)], limit=200)
    assert messages == [b"x" * 200, LINE]
    assert (server.oversize, server.error, server.unanswered) == (1, None, 2)


def test_an_oversize_message_counts_when_it_is_whole() -> None:
    server, messages = feed([OPEN + frame(2, b"x" * 300)[:-1]], limit=200)
    assert (messages, server.unanswered) == ([], 0)
    assert server.feed(b"\n") == [b"x" * 200]


def test_memory_is_bounded_whatever_a_message_says_of_its_length() -> None:
    server = opened()
    server.feed(b"2 syslog 999999999 ")
    for _ in range(100):
        assert server.feed(b"x" * 100_000) == []
    assert len(server._rest) + len(server._cut) <= 65536
    assert server.error is None


# --- What ends a session -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00",
        b"\n",
        b" 1 open 0\n",
        b"1  open 0\n",
        b"x",
        b"1234567890",
        b"1 " + b"a" * 33,
        b"1 op3n 0\n",
        b"1 open 0123456789",
        b"1 open 0x",
        b"1 open 3\n",
        b"2 open 0\n",
        b"0 open 0\n",
        b"1 syslog 1 x\n",
        b"1 close 0\n",
        b"1 open 70000 ",
        OPEN + frame(2, OFFERS, b"open"),
        OPEN + frame(3),
        OPEN + frame(1),
        OPEN + frame(2, b"200 OK", b"rsp"),
        OPEN + frame(2, b"", b"starttls"),
        OPEN + b"2 syslog 3 abcd\n",
        OPEN + b"2 syslog 3 abc ",
        OPEN + b"2 syslog 3\n",
        OPEN + b"2 syslog 99999 " + b"x" * 99_999 + b"x",
        OPEN + b"2 close 0\n3 syslog 1 x\n",
        OPEN + b"2 close 0\nx",
        OPEN + LINE,
    ],
    ids=lambda octets: repr(octets[-30:]),
)
def test_what_breaks_the_protocol_ends_the_session(octets: bytes) -> None:
    server, messages = feed([octets])
    assert server.error is not None
    assert messages == []
    assert server.feed(b"1 open 0\n") == []


def test_what_came_before_the_mistake_counts() -> None:
    server, messages = feed([OPEN + frame(2) + frame(4)])
    assert server.error is not None
    assert messages == [LINE]


# --- Properties ----------------------------------------------------------------------------------

_DATA = st.one_of(st.binary(max_size=60), st.sampled_from([LINE, b"1 syslog 1 x\n", b"\n", b"5"]))
_COMMANDS = st.sampled_from([b"syslog"] * 8 + [b"close", b"open", b"rsp", b"other"])


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Mostly a session, now and then with a mistake."""
    frames = [OPEN]
    for number, (data, command) in enumerate(draw(st.lists(st.tuples(_DATA, _COMMANDS))), 2):
        frames.append(frame(number, data, command))
    stream = b"".join(frames)
    noise = draw(st.binary(max_size=5))
    at = draw(st.integers(0, len(stream))) if noise else len(stream)
    return stream[:at] + noise + stream[at:]


@given(streams(), st.lists(st.integers(0, 2000)), st.sampled_from([10, 50, 65536]))
def test_any_split_gives_the_same(stream: bytes, cuts: list[int], limit: int) -> None:
    ends = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    whole, messages = feed([stream], limit)
    split, same = feed([stream[a:b] for a, b in pairwise(ends)], limit)
    bytewise, also = feed([stream[n : n + 1] for n in range(len(stream))], limit)
    assert messages == same == also
    assert str(whole.error) == str(split.error) == str(bytewise.error)
    assert whole.oversize == split.oversize == bytewise.oversize
    assert all(len(message) <= limit for message in messages)


@given(st.binary(), st.booleans())
def test_octets_from_anybody_are_an_error_at_the_worst(octets: bytes, is_open: bool) -> None:
    server, messages = feed([OPEN * is_open, octets])
    assert server.unanswered == len(messages)


@given(st.lists(st.binary(max_size=30)), st.randoms(use_true_random=False))
def test_each_message_is_answered_once_and_in_order(
    texts: list[bytes],
    random: st.random.Random,  # type: ignore[name-defined]
) -> None:
    server, answers, waiting = opened(), b"", 0
    for number, text in enumerate(texts, 2):
        waiting += len(server.feed(frame(number, text)))
        done = random.randint(0, waiting)
        server.stored(done)
        waiting -= done
        answers += server.outgoing()
    server.stored(waiting)
    answers += server.outgoing()
    assert answers == b"".join(b"%d rsp 6 200 OK\n" % n for n in range(2, len(texts) + 2))
