"""How quickly the service works: its counters, sampled, and what is told of them.

Owns which counters there is a rate of. Knows no line and no page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import trio

from pda.listening import Listening
from pda.rates import EVERY_S, Rates
from pda.rooms import Rooms
from pda.web.ports import Commits, ListenerStatus, RunningImport, Writing

_WRITTEN: Final = ("commits", "attempts", "seconds")
"""Of the writer's state."""


class Paces:
    """Of one service."""

    def __init__(self, rooms: Rooms, listening: Listening) -> None:
        self._rooms = rooms
        self._listening = listening
        self._rates = Rates()

    async def run(self) -> None:
        """Takes samples until it is cancelled."""
        while True:
            self._rates.note(trio.current_time(), self._counters())
            await trio.sleep(EVERY_S)

    def _counters(self) -> dict[str, float]:
        """By listener, by file, and by name of what the writer does."""
        found: dict[str, float] = {
            name: getattr(self._rooms.ingest.writer_state, name) for name in _WRITTEN
        }
        found |= {name: one.lines for name, one in self._listening.counters.items()}
        states = self._rooms.importer.states
        return found | {one.name: one.lines for one in states if not one.finished}

    def listeners(self) -> Sequence[ListenerStatus]:
        """Each socket with its counters."""
        pace = self._rates.pace
        return [
            msgspec.structs.replace(one, pace=pace(f"{one.protocol}://{one.address}"))
            for one in self._listening.status()
        ]

    def imports_running(self) -> Sequence[RunningImport]:
        """Files that are being imported."""
        return [
            RunningImport(
                name=state.name,
                octets=state.octets,
                size=state.size,
                lines=state.lines,
                pace=self._rates.pace(state.name),
            )
            for state in self._rooms.importer.states
            if not state.finished
        ]

    def writing(self) -> Writing:
        """How writing goes, and what is kept."""
        state, kept = self._rooms.ingest.writer_state, self._rooms.housekeeping.kept
        settings = self._rooms.housekeeping.settings
        number, attempts, seconds = map(self._rates.lately, _WRITTEN)
        return Writing(
            done=Commits(state.commits, state.attempts, state.seconds),
            lately=Commits(int(number), int(attempts), seconds),
            failures=state.failures,
            removed=kept.removed,
            horizon=kept.horizon,
            keep_days=settings.days,
            keep_octets=settings.max_bytes,
        )
