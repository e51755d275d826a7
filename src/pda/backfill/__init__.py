"""The importing edge: log files, plain or compressed, become lines, oldest file first.

Owns which files there are, their order, opening, decompression and the bounds on all of it. Knows
no word of what a line says. A file is known by its content, since rotation changes its name.
"""

from __future__ import annotations

from pda.backfill.files import (
    BackfillError,
    LogFile,
    fingerprint,
    is_plain,
    open_log,
    open_stream,
)
from pda.backfill.lines import (
    KNOWN_BY,
    Chunk,
    Mark,
    chunks,
    digest,
    glimpses,
    head,
    left,
    parted,
    read_lines,
)
from pda.backfill.order import Found, expanded, newest_within, oldest_first

__all__ = [
    "KNOWN_BY",
    "BackfillError",
    "Chunk",
    "Found",
    "LogFile",
    "Mark",
    "chunks",
    "digest",
    "expanded",
    "fingerprint",
    "glimpses",
    "head",
    "is_plain",
    "left",
    "newest_within",
    "oldest_first",
    "open_log",
    "open_stream",
    "parted",
    "read_lines",
]
