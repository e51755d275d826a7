"""Which log files were read, and how far: one row each, written with what it describes.

Owns the table. A file is known by its content: a digest of its first octets (as many of 4 KiB as
were read), how far it was read, and a digest of what stands before that place.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from pda.store.database import Connection

TABLE = """
CREATE TABLE import (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, head BLOB NOT NULL, head_octets INTEGER NOT NULL,
    position INTEGER NOT NULL, tail BLOB NOT NULL, fingerprint BLOB NOT NULL, size INTEGER NOT NULL,
    lines INTEGER NOT NULL, partial INTEGER NOT NULL, complete INTEGER NOT NULL,
    counted BLOB NOT NULL, read_at INTEGER NOT NULL
)
"""
_COLUMNS = (
    "id, name, head, head_octets, position, tail, fingerprint, size, lines, partial, complete,"
    " counted, read_at"
)


class Import(msgspec.Struct, frozen=True):
    """How far a file was read."""

    id: int
    """Its row, for as long as it grows."""
    name: str
    """The last one under which it was read."""
    head: bytes = b""
    head_octets: int = 0
    position: int = 0
    """Octets, unpacked, up to which all is stored."""
    tail: bytes = b""
    """Digest of what stands before that position."""
    fingerprint: bytes = b""
    """Of a packed file that was read to its end."""
    size: int = 0
    """Octets as stored."""
    lines: int = 0
    partial: bool = False
    """The last of them had no end, and stands behind the position."""
    complete: bool = False
    """It was read to its end, as that was then."""
    counted: bytes = b""
    """What `Pipeline.resumed` needs."""
    read_at: int = 0
    """µs since the epoch."""


def put(connection: Connection, row: Import) -> None:
    """Adds a row, or writes it anew."""
    values = msgspec.structs.astuple(row)
    marks = ",".join("?" * len(values))
    connection.execute(f"INSERT OR REPLACE INTO import ({_COLUMNS}) VALUES ({marks})", values)


def find(connection: Connection, digest_of_first: Callable[[int], bytes | None]) -> list[Import]:
    """Files that begin so, the one that was read farthest first.

    Asks for digests of the first octets; None where there are not so many.
    """
    lengths = connection.execute("SELECT DISTINCT head_octets FROM import").fetchall()
    found: list[Import] = []
    for (length,) in lengths:
        assert isinstance(length, int)
        digest = digest_of_first(length)
        if digest is not None:
            found += _select(connection, "WHERE head_octets = ? AND head = ?", (length, digest))
    return sorted(found, key=lambda one: -one.position)


def all_files(connection: Connection) -> list[Import]:
    """Files in the order in which they were last read."""
    return _select(connection, "ORDER BY read_at, id", ())


def _select(connection: Connection, which: str, values: tuple[int | bytes, ...]) -> list[Import]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM import {which}", values).fetchall()
    names = [field.name for field in msgspec.structs.fields(Import)]
    return [
        msgspec.convert(dict(zip(names, row, strict=True)), Import, strict=False) for row in rows
    ]
