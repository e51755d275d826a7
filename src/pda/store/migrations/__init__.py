"""Numbered migrations, each in a module of its own: how tables of one version become the next's.

Owns their order. A migration is never changed once released: a new one is added at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pda.store.migrations import (
    access,
    address_blocks,
    address_runs,
    address_sums,
    alerts,
    counts,
    feed,
    first,
    journal,
    late,
    narrow,
    outgoing,
    pieces,
    providers,
    rejects,
    removal,
    seeking,
    suppressions,
)

if TYPE_CHECKING:
    from sqlite_utils import Database

MIGRATIONS: list[Callable[[Database], None]] = [
    first.migrate,
    access.migrate,
    feed.migrate,
    providers.migrate,
    removal.migrate,
    suppressions.migrate,
    outgoing.migrate,
    counts.migrate,
    rejects.migrate,
    seeking.migrate,
    alerts.migrate,
    late.migrate,
    address_blocks.migrate,
    pieces.migrate,
    journal.migrate,
    address_runs.migrate,
    address_sums.migrate,
    narrow.migrate,
]
