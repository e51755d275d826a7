"""The journal's form: what is read is whole and true, whatever the disk has made of it."""

from __future__ import annotations

from contextlib import suppress
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pda.journal.sealing import HEADER, ForeignError, Kept, Seal, read

SECRET = b"s" * 32
BATCHES = [
    Kept([b"<22>first \xff\0 line", b"second"], 1_000_000, "Europe/Berlin", "mx1"),
    Kept([], 2_000_000, "", ""),
    Kept([b"third"], 3_000_000, "", ""),
]
_SEAL = Seal(SECRET)
PARTS = [_SEAL.header(), *(_SEAL.record(n, [batch]) for n, batch in enumerate(BATCHES, 1))]
FILE = b"".join(PARTS)
ENDS = list(accumulate(map(len, PARTS)))


def test_what_was_kept_is_read() -> None:
    found = read(FILE, SECRET)
    assert (found.batches, found.damaged, found.torn) == (BATCHES, 0, 0)


def test_a_record_of_several_batches() -> None:
    seal = Seal(SECRET)
    assert read(seal.header() + seal.record(7, BATCHES), SECRET).batches == BATCHES


def test_nothing_of_it_can_be_read_by_others() -> None:
    assert not [word for word in (b"first", b"second", b"third", b"mx1", b"Berlin") if word in FILE]
    with pytest.raises(ForeignError):
        read(FILE, b"t" * 32)


def test_no_two_files_have_the_same_key() -> None:
    other = Seal(SECRET)
    assert other.record(1, BATCHES) != Seal(SECRET).record(1, BATCHES)
    found = read(other.header() + PARTS[1], SECRET)
    assert (found.batches, found.torn) == ([], len(PARTS[1]))


@given(st.integers(0, len(FILE)))
def test_a_torn_end_takes_only_what_it_tears(end: int) -> None:
    found = read(FILE[:end], SECRET)
    whole = [batch for batch, at in zip(BATCHES, ENDS[1:], strict=True) if at <= end]
    assert (found.batches, found.damaged) == (whole, 0)
    assert found.torn == (end - max(at for at in (0, *ENDS) if at <= end))


@given(st.integers(0, len(FILE) - 1), st.integers(0, 7))
def test_a_flipped_bit_takes_one_record_and_is_counted(at: int, bit: int) -> None:
    octets = bytearray(FILE)
    octets[at] ^= 1 << bit
    if at < HEADER:
        with pytest.raises(ForeignError):
            read(bytes(octets), SECRET)
        return
    hit = next(n for n, end in enumerate(ENDS[1:]) if at < end)
    found = read(bytes(octets), SECRET)
    assert found.batches == BATCHES[:hit] + BATCHES[hit + 1 :]
    assert bool(found.damaged or found.torn)


@given(st.data())
def test_octets_from_anywhere_are_refused_or_counted(data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(FILE)))
    end = data.draw(st.integers(begin, len(FILE)))
    octets = FILE[:begin] + data.draw(st.binary(max_size=60)) + FILE[end:]
    try:
        found = read(octets, SECRET)
    except ForeignError:
        return
    assert all(batch in BATCHES for batch in found.batches)
    assert found.damaged or found.torn or octets == FILE or len(octets) in (0, *ENDS)


@given(st.binary(max_size=200))
def test_rubbish(octets: bytes) -> None:
    with suppress(ForeignError):
        assert read(octets, SECRET).batches == []
