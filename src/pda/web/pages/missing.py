"""How complete the picture is, in sentences beside the figures.

Owns the words. What is missing is found by the store (`coverage`) and counted by the service.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from markupsafe import Markup

from pda.store.coverage import Coverage, coverage
from pda.web.asking import Asker
from pda.web.pages.holding import Held
from pda.web.pages.wording import counted, number, stamp
from pda.web.ports import Reception

ENTRIES: Final = 10_000
"""Looked at for a page, those that were heard of last."""
_GAPS: Final = 3


class Completeness(Held[str | None, Coverage]):
    """What is missing of the messages: of all, or of one client's."""

    def __init__(self, asker: Asker) -> None:
        async def ask(client: str | None) -> Coverage:
            return await asker.ask(coverage, client, time.time_ns() // 1000, ENTRIES)

        super().__init__(ask)


def missing(found: Coverage, received: Reception | None) -> list[str]:
    """What is missing, the worst first; nothing where nothing is."""
    return [*_of_lines(received), *_of_messages(found)] if received else [*_of_messages(found)]


def _of_lines(received: Reception) -> Iterator[str]:
    if received.kernel_drops:
        dropped = counted(received.kernel_drops, "datagram")
        yield f"{dropped} dropped by the kernel: lines are lost."
    for host, lines in sorted(received.lost_before.items(), key=lambda one: -one[1])[:_GAPS]:
        yield f"{host} says that it has lost {counted(lines, 'line')} before they were sent."
    if lost := received.fates.get("lost"):
        yield f"{counted(lost, 'line')} given up when the service stopped."


def _of_messages(found: Coverage) -> Iterator[str]:
    of = f"of the {number(found.entries)} queue entries heard of last"
    if found.headless:
        yield f"The beginning of {number(found.headless)} {of} was never seen."
    if found.unfinished:
        yield f"{number(found.unfinished)} {of} should have left the queue and were not seen to."
    if found.recipients_missing:
        yield (
            f"Nothing is known of {counted(found.recipients_missing, 'recipient')} that the queue"
            f" manager counted in {number(found.short)} {of}."
        )
    for gap in found.gaps[:_GAPS]:
        hours = f"{(gap.until - gap.since) / 3_600_000_000:.1f}"
        sentence = Markup("No message began at {} for {} hours from {}.")
        yield sentence.format(gap.host, hours, stamp(gap.since))
