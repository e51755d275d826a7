"""RFC 6587 framing: the rules as cases, and any split of the octets gives the same frames."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pda.maillog.framing import FrameDecoder, trim

COUNTED = b"<22>1 2026-11-22T09:38:41Z mx1 postfix/smtp 7 - - 4XkABC: removed"
LINE = b"<22>Nov 22 09:38:38 mx1 postfix/qmgr[12]: 4XkABC: removed"
BARE = b"2026-11-22T09:38:41Z mx1 postfix/qmgr[12]: 4XkABC: removed"


def count(frame: bytes) -> bytes:
    return b"%d %s" % (len(frame), frame)


# name: (stream, frames, the fragment that `close` returns)
CASES: dict[str, tuple[bytes, list[bytes], bytes | None]] = {
    "LF": (LINE + b"\n" + LINE + b"\n", [LINE, LINE], None),
    "CRLF": (LINE + b"\r\n" + LINE + b"\r\n", [LINE, LINE], None),
    "NUL": (LINE + b"\0" + LINE + b"\0", [LINE, LINE], None),
    "LF and NUL": (LINE + b"\n\0" + LINE + b"\n\0", [LINE, LINE], None),
    "CR inside stays": (b"<1>a\rb\n", [b"<1>a\rb"], None),
    "empty lines vanish": (b"\n\r\n\0" + LINE + b"\n\n", [LINE], None),
    "octet counting": (count(COUNTED) + count(LINE), [COUNTED, LINE], None),
    "LF inside the count": (count(LINE + b"\n") + count(LINE + b"\r\n"), [LINE, LINE], None),
    "LF after the count": (count(LINE) + b"\n" + count(LINE) + b"\r\n", [LINE, LINE], None),
    "LF in a counted frame is text": (count(b"<1>a\nb"), [b"<1>a\nb"], None),
    "NUL in a counted frame is text": (count(b"<1>a\0b"), [b"<1>a\0b"], None),
    "detected per frame": (
        LINE + b"\n" + count(COUNTED) + LINE + b"\n" + BARE + b"\n" + count(LINE),
        [LINE, COUNTED, LINE, BARE, LINE],
        None,
    ),
    "a year is no count": (BARE + b"\n" + BARE + b"\n", [BARE, BARE], None),
    "a number without PRI is no count": (b"12 monkeys\n", [b"12 monkeys"], None),
    "zero is no count": (b"0 <1>a\n", [b"0 <1>a"], None),
    "a leading zero is no count": (b"05 <1>ab\n", [b"05 <1>ab"], None),
    "nine digits are no count": (b"100000000 <1>ab\n", [b"100000000 <1>ab"], None),
    "a bad count is text": (b"12x <1>ab\n" + count(LINE), [b"12x <1>ab", LINE], None),
    "count and LF only": (b"12 \n12\n" + LINE + b"\n", [b"12 ", b"12", LINE], None),
    "text without PRI": (b"hello\n", [b"hello"], None),
    "not UTF-8": (b"<1>\xff\xfe\n", [b"<1>\xff\xfe"], None),
    "half a line at the end": (LINE + b"\n" + LINE[:30], [LINE], LINE[:30]),
    "a line without LF at the end": (LINE + b"\r", [], LINE),
    "half a counted frame at the end": (count(LINE) + count(LINE)[:-1], [LINE], None),
    "half a count at the end": (count(LINE) + b"57", [LINE], b"57"),
    "nothing": (b"", [], None),
}


def decode(pieces: Iterable[bytes], limit: int = 65536) -> tuple[FrameDecoder, list[bytes]]:
    decoder = FrameDecoder(limit)
    return decoder, [frame for piece in pieces for frame in decoder.feed(piece)]


@pytest.mark.parametrize("name", CASES)
def test_rules(name: str) -> None:
    stream, frames, fragment = CASES[name]
    decoder, found = decode([stream])
    assert (found, decoder.close(), decoder.error) == (frames, fragment, None)


@pytest.mark.parametrize("name", CASES)
def test_octet_by_octet(name: str) -> None:
    stream, frames, fragment = CASES[name]
    decoder, found = decode(bytes([octet]) for octet in stream)
    assert (found, decoder.close(), decoder.error) == (frames, fragment, None)


def test_half_a_counted_frame_is_counted() -> None:
    decoder, _ = decode([count(LINE)[:-1]])
    decoder.close()
    assert decoder.incomplete == 1


@pytest.mark.parametrize(
    ("stream", "frames"),
    [
        (b"<1>34567890abc\n<1>next\n", [b"<1>3456789", b"<1>next"]),
        (b"14 <1>34567890abc<1>next\n", [b"<1>3456789", b"<1>next"]),
        (b"14 <1>34567890abc7 <1>next", [b"<1>3456789", b"<1>next"]),
        (b"<1>34567890abc\09 <1>567890", [b"<1>3456789", b"<1>567890"]),
    ],
)
def test_oversize_keeps_its_head_and_the_stream(stream: bytes, frames: list[bytes]) -> None:
    decoder, found = decode([stream], limit=10)
    assert (found, decoder.oversize, decoder.error) == (frames, 1, None)


def test_memory_is_bounded_by_the_limit() -> None:
    decoder = FrameDecoder(limit=1000)
    frames = [frame for _ in range(250) for frame in decoder.feed(b"x" * 999)]
    assert frames == [b"x" * 1000]
    assert len(decoder._rest) == 0
    assert decoder.feed(b"x\n<1>next\n") == [b"<1>next"]
    assert decoder.oversize == 1


@pytest.mark.parametrize("end", [b"", b"\n<1>next\n"])
@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_a_line_that_does_not_end_ends_the_stream(piece: int, end: bytes) -> None:
    """256 limits of it; one octet less is a line that is cut."""
    stream = b"<1>first\n" + b"x" * 2561 + end
    pieces = [stream[at : at + piece] for at in range(0, len(stream), piece)]
    decoder, frames = decode(pieces, limit=10)
    assert (frames, decoder.oversize, decoder.close()) == ([b"<1>first", b"x" * 10], 1, None)
    assert decoder.error
    decoder, frames = decode([b"x" * 2560 + b"\n<1>next\n"], limit=10)
    assert (frames, decoder.error) == ([b"x" * 10, b"<1>next"], None)


@pytest.mark.parametrize(
    "stream",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS ClientHello
        b"GET / HTTP/1.1\r\nHost: pda\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_not_syslog_ends_the_stream(stream: bytes) -> None:
    decoder, frames = decode([stream, LINE + b"\n"])
    assert frames == []
    assert decoder.error
    assert decoder.close() is None


def test_http_inside_a_stream_is_text() -> None:
    decoder, frames = decode([LINE + b"\n", b"GET / HTTP/1.1\n", b"\x16\x03\n"])
    assert frames == [LINE, b"GET / HTTP/1.1", b"\x16\x03"]
    assert decoder.error is None


def test_a_lost_count_ends_the_stream() -> None:
    """Counted frames need not hold any LF: without a count all the rest would be one text."""
    wrong = b"%d %s" % (len(LINE) - 1, LINE)
    decoder, frames = decode([count(LINE), wrong, *[count(LINE)] * 10], limit=200)
    assert frames == [LINE, LINE[:-1]]
    assert decoder.error


# --- Any split of the octets gives the same frames ---------------------------------------------

LIMIT = 24
SOUP = [b"<1>", b"1", b"2", b"9", b"0", b" ", b"<", b"\n", b"\r", b"\0", b"text", b"x" * 20]
SOUP += [
    b"GET /",
    b" HTTP/1.1",
    b"\n\x16",
    b"5 <1>ab",
    b"12 <1>34567\n9AB",
    b"99 <1>",
    b"8 <1>abcd\n",
]
streams = st.lists(st.sampled_from(SOUP) | st.binary(max_size=5), max_size=40).map(b"".join)


def state(pieces: Iterable[bytes]) -> tuple[object, ...]:
    decoder, frames = decode(pieces, LIMIT)
    fragment = decoder.close()
    return frames, fragment, decoder.oversize, decoder.incomplete, str(decoder.error)


@given(streams, st.lists(st.integers(0, 200), max_size=20))
def test_any_split_gives_the_same_frames(stream: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    assert state(stream[a:b] for a, b in pairwise(edges)) == state([stream])


@given(streams)
def test_every_octet_alone_gives_the_same_frames(stream: bytes) -> None:
    assert state(bytes([octet]) for octet in stream) == state([stream])


def test_a_stream_is_judged_within_the_limit_only() -> None:
    stream = b"GET /" + b"x" * LIMIT + b" HTTP/1.1\n"
    assert state([stream]) == state(bytes([octet]) for octet in stream)


@given(streams)
def test_frames_are_trimmed_bounded_and_never_empty(stream: bytes) -> None:
    _, frames = decode([stream], LIMIT)
    assert all(frame == trim(frame) and 0 < len(frame) <= LIMIT for frame in frames)


messages = st.binary(max_size=40).map(lambda text: b"<22>" + text)


@given(st.lists(messages))
def test_counted_messages_come_back(sent: list[bytes]) -> None:
    _, frames = decode([b"".join(map(count, sent))])
    assert frames == [trim(message) for message in sent]


@given(st.lists(messages), st.sampled_from([b"\n", b"\r\n", b"\0"]))
def test_lines_come_back(sent: list[bytes], trailer: bytes) -> None:
    lines = [line.translate(None, b"\r\n\0") for line in sent]
    _, frames = decode([b"".join(line + trailer for line in lines)])
    assert frames == lines
