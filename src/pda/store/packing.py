"""Short texts and octets, made shorter by a dictionary of what they usually say.

Owns the dictionaries (data/*.zdict, made by tools/train-dictionary) and how they are used. One is
never changed once released: what was packed with one cannot be read with another.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

import zstandard

_MOST_OCTETS: Final = 64 * 1024 * 1024


class Packing:
    """Packs and unpacks by one dictionary; not to be used by two threads at a time."""

    def __init__(self, name: str) -> None:
        dictionary = _dictionary(name)
        parameters = zstandard.ZstdCompressionParameters.from_level(
            1, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_dict_id=False
        )
        self.pack = zstandard.ZstdCompressor(
            dict_data=dictionary, compression_params=parameters
        ).compress
        self._unpack = zstandard.ZstdDecompressor(
            dict_data=dictionary, format=zstandard.FORMAT_ZSTD1_MAGICLESS
        ).decompress

    def unpack(self, octets: bytes) -> bytes:
        """What was packed."""
        return self._unpack(octets, max_output_size=_MOST_OCTETS)


@cache
def _dictionary(name: str) -> zstandard.ZstdCompressionDict:
    octets = files("pda").joinpath("data", f"{name}.zdict").read_bytes()
    return zstandard.ZstdCompressionDict(octets)
