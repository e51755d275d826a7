"""The facts of a queue entry as its row holds them: small.

Owns the packed form. Times are counted from when the entry was born, and what stands in its row
already (Message-ID, sender) is left out. A dictionary of what facts usually say makes a third of
the rest; its number stands in front.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from pda.store.database import Value
from pda.store.packing import Packing

_WHOLE, _SHORTENED = b"\x01", b"\x02"
"""Numbers of dictionaries; what the first one packed was not shortened."""
_decode = msgspec.msgpack.Decoder(list[tuple[int, int, str, list[Any]]]).decode
_encode = msgspec.msgpack.Encoder().encode
# In the place of what stands in the row: nothing that a record says is an array or a map.
_MESSAGE_ID: Final[list[Any]] = []
_SENDER: Final[dict[Any, Any]] = {}


class InRow(msgspec.Struct, frozen=True):
    """What else the row of an entry says that its facts say too."""

    born: int
    message_id: str
    sender: str

    @classmethod
    def of(cls, born: Value, message_id: Value, sender: Value) -> InRow:
        """Of what stands in these columns."""
        assert isinstance(born, int)
        return cls(born, str(message_id or ""), str(sender or ""))


def shortened(facts: bytes, row: InRow) -> bytes:
    """Facts without what the row of their entry says; see `pda.maillog.events.pack_facts`."""
    left_out: dict[Any, Any] = {row.message_id: _MESSAGE_ID, row.sender: _SENDER}
    left_out.pop("", None)
    known, born = left_out.get, row.born
    return _encode(
        [
            (at - born, grade, name, [known(value, value) for value in record])
            for at, grade, name, record in _decode(facts)
        ]
    )


def _in_full(facts: bytes, row: InRow) -> bytes:
    """The other way round."""

    def full(value: object) -> object:
        if value == _MESSAGE_ID:
            return row.message_id
        return row.sender if value == _SENDER else value

    return _encode(
        [
            (at + row.born, grade, name, [*map(full, record)])
            for at, grade, name, record in _decode(facts)
        ]
    )


class PackedFacts:
    """Packs and unpacks; not to be used by two threads at a time."""

    def __init__(self) -> None:
        self._packing = {number: Packing(f"facts-{number[0]}") for number in (_WHOLE, _SHORTENED)}

    def pack(self, facts: bytes, row: InRow) -> bytes:
        """The octets for a row that says so; see `pda.maillog.events.pack_facts`."""
        return _SHORTENED + self._packing[_SHORTENED].pack(shortened(facts, row))

    def unpack(self, octets: object, row: InRow) -> bytes:
        """The facts in the octets of a row, as octets."""
        assert isinstance(octets, bytes)
        number = octets[:1]
        facts = self._packing[number].unpack(octets[1:])
        return facts if number == _WHOLE else _in_full(facts, row)
