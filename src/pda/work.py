"""What is to be stored, and what became of it: the values between the two hops of `ingest`.

Owns what goes with events on their way to a transaction: who is to know, and what is left of them
where they are given up. Does nothing by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec
import trio

from pda.maillog.events import Told
from pda.maillog.pipeline import Rules
from pda.store.batch import Batch
from pda.store.imports import Import
from pda.store.sheets import Sheet


class Work(msgspec.Struct):
    """What is to be stored, and who is to know when it is."""

    told: list[Told]
    rules: Rules
    """In force when reading them began."""
    live: bool = False
    """Somebody may wait to see it."""
    imported: Import | None = None
    """How far a file was read with them."""
    inserted: Callable[[Batch], None] | None = None
    """Is told what they came to."""
    done: trio.Event | None = None
    """Set when they are committed."""
    stored: Sequence[Callable[[], None]] = ()
    """Called in their order once they are committed, and never if they could not be."""
    awaited: bool = False
    """Whether senders wait for that."""
    events: int = -1
    """How many events were told; counted where nobody has done so."""
    safe: int = 0
    """Of these events, those that are not lost where they are given up: of lines that the journal
    has, or their sender still."""
    sheet: Sheet | None = None
    """What else is to be stored: rows that were made already."""

    def __post_init__(self) -> None:
        if self.events < 0:
            self.events = count(self.told)

    def unmake(self) -> None:
        """Tells what is on the sheet with all the rest: something has to be done to it."""
        if self.sheet is not None:
            self.told += [one.told() for one in self.sheet.wholes]
            self.sheet = None


class Pending(msgspec.Struct):
    """What was inserted and is to be committed."""

    batches: list[Batch] = []
    events: int = 0
    safe: int = 0
    refused: int = 0
    live: int = 0
    """Of the works, those that are."""
    done: list[trio.Event] = []
    stored: list[Callable[[], None]] = []
    awaited: bool = False

    def add(self, work: Work, batch: Batch) -> None:
        """A batch that a work came to."""
        self.batches.append(batch)
        self.events += work.events
        self.safe += work.safe
        self.refused += len(batch.rejects)
        self.live += work.live
        if work.done is not None:
            self.done.append(work.done)
        self.stored += work.stored
        self.awaited |= work.awaited


class WriterState(msgspec.Struct):
    """How writing goes."""

    works: int = 0
    """Batches that were worked out."""
    commits: int = 0
    attempts: int = 0
    """New or better known ones."""
    seconds: float = 0.0
    """Spent in transactions."""
    failures: int = 0
    refused: str = ""
    """Why the last transaction could not be committed; empty while all is well."""
    refused_since: float = 0.0
    log_held: bool = False
    """Whether somebody who reads keeps the write-ahead log from being cut."""
    lost_events: int = 0
    """Given up when the service had to stop while the disk refused."""


def count(told: Iterable[Told]) -> int:
    """How many events."""
    return sum(one.events for one in told)
