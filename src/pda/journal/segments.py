"""The journal's files beside the database: durable when `append` returns, gone when stored.

Owns their names, their size and what is done where the disk refuses. Used by one thread at a time,
but for `release` and what it calls, which are for the thread that calls `append` in another one.

A file is written anew where nothing in it waits any more, and another one is begun where it has
become large. After an error nothing is added to a file: what the disk kept of it is not known.
"""

from __future__ import annotations

import os
from contextlib import suppress
from glob import escape
from pathlib import Path

from pda.journal.sealing import Contents, Kept, Seal, read
from pda.store.database import sync_directory

_LARGE = 8 * 1024 * 1024
"""Octets after which another file is begun."""


class Segment:
    """One file, and how many of its batches are not stored yet."""

    def __init__(self, path: Path, waiting: int = 0) -> None:
        self.path = path
        self.waiting = waiting


class _Writing:
    """The file that is being written."""

    def __init__(self, path: Path, secret: bytes) -> None:
        self.segment = Segment(path)
        self.octets = 0
        self._secret = secret
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._seal = Seal(secret)
        self._number = 0

    def write(self, batches: list[Kept]) -> None:
        """Durable when it returns; raises OSError, after which it is to be closed."""
        self._number += 1
        octets = self._seal.record(self._number, batches)
        if not self.octets:
            octets = self._seal.header() + octets
        written = 0
        while written < len(octets):
            written += os.pwrite(self._handle, octets[written:], self.octets + written)
        os.fdatasync(self._handle)
        self.octets += len(octets)

    def empty(self) -> None:
        """Begins it anew, with another key; whether the disk has heard of it does not matter."""
        if self.octets:
            os.ftruncate(self._handle, 0)
            self._seal, self._number, self.octets = Seal(self._secret), 0, 0

    def close(self) -> None:
        """Nothing more is written."""
        os.close(self._handle)


class Segments:
    """All files of one journal."""

    def __init__(self, database: Path, secret: bytes) -> None:
        self._database = database
        self._secret = secret
        self._writing: _Writing | None = None
        self._last = max((_number(path) for path in self.left()), default=0)

    def load(self) -> None:
        """Loads what `append` needs, so that the first lines do not wait for that."""
        Seal(self._secret)

    def left(self) -> list[Path]:
        """Those that are there, in the order of their making."""
        name = f"{escape(self._database.name)}.journal.*"
        found = [path for path in self._database.parent.glob(name) if path.suffix[1:].isdecimal()]
        return sorted(found, key=_number)

    def read(self, path: Path) -> Contents:
        """What a file has; raises OSError and `ForeignError`."""
        return read(path.read_bytes(), self._secret)

    def append(self, batches: list[Kept]) -> Segment:
        """Makes batches durable, in the segment that is returned; raises OSError."""
        try:
            writing = self._current()
            writing.write(batches)
        except OSError:
            self.close()
            raise
        return writing.segment

    def release(self, segment: Segment, *, writing: bool) -> None:
        """One of its batches is stored; `writing` while an `append` goes on."""
        segment.waiting -= 1
        current = self._writing
        if segment.waiting:
            return
        if current is None or current.segment is not segment:
            _remove(segment.path)
        elif not writing:
            with suppress(OSError):  # what is stored will be read again, and change nothing
                current.empty()

    def close(self) -> None:
        """Nothing more is appended; a file stays only where something in it is not stored."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.close()
            if not writing.segment.waiting:
                _remove(writing.segment.path)

    def _current(self) -> _Writing:
        """The file to write to: a new one where there is none, or where it is large."""
        writing = self._writing
        if writing is not None and not writing.segment.waiting:
            writing.empty()
        elif writing is not None and writing.octets >= _LARGE:
            self.close()
        if self._writing is None:
            self._last += 1
            path = self._database.with_name(f"{self._database.name}.journal.{self._last}")
            self._writing = _Writing(path, self._secret)
            sync_directory(path.parent)
        return self._writing


def _remove(path: Path) -> None:
    with suppress(OSError):  # see `release`
        path.unlink(missing_ok=True)


def _number(path: Path) -> int:
    return int(path.suffix[1:])
