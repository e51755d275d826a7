"""What an import is going to do with a file, and how it goes.

Owns how a file is known again by what the store says of those read before. Reads nothing but the
file's head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import msgspec

from pda import backfill
from pda.backfill import LogFile, Mark
from pda.reading import Part, Wanted
from pda.store.batch import Batch
from pda.store.imports import Import

Report: TypeAlias = Callable[["ImportState"], None]
Find: TypeAlias = Callable[[Callable[[int], bytes | None]], list[Import]]
"""Files whose first octets have these digests, the one that was read farthest first."""

KNOWN = "known already"
OLDER = "older"
INTERRUPTED = "it was interrupted; import it again for the rest"


class ImportState(msgspec.Struct):
    """How an import goes."""

    name: str
    size: int
    """Octets as stored; 0 where it is not known."""
    octets: int = 0
    """Of them, read so far."""
    lines: int = 0
    events: int = 0
    attempts: int = 0
    new: int = 0
    """Attempts that were not known before."""
    unknown: int = 0
    """Lines of Postfix's whose form is not known."""
    refused: int = 0
    """Lines that are older than what is kept."""
    refused_attempts: int = 0
    seconds: float = 0.0
    note: str = ""
    """Why there was nothing to read, or nothing to store."""
    interrupted: bool = False
    finished: bool = False
    error: str = ""

    def take(self, part: Part) -> None:
        """Counts what was read."""
        self.octets = part.stored
        self.lines += part.lines
        self.events += part.events
        self.attempts += part.attempts
        self.unknown += part.unknown

    @property
    def known(self) -> int:
        """Attempts that were known already."""
        return self.attempts - self.new - self.refused_attempts

    def count(self, batch: Batch) -> None:
        """Counts what it came to."""
        self.new += batch.added_attempts
        self.refused += batch.refused
        self.refused_attempts += batch.refused_attempts


class Prospect(msgspec.Struct, frozen=True):
    """What an import would do with a file."""

    name: str
    size: int
    todo: str


def prospect(file: LogFile, wanted: Wanted, find: Find) -> Prospect:
    """What an import would do with a file, as far as that can be told without reading it."""
    head = backfill.head(file)
    known = which(file, find(partial(first, head))) if head else None
    return Prospect(file.name, file.size, needless(file, wanted, known) or _todo(file, known))


def which(file: LogFile, found: Sequence[Import]) -> Import | None:
    """Which of those that begin alike it is, as far as that can be told without reading it."""
    own = backfill.fingerprint(file)
    for one in found:
        if own and one.fingerprint == own:
            return one
    marks = ((one, Mark(one.position, one.tail)) for one in found)
    return next((one for one, mark in marks if backfill.left(file, mark) != file.size), None)


def needless(file: LogFile, wanted: Wanted, known: Import | None) -> str:
    """Why there is nothing to read, where that can be told without reading."""
    if known and known.fingerprint and known.fingerprint == backfill.fingerprint(file):
        return KNOWN
    return OLDER if wanted.since is not None and file.written_at < wanted.since else ""


def _todo(file: LogFile, known: Import | None) -> str:
    if known is None:
        return "read"
    left = backfill.left(file, Mark(known.position, known.tail))
    if left is None:
        return f"read what follows octet {known.position}, unpacked"
    if left == file.size:
        return "read"
    return f"read its last {left} octets" if left else KNOWN


def first(head: bytes, octets: int) -> bytes | None:
    return backfill.digest(head[:octets]) if octets <= len(head) else None


def interrupted(file: LogFile) -> ImportState:
    """Of a file that was not begun any more."""
    error = f"{file.name} was not imported: {INTERRUPTED}"
    return ImportState(file.name, file.size, interrupted=True, finished=True, error=error)
