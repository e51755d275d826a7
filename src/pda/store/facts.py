"""The facts of a queue entry as its row holds them: small.

Owns the packed form. A dictionary of what facts usually say (tools/train-facts) makes a third to a
half of them; its number stands in front, and a dictionary is never changed once released.
"""

from __future__ import annotations

from importlib.resources import files

import zstandard

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

    def pack(self, facts: bytes) -> bytes:
        """The octets for a row; see `pda.maillog.events.pack_facts`."""
        return _NUMBER + self._pack(facts)

    def unpack(self, octets: object) -> bytes:
        """The facts in the octets of a row, as octets."""
        assert isinstance(octets, bytes)
        return self._unpack(octets[1:], max_output_size=_MOST_OCTETS)
