"""The reply to a delivery as the row of its attempt holds it: half as long.

Owns the packed form. Hardly any such reply comes again, but all of one provider's are alike: a
dictionary of them knows most of each. Those of failures stand in a table of their own, as texts.
"""

from __future__ import annotations

from threading import local
from typing import Final

from pda.store.database import Value
from pda.store.packing import Packing

_OCTETS: Final = bytes, bytearray
"""Made once: many rows are asked about."""
_DICTIONARY: Final = "replies-1"


class PackedReplies:
    """Packs them; not to be used by two threads at a time."""

    def __init__(self) -> None:
        self._pack = Packing(_DICTIONARY).pack

    def pack(self, reply: str) -> bytearray | str:
        """For a row: octets, or the text where that is not longer."""
        text = reply.encode("utf-8", "surrogatepass")
        packed = self._pack(text)
        return bytearray(packed) if len(packed) < len(text) else reply


_of_thread: Final = local()


def text_of(reply: Value) -> str:
    """The text that a row says."""
    if isinstance(reply, _OCTETS):
        return _packing().unpack(bytes(reply)).decode("utf-8", "surrogatepass")
    return str(reply or "")


def _packing() -> Packing:
    try:
        found: Packing = _of_thread.packing
    except AttributeError:
        found = _of_thread.packing = Packing(_DICTIONARY)
    return found
