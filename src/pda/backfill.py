"""The importing edge: log files, plain or gzip, become batches of lines, oldest file first.

Owns opening, order, decompression and the bounds on both. Knows no word of what a line says. A
file is known by its content, since rotation changes its name.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isal import isal_zlib

_GZIP = b"\x1f\x8b"
_HEAD = 4096
_GZIP_FORMAT = 31  # zlib.h, inflateInit2: a gzip header and trailer around the data
_CHUNK = 256 * 1024
_SIP = 512
_MOST_PER_LINE = 64 * 1024
# 1028:1 is what gzip can do at the most, with nothing but zeros; a log gives some 11:1.
_MOST_RATIO = 200
_RATIO_FROM = 16 * 1024 * 1024
_DAMAGED: Any = (OSError, EOFError, zlib.error, isal_zlib.error)
_NUMBER = re.compile(r"\.(\d{1,5})(?:\.gz)?$")  # more digits are a date (logrotate's dateext)


class BackfillError(Exception):
    """A file cannot be read, or not whole; the message says which, why, and what was done."""


@dataclass(slots=True)
class LogFile:
    """An opened file: its descriptor may have come from another process."""

    name: str
    descriptor: int

    @property
    def written_at(self) -> int:
        """When its last line was written: µs since the epoch."""
        return os.fstat(self.descriptor).st_mtime_ns // 1000

    @property
    def size(self) -> int:
        """Octets, as stored."""
        return os.fstat(self.descriptor).st_size

    def close(self) -> None:
        """Closes the descriptor."""
        os.close(self.descriptor)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a file was read."""

    octets: int = 0
    """Of the file as stored."""


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


def oldest_first(paths: Iterable[Path]) -> list[Path]:
    """By the number that rotation gave them (greater is older), then by modification time."""
    return sorted(paths, key=lambda path: (-_rotation(path), _stat(path)[1], path.name))


def newest_within(paths: list[Path], budget: int) -> list[Path]:
    """Of files in order, the newest ones whose sizes together stay within so many octets."""
    kept: list[Path] = []
    for path in reversed(paths):
        budget -= _stat(path)[0]
        if budget < 0:
            break
        kept.insert(0, path)
    return kept


def head_digest(file: LogFile) -> bytes:
    """What a file is known by: a hash of its first 4 KiB, unpacked; empty if they are damaged."""
    head = b""
    try:
        for piece in _content(file):
            head += piece
            if len(head) >= _HEAD:
                break
    except _DAMAGED:
        return b""
    return hashlib.blake2b(head[:_HEAD], digest_size=16).digest()


def read_lines(file: LogFile) -> Iterator[list[bytes]]:
    """The lines of a file in batches, without line ends.

    Raises `BackfillError` when the rest cannot be read; all lines before it have been given.
    """
    lines: list[bytes] = []
    rest, octets = b"", 0
    try:
        for piece in _bounded(_content(file), file):
            *whole, last = piece.split(b"\n")
            if whole:
                whole[0] = rest + whole[0]
                lines += whole
                rest = b""
            if len(rest) < _MOST_PER_LINE:
                rest = (rest + last)[:_MOST_PER_LINE]
            octets += len(piece)
            if octets >= _CHUNK and lines:
                yield lines
                lines, octets = [], 0
        if rest:
            lines.append(rest)
    except _DAMAGED as error:
        if lines:
            yield lines
        raise BackfillError(
            f"{file.name} is damaged or incomplete ({error}); what came before was imported,"
            " import it again when it is whole"
        ) from error
    if lines:
        yield lines


def _content(file: LogFile) -> Iterator[bytes]:
    """What a file holds, unpacked, in pieces of any size. Raises one of `_DAMAGED`."""
    os.lseek(file.descriptor, 0, os.SEEK_SET)
    if os.pread(file.descriptor, 2, 0) == _GZIP:
        yield from _unpacked(file.descriptor)
        return
    while piece := os.read(file.descriptor, _CHUNK):
        yield piece


def _unpacked(descriptor: int) -> Iterator[bytes]:
    """What the members of a gzip file hold (RFC 1952), to within a few lines of any damage.

    A file object of the library's would keep back all that it has read when damage follows.
    """
    member, rest = isal_zlib.decompressobj(_GZIP_FORMAT), b""
    while packed := rest or os.read(descriptor, _SIP):
        rest = b""
        if member.eof:
            packed = packed.lstrip(b"\0")  # padding
            if not packed:
                continue
            member = isal_zlib.decompressobj(_GZIP_FORMAT)
        yield member.decompress(packed)
        rest = member.unused_data
    if not member.eof:
        raise EOFError("it ends in the middle")


def _bounded(pieces: Iterator[bytes], file: LogFile) -> Iterator[bytes]:
    """Ends with an error where a small file unpacks to what no log is."""
    total, most = 0, max(file.size * _MOST_RATIO, _RATIO_FROM)
    for piece in pieces:
        total += len(piece)
        if total > most:
            raise OSError(f"it unpacks to more than {_MOST_RATIO} times its size, as no log does")
        yield piece


def _rotation(path: Path) -> int:
    found = _NUMBER.search(path.name)
    return int(found[1]) if found else 0


def _stat(path: Path) -> tuple[int, int]:
    """Octets and modification time; opening tells what is wrong with a file that has none."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns
