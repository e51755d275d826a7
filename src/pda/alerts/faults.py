"""The service's own faults, as its log tells them.

Owns which errors are faults, and how many are remembered. What is wrong with the database, the
rules or the sending of alerts has conditions of its own, or would go round in circles.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from pda.logs import masked

_TOLD_OTHERWISE = ("pda.ingest", "pda.rulebook", "pda.outbox", "pda.alerts")
_MOST = 20
_VALUES = re.compile(r"%[-+#0-9.]*[a-z]")
"""Where a message of the log names what differs from time to time."""


class Faults(logging.Handler):
    """Remembers the last error from each place until somebody takes them."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._found: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Notes an error, whatever thread it is from."""
        if record.name.startswith(_TOLD_OTHERWISE):
            return
        where = masked(f"{record.name}: {_VALUES.sub('…', str(record.msg))}")
        if where in self._found or len(self._found) < _MOST:
            self._found[where] = masked(f"{record.getMessage()}{_exception(record)}")

    def take(self) -> dict[str, str]:
        """What was logged since the last time, by where."""
        self.acquire()
        try:
            found, self._found = self._found, {}
        finally:
            self.release()
        return found

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While this lasts it hears what pda logs."""
        logger = logging.getLogger("pda")
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)


def _exception(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    return f" ({type(error).__name__}: {error})" if error is not None else ""
