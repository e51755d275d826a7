"""The service's own log: as text or JSON.

Owns the form of a record. Above level debug no address comes through, whoever wrote it. Knows
nothing of what is logged.
"""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime

import msgspec

from pda.config import LogSettings
from pda.slow import slow

_ADDRESS = re.compile(r"[^\s<>\"'(),:;=@]+@(?=[^\s<>\"'(),:;=@])")


class _Text(logging.Formatter):
    """For people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return _discreet(super().format(record), record)


class _Json(logging.Formatter):
    """For programs: one object in one line."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        said = {
            "time": at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _discreet(record.getMessage(), record),
        }
        if record.exc_info:
            said["exception"] = _discreet(self.formatException(record.exc_info), record)
        return msgspec.json.encode(said).decode()


def _discreet(text: str, record: logging.LogRecord) -> str:
    return text if record.levelno <= logging.DEBUG else masked(text)


def masked(text: str) -> str:
    """A text without the local parts of addresses."""
    return _ADDRESS.sub("…@", text)


def formatter(settings: LogSettings) -> logging.Formatter:
    """How records are written."""
    return _Json() if settings.format == "json" else _Text()


_handler = logging.StreamHandler()


def begin(settings: LogSettings) -> None:
    """What is logged goes to standard error, where an operator sees it."""
    _form(settings)
    logging.basicConfig(level=settings.level.upper(), handlers=[_handler])
    # At level info it names each address that is asked: that of a webhook may be a secret.
    logging.getLogger("httpx").setLevel(logging.WARNING)


def adjust(settings: LogSettings) -> None:
    """From now on as these settings say."""
    _form(settings)
    logging.getLogger().setLevel(settings.level.upper())


def _form(settings: LogSettings) -> None:
    _handler.setFormatter(formatter(settings))
    slow.from_s = settings.slow_ms / 1000
