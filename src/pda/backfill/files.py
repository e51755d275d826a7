"""Opened log files, and what they hold, unpacked.

Owns opening, the compressed formats (known by content, not by name) and what bounds them. Knows
no line.
"""

from __future__ import annotations

import bz2
import hashlib
import lzma
import os
import select
import stat
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

import zstandard
from isal import isal_zlib

from pda.backfill.order import named_time

PIECE: Final = 1024 * 1024
DAMAGED: Final[Any] = (
    OSError, EOFError, zlib.error, isal_zlib.error, lzma.LZMAError, zstandard.ZstdError,
)  # fmt: skip
_GZIP = b"\x1f\x8b"
_GZIP_FORMAT = 31  # zlib.h, inflateInit2: a gzip header and trailer around the data
_SIP = 512
_MOST_MEMORY = 2**27  # what `xz -9` and `zstd --ultra -22` need
_RATIO_FROM = 16 * 1024 * 1024
_SILENT_S = 1.0
_JUST_NOW_S = 60
_YEAR = 365 * 86_400_000_000
_END = 4096
_MAGIC = 6  # the longest one's octets


class BackfillError(Exception):
    """A file cannot be read, or not whole; the message says which, why, and what was done."""


class Format(NamedTuple):
    """A way of packing; each file may have several members one behind another."""

    name: str
    magic: bytes
    new: Callable[[], Any]
    ratio: int
    """How often its size a file of this kind may unpack to: more is no log."""
    in_parts: bool = False
    """A few octets may become many at once: they are to be asked for part by part."""


# A log gives some 11:1 with gzip, whose most is 1028:1, and up to 30:1 with the others.
_FORMATS = (
    Format("gzip", _GZIP, lambda: isal_zlib.decompressobj(_GZIP_FORMAT), 200),
    Format("bzip2", b"BZh", bz2.BZ2Decompressor, 400, in_parts=True),
    Format(
        "xz", b"\xfd7zXZ\0", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _MOST_MEMORY), 400,
        in_parts=True,
    ),
    Format(
        "zstd", b"\x28\xb5\x2f\xfd",
        lambda: zstandard.ZstdDecompressor(max_window_size=_MOST_MEMORY).decompressobj(), 400,
    ),
)  # fmt: skip


@dataclass(slots=True, eq=False)
class LogFile:
    """An opened file: its descriptor may have come from another process."""

    name: str
    descriptor: int

    @property
    def is_stream(self) -> bool:
        """Whether it can be read once only."""
        return not stat.S_ISREG(os.fstat(self.descriptor).st_mode)

    @property
    def size(self) -> int:
        """Octets, as stored; 0 for a stream."""
        return os.fstat(self.descriptor).st_size

    @property
    def written_at(self) -> int:
        """When its last line was written, at the latest: µs since the epoch.

        The date in its name, as rotation gives it, counts more than a modification time that
        contradicts it and may be a copy's; that of a gzip header is of the file that was packed.
        """
        if self.is_stream:
            return time.time_ns() // 1000
        stored = os.fstat(self.descriptor).st_mtime_ns // 1000
        packed = self._gzip_time()
        modified = packed if 0 < packed < stored else stored
        named = named_time(Path(self.name).name)
        if named is None or 0 <= modified - named < _YEAR * 4 // 5:
            return modified
        return named

    def _gzip_time(self) -> int:
        """MTIME of RFC 1952; 0 where there is none."""
        header = os.pread(self.descriptor, 8, 0)
        return int.from_bytes(header[4:8], "little") * 1_000_000 if header[:2] == _GZIP else 0

    def is_being_written(self) -> bool:
        """Whether more may follow: it is no archive, and was changed just now."""
        changed = os.fstat(self.descriptor).st_mtime
        return is_plain(self) and abs(time.time() - changed) < _JUST_NOW_S

    def close(self) -> None:
        """Closes the descriptor."""
        os.close(self.descriptor)


def open_log(path: Path) -> LogFile:
    """Opens a regular file; raises `BackfillError` for anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BackfillError(f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BackfillError(f"{path} is not a file: name the files in it")
    return LogFile(os.fsencode(path).decode("utf-8", "backslashreplace"), descriptor)


def open_stream(descriptor: int, name: str = "standard input") -> LogFile:
    """A stream that somebody else has opened."""
    return LogFile(name, os.dup(descriptor))


def fingerprint(file: LogFile) -> bytes:
    """By which a packed file that has not changed is known without unpacking it; else empty.

    Its last octets hold checksums of all before them.
    """
    if is_plain(file):
        return b""
    size = file.size
    end = os.pread(file.descriptor, _END, max(size - _END, 0))
    return hashlib.blake2b(b"%d " % size + end, digest_size=16).digest()


def is_plain(file: LogFile) -> bool:
    """Whether any part of a file can be read without what is before it."""
    return not file.is_stream and _format(os.pread(file.descriptor, _MAGIC, 0)) is None


def _format(begin: bytes) -> Format | None:
    return next((one for one in _FORMATS if begin.startswith(one.magic)), None)


class Reader:
    """The octets of a file as stored, in pieces; an empty piece where a stream is silent."""

    def __init__(self, file: LogFile, offset: int = 0) -> None:
        self.offset = offset
        """How far it was read."""
        self._descriptor = file.descriptor
        self._is_stream = file.is_stream

    def __iter__(self) -> Iterator[bytes]:
        while (piece := self._next()) is not None:
            self.offset += len(piece)
            yield piece

    def _next(self) -> bytes | None:
        """The next piece, None at the end."""
        if not self._is_stream:
            return os.pread(self._descriptor, PIECE, self.offset) or None
        if not select.select([self._descriptor], [], [], _SILENT_S)[0]:
            return b""
        return os.read(self._descriptor, PIECE) or None


def content(reader: Reader) -> Iterator[bytes]:
    """What a file holds from its beginning, unpacked. Raises one of `DAMAGED`."""
    pieces, begin = iter(reader), b""
    for piece in pieces:
        begin += piece
        if len(begin) >= _MAGIC:
            break
        if not piece:
            yield b""
    packing = _format(begin)
    octets = chain([begin], pieces)
    yield from octets if packing is None else _unpacked(octets, reader, packing)


def _unpacked(pieces: Iterable[bytes], reader: Reader, packing: Format) -> Iterator[bytes]:
    """What the members of a packed file hold: no more than a log would."""
    total = 0
    for piece in _members(pieces, packing):
        total += len(piece)
        if total > max(reader.offset * packing.ratio, _RATIO_FROM):
            raise OSError(f"it unpacks to more than {packing.ratio} times its size, as no log does")
        yield piece


def _members(pieces: Iterable[bytes], packing: Format) -> Iterator[bytes]:
    """To within a few lines of any damage: a file object of the libraries' would keep them back."""
    member = packing.new()
    for sip in _sips(pieces):
        packed = sip
        if not packed:
            yield packed
        while packed:
            if member.eof:
                packed = packed.lstrip(b"\0")  # padding
                if not packed:
                    break
                member = packing.new()
            yield from filter(None, _parts(member, packed, packing))
            packed = member.unused_data
    if not member.eof:
        raise EOFError("it ends in the middle")


def _sips(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for octets in pieces:
        yield from (octets[n : n + _SIP] for n in range(0, len(octets) or 1, _SIP))


def _parts(member: Any, packed: bytes, packing: Format) -> Iterator[bytes]:
    if not packing.in_parts:
        yield member.decompress(packed)
        return
    yield member.decompress(packed, PIECE)
    while not member.eof and not member.needs_input:
        yield member.decompress(b"", PIECE)
