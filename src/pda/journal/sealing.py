"""The form of a journal file: batches of lines, sealed so that nobody else reads or changes them.

    file   = MAGIC salt check record*
    record = MARK number length sealed      4 octets each, big-endian; `sealed` has `length`

Owns that form; knows no file and no clock. Each file has a key of its own, made of the database's
secret and the file's salt, and each record its number as nonce (AES-256-GCM): a number is never
used twice in a file. `check` is an empty record with number 0, which tells another database's
file from a damaged one of ours. A record that is not whole, or was changed, is not read; the next
one is found by its mark.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_MAGIC = b"pda-jrn1"
_SALT = 32
_TAG = 16
_MARK = b"\xf5rec"
_FRAME = struct.Struct(">4sII")
HEADER = len(_MAGIC) + _SALT + _TAG
"""Octets before the first record."""


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """Lines as they were received, and all that is known of them."""

    lines: list[bytes]
    received_at: int
    """µs since the epoch."""
    zone: str
    hostname: str


class Contents(msgspec.Struct, frozen=True):
    """What could be read of a file."""

    batches: list[Kept]
    damaged: int = 0
    """Places between records that cannot be read."""
    torn: int = 0
    """Octets after the last record: it was being written when the process was killed."""


class ForeignError(Exception):
    """The file is sealed with another secret, or is no journal at all."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Kept]).decode


class Seal:
    """Of one file; a new one, or with the `salt` that stands in it."""

    def __init__(self, secret: bytes, salt: bytes = b"") -> None:
        self._salt = salt or secrets.token_bytes(_SALT)
        self._cipher = _cipher(secret, self._salt)

    def header(self) -> bytes:
        """What the file begins with."""
        return _MAGIC + self._salt + self._cipher.encrypt(_nonce(0), b"", None)

    def record(self, number: int, batches: list[Kept]) -> bytes:
        """Batches under a number that was never used before; from 1 on."""
        sealed = self._cipher.encrypt(_nonce(number), _encode(batches), None)
        return _FRAME.pack(_MARK, number, len(sealed)) + sealed

    def open(self, octets: bytes, begin: int) -> tuple[int, list[Kept]] | None:
        """The record that begins there and where it ends; None where there is none."""
        start = begin + _FRAME.size
        if start > len(octets):
            return None
        _, number, length = _FRAME.unpack_from(octets, begin)
        end = start + length
        if end > len(octets):
            return None
        from cryptography.exceptions import InvalidTag

        try:
            return end, _decode(self._cipher.decrypt(_nonce(number), octets[start:end], None))
        except (InvalidTag, msgspec.MsgspecError):
            return None


def read(octets: bytes, secret: bytes) -> Contents:
    """All whole records of a file; raises `ForeignError` where it is none of this secret's."""
    if len(octets) < HEADER and octets[: len(_MAGIC)] == _MAGIC[: len(octets)]:
        return Contents([], torn=len(octets))  # killed before anything was acknowledged
    seal = Seal(secret, octets[len(_MAGIC) : len(_MAGIC) + _SALT])
    if octets[:HEADER] != seal.header():
        raise ForeignError
    batches: list[Kept] = []
    position, damaged = HEADER, 0
    for begin, end, found in _records(octets, seal):
        damaged += begin > position
        position = end
        batches += found
    return Contents(batches, damaged, len(octets) - position)


def _records(octets: bytes, seal: Seal) -> Iterator[tuple[int, int, list[Kept]]]:
    """Where each begins and ends, and what it says."""
    position = HEADER
    while (begin := octets.find(_MARK, position)) >= 0:
        if opened := seal.open(octets, begin):
            position = opened[0]
            yield begin, *opened
        else:
            position = begin + 1


def _cipher(secret: bytes, salt: bytes) -> AESGCM:
    """That of a file; loaded only where there is a journal: it has 7 MB."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return AESGCM(HKDF(SHA256(), 32, salt, b"pda journal").derive(secret))


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")
