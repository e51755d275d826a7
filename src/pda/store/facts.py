"""The facts of a queue entry as its row holds them: small.

Owns the packed form. A dictionary of what facts usually say (tools/train-facts) makes a third to a
half of them; its number stands in front, and a dictionary is never changed once released.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

import msgspec
import zstandard

from pda.maillog.events import Fact

_NUMBER = b"\x01"
_MOST_OCTETS = 64 * 1024 * 1024


class PackedFacts:
    """Packs and unpacks; not to be used by two threads at a time."""

    def __init__(self) -> None:
        dictionary = zstandard.ZstdCompressionDict(
            files("pda").joinpath("data", "facts-1.zdict").read_bytes()
        )
        parameters = zstandard.ZstdCompressionParameters.from_level(
            1, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_dict_id=False
        )
        self._pack = zstandard.ZstdCompressor(
            dict_data=dictionary, compression_params=parameters
        ).compress
        self._unpack = zstandard.ZstdDecompressor(
            dict_data=dictionary, format=zstandard.FORMAT_ZSTD1_MAGICLESS
        ).decompress
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(list[Fact]).decode

    def pack(self, facts: Sequence[Fact]) -> bytes:
        """The octets for a row."""
        return _NUMBER + self._pack(self._encode(facts))

    def unpack(self, octets: object) -> list[Fact]:
        """The facts in the octets of a row."""
        assert isinstance(octets, bytes)
        return self._decode(self._unpack(octets[1:], max_output_size=_MOST_OCTETS))
