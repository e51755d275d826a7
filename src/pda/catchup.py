"""The configured logs, imported by the service itself: before it listens, and again and again.

Owns when, and which of them. The rotated files come first, as with the archived original; what is
written while they are read waits with whoever sends it. Later the current file is looked through
at intervals: what rsyslog has written there and not sent is found so.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec
import trio

from pda.backfill import BackfillError, newest_within, oldest_first, open_log
from pda.config import BackfillSettings
from pda.importing import Importer
from pda.prospects import ImportState
from pda.reading import Wanted

log = logging.getLogger(__name__)


class CatchUp:
    """Imports what `[backfill]` names."""

    def __init__(
        self, importer: Importer, settings: BackfillSettings, wanted: Wanted, stop: trio.Event
    ) -> None:
        self._importer = importer
        self._settings = settings
        self._wanted = msgspec.structs.replace(wanted, growing=True)
        self._stop = stop
        self._told: set[str] = set()

    async def before_listening(self) -> None:
        """The rotated files, if `on_start` says so: all but the newest one."""
        if self._settings.on_start:
            await self.read(configured_logs(self._settings)[:-1])

    async def while_listening(self) -> None:
        """The current file at the start, if `on_start` says so, and every `catch_up_s`."""
        if self._settings.on_start:
            await self.read(configured_logs(self._settings)[-1:])
        while self._settings.catch_up_s:
            await trio.sleep(self._settings.catch_up_s)
            # The one before it, for what was written before it was rotated.
            await self.read(configured_logs(self._settings)[-2:])

    async def read(self, paths: Sequence[Path]) -> None:
        """Imports these files; what is wrong with one is logged once."""
        for path in paths:
            if self._stop.is_set():
                return
            try:
                await self._read(path)
            except BackfillError as error:
                self._tell(str(error))
            except Exception:  # a file must not end the service
                log.exception("%s could not be imported: a mistake in pda", path)

    async def _read(self, path: Path) -> None:
        file = await trio.to_thread.run_sync(open_log, path)
        try:
            state = await self._importer.import_file(file, self._wanted, _ignore, self._stop)
        finally:
            file.close()
        if state.error and not self._stop.is_set():
            self._tell(state.error)
        elif state.new:
            log.info("%s: %d attempts were not known", state.name, state.new)

    def _tell(self, error: str) -> None:
        if error not in self._told:
            self._told.add(error)
            log.error("%s", error)


def configured_logs(settings: BackfillSettings) -> list[Path]:
    """The files of `[backfill]`, oldest first."""
    paths = oldest_first(
        path for path in Path(settings.directory).glob(settings.pattern) if not path.is_dir()
    )
    return newest_within(paths, settings.max_bytes) if settings.max_bytes else paths


def _ignore(_: ImportState) -> None:
    """Nobody asked to be told."""
