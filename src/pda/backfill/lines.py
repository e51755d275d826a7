"""What a file holds → chunks of whole lines, each with the place behind it.

Owns lines, their bounds, and how a file is known: by its head, and by what stands before the place
up to which it was read. So it can be read on under another name, packed or grown.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Final

from pda.backfill.files import DAMAGED, PIECE, BackfillError, LogFile, Reader, content, is_plain

KNOWN_BY: Final = 4096
"""Octets of a head, and those before a mark."""
_MOST_PER_LINE = 64 * 1024
# What a truncated or crashed file has instead of text; it separates what stands around it.
_NULS = re.compile(rb"\n?\0{16,}\n?")
_GLIMPSE = 4096
_GLIMPSES = 256


@dataclass(frozen=True, slots=True)
class Mark:
    """A place behind a line end, known by what stands before it."""

    position: int = 0
    """Octets, unpacked."""
    tail: bytes = b""
    """Digest of the last 4 KiB before."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Lines without their ends."""

    lines: list[bytes]
    begin: int
    """Where the first of them stands: the position of the mark before."""
    mark: Mark
    """Behind the last of them."""
    stored: int
    """How far the file as stored was read."""
    partial: bool = False
    """The only line has no end: more of it may follow one day. The mark is before it."""


def digest(octets: bytes) -> bytes:
    """By which octets are known again."""
    return hashlib.blake2b(octets, digest_size=16).digest()


def head(file: LogFile) -> bytes:
    """The first 4 KiB, unpacked; as much of them as can be read. Nothing of a stream."""
    found = b""
    if file.is_stream:
        return found
    try:
        for piece in content(Reader(file)):
            found += piece
            if len(found) >= KNOWN_BY:
                break
    except DAMAGED:
        pass
    return found[:KNOWN_BY]


def read_lines(file: LogFile) -> Iterator[list[bytes]]:
    """The lines of a file in batches, without line ends."""
    return (chunk.lines for chunk in chunks(file) if chunk.lines)


def chunks(file: LogFile, start: Mark = Mark(), pieces_each: int = 1) -> Iterator[Chunk]:
    """The lines behind a mark; from the beginning where that mark is not in this file.

    Each chunk is of so many pieces, of a megabyte, or a little more.

    An empty chunk says that a stream is silent. Raises `BackfillError` when the rest cannot be
    read; all lines before it have been given.
    """
    reader, pieces, cutter = _begun(file, start)
    try:
        for piece in pieces:
            cutter.add(piece)
            if cutter.is_full(pieces_each) or not piece:
                yield cutter.chunk(reader.offset)
    except DAMAGED as error:
        if cutter.lines:
            yield cutter.chunk(reader.offset)
        raise BackfillError(
            f"{file.name} is damaged or incomplete ({error}); what came before was imported,"
            " import it again when it is whole"
        ) from error
    if cutter.lines:
        yield cutter.chunk(reader.offset)
    if not file.is_stream and file.size < reader.offset:
        raise BackfillError(
            f"{file.name} was cut while it was read (copytruncate); what was cut off stands in its"
            " rotated copy: import that too"
        )
    if cutter.rest:
        yield cutter.last(reader.offset)


def left(file: LogFile, mark: Mark) -> int | None:
    """Octets of a plain file behind a mark, all where it is not there; None of a packed one."""
    if not is_plain(file):
        return None
    return file.size - mark.position if _sought(file, mark) else file.size


def _begun(file: LogFile, start: Mark) -> tuple[Reader, Iterable[bytes], _Cutter]:
    """The content behind the mark; all of it where the mark is not there, or nothing is known."""
    if start.position and not file.is_stream:
        begun = _sought(file, start) if is_plain(file) else _skipped(file, start)
        if begun is not None:
            return begun
    reader = Reader(file)
    return reader, content(reader), _Cutter()


def _sought(file: LogFile, start: Mark) -> tuple[Reader, Iterable[bytes], _Cutter] | None:
    known = min(start.position, KNOWN_BY)
    before = os.pread(file.descriptor, known, start.position - known)
    if digest(before) != start.tail:
        return None
    reader = Reader(file, start.position)
    return reader, reader, _Cutter(start.position, before)


def _skipped(file: LogFile, start: Mark) -> tuple[Reader, Iterable[bytes], _Cutter] | None:
    reader, before, left = Reader(file), b"", start.position
    pieces = content(reader)
    try:
        for piece in pieces:
            before = (before + piece[:left])[-KNOWN_BY:]
            if len(piece) >= left:
                if digest(before) != start.tail:
                    return None
                rest = [piece[left:]] if piece[left:] else []
                return reader, chain(rest, pieces), _Cutter(start.position, before)
            left -= len(piece)
    except DAMAGED:
        pass
    return None


class _Cutter:
    """Cuts pieces into lines."""

    def __init__(self, position: int = 0, before: bytes = b"") -> None:
        self.lines: list[bytes] = []
        """Of the next chunk."""
        self.rest = b""
        """Behind the last line end, as far as it is of use."""
        self._octets = 0
        self._begin = self._position = position
        self._before = self._recent = before
        self._behind = 0

    def add(self, piece: bytes) -> None:
        self._octets += len(piece)
        end = piece.rfind(b"\n") + 1
        if end:
            self.lines += self._lines(piece, end)
            self._position += self._behind + end
            last_octets = piece[max(end - KNOWN_BY, 0) : end]
            self._before = self._recent = (self._recent + last_octets)[-KNOWN_BY:]
            self.rest, self._behind = b"", 0
        if last := piece[end:]:
            self._behind += len(last)
            self._recent = (self._recent + last)[-KNOWN_BY:]
            if len(self.rest) < _MOST_PER_LINE:
                self.rest = _cleaned(self.rest + last).lstrip(b"\n")[:_MOST_PER_LINE]

    def _lines(self, piece: bytes, end: int) -> list[bytes]:
        """Those that end in a piece; without a copy of it, where that can be."""
        if b"\0" in piece:
            lines = _cleaned(self.rest + piece[:end]).split(b"\n")
        else:
            lines = piece.split(b"\n")
            lines[:1] = (self.rest + lines[0]).split(b"\n")
        lines.pop()
        return lines

    def is_full(self, pieces: int) -> bool:
        return self._octets >= pieces * PIECE and bool(self.lines)

    def chunk(self, stored: int) -> Chunk:
        lines, begin = self.lines, self._begin
        self.lines, self._begin, self._octets = [], self._position, 0
        return Chunk(lines, begin, Mark(self._position, digest(self._before)), stored)

    def last(self, stored: int) -> Chunk:
        mark = Mark(self._position, digest(self._before))
        return Chunk([self.rest], self._position, mark, stored, partial=True)


def parted(line: bytes) -> list[bytes]:
    """The lines in what ends with a line feed, or is the last: several around a run of NULs."""
    lines = _cleaned(line).removesuffix(b"\n").split(b"\n")
    return lines if b"\0" not in line or lines != [b""] else []


def _cleaned(octets: bytes) -> bytes:
    if b"\0" not in octets:
        return octets
    cleaned = _NULS.sub(b"\n", octets)
    return cleaned.removeprefix(b"\n") if octets.startswith(b"\0") else cleaned


def glimpses(file: LogFile, begin: int = 0) -> Iterator[list[bytes]]:
    """Some lines of all parts behind a position, in their order, the last ones among them.

    Of a plain file without reading all that is between them; of a stream nothing.
    """
    if not file.is_stream:
        yield from _looks(file, begin) if is_plain(file) else _looks_passing(file, begin)


def _looks(file: LogFile, begin: int) -> Iterator[list[bytes]]:
    size = file.size
    last = max(size - _GLIMPSE, begin)
    step = max((size - begin) // _GLIMPSES, _GLIMPSE)
    for offset in [*range(begin, last, step), last]:
        end = offset + _GLIMPSE if offset == last else min(offset + _GLIMPSE, last)
        lines = os.pread(file.descriptor, end - offset, offset).split(b"\n")
        yield lines[offset > begin : None if offset == last else -1]


def _looks_passing(file: LogFile, begin: int) -> Iterator[list[bytes]]:
    with suppress(BackfillError):
        for chunk in chunks(file):
            if chunk.mark.position > begin:
                yield _behind(chunk, begin)


def _behind(chunk: Chunk, position: int) -> list[bytes]:
    """The lines of a chunk that stand behind a position."""
    at = chunk.begin
    for number, line in enumerate(chunk.lines):
        if at >= position:
            return chunk.lines[number:]
        at += len(line) + 1
    return []
