"""How complete the picture is, in sentences beside the figures.

Owns the words. What is missing is found by the store (`coverage`) and counted by the service.
"""

from __future__ import annotations

from collections.abc import Iterator

from pda.store.coverage import Coverage
from pda.times import rfc3339
from pda.web.ports import Reception

ENTRIES = 10_000
"""Looked at for a page, those that were heard of last."""
_GAPS = 3


def missing(found: Coverage, received: Reception | None) -> list[str]:
    """What is missing, the worst first; nothing where nothing is."""
    return [*_of_lines(received), *_of_messages(found)] if received else [*_of_messages(found)]


def _of_lines(received: Reception) -> Iterator[str]:
    if received.kernel_drops:
        yield f"{received.kernel_drops:,} datagrams were dropped by the kernel: lines are lost."
    for host, lines in sorted(received.lost_before.items(), key=lambda one: -one[1])[:_GAPS]:
        yield f"{host} says that it has lost {lines:,} lines before they were sent."
    if lost := received.fates.get("lost"):
        yield f"{lost:,} lines were given up when the service stopped."


def _of_messages(found: Coverage) -> Iterator[str]:
    of = f"of the {found.entries:,} queue entries heard of last"
    if found.headless:
        yield f"The beginning of {found.headless:,} {of} was never seen."
    if found.unfinished:
        yield f"{found.unfinished:,} {of} should have left the queue and were not seen to."
    if found.recipients_missing:
        yield (
            f"Nothing is known of {found.recipients_missing:,} recipients that the queue manager"
            f" counted in {found.short:,} {of}."
        )
    for gap in found.gaps[:_GAPS]:
        hours = (gap.until - gap.since) / 3_600_000_000
        yield f"No message began at {gap.host} for {hours:.1f} hours from {rfc3339(gap.since)}."
