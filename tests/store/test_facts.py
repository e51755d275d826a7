"""Facts come out of a row as they went in, and a row is small."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import msgspec
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pda.maillog.correlate import gather
from pda.maillog.events import Fact, pack_facts, unpack_facts
from pda.maillog.events.records import HeaderInfo, MessageId, Pickup, QueueActive, Removed
from pda.store.facts import InRow, PackedFacts
from tests.support import NOW, events, message

TEXTS = st.sampled_from(["", "<1@shop>", "a@b.example", "removed", "message-id"]) | st.text()
TIMES = st.integers(-(2**60), 2**60)
RECORDS = st.one_of(
    st.builds(MessageId, TEXTS, st.booleans()),
    st.builds(QueueActive, TEXTS, st.integers(-1, 2**40), st.integers(0, 5)),
    st.builds(HeaderInfo, TEXTS, TEXTS, TEXTS, sender=st.none() | TEXTS, recipient=TEXTS),
    st.builds(Pickup, st.integers(-1, 9), TEXTS, TEXTS),
    st.builds(Removed, TEXTS),
)
FACTS = st.lists(st.builds(Fact, TIMES, st.integers(0, 3), TEXTS, RECORDS), max_size=6)
ROWS = st.builds(InRow, TIMES, TEXTS, TEXTS)


@given(facts=FACTS, row=ROWS)
def test_they_come_out_as_they_went_in(facts: list[Fact], row: InRow) -> None:
    packed = PackedFacts()
    octets = packed.pack(pack_facts(facts), row)
    assert unpack_facts(packed.unpack(octets, row)) == facts


def test_what_stands_in_the_row_is_not_said_again() -> None:
    [told] = gather(events(message(sender="a.very.long.name@somewhere.example")))
    row = InRow(told.facts[0].at, "<98494.7.1@shop>", "a.very.long.name@somewhere.example")
    packed, facts = PackedFacts(), pack_facts(told.facts)
    assert len(packed.pack(facts, row)) < 0.6 * len(packed.pack(facts, InRow(0, "", "")))


def test_what_was_packed_by_the_first_dictionary_can_be_read() -> None:
    octets = files("pda").joinpath("data", "facts-1.zdict").read_bytes()
    parameters: Any = zstandard.ZstdCompressionParameters.from_level(
        1, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_dict_id=False
    )
    before = zstandard.ZstdCompressor(
        dict_data=zstandard.ZstdCompressionDict(octets), compression_params=parameters
    )
    facts = msgspec.msgpack.encode([Fact(NOW, 3, "postfix", MessageId("<1@shop>"))])
    row = InRow(NOW, "<1@shop>", "")
    assert PackedFacts().unpack(b"\x01" + before.compress(facts), row) == facts
