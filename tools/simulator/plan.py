"""What is asked of the simulator. Holds values only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND

FORMATS: Final = ("rfc3339", "rfc3164", "maillog", "rfc5424", "forward", "traditional-forward")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One log. Equal plans give equal logs, whatever the machine and the Python."""

    messages: int = 1_000
    """Handed in by applications; notifications and hops come on top (about 11 lines each)."""
    seed: int = 1
    clients: tuple[str, ...] = ("shop", "newsletter", "billing")
    """Told in turn by Message-ID, by header and by SASL user."""
    hosts: tuple[str, ...] = ("mx1",)
    start: datetime = datetime(2025, 9, 1, tzinfo=UTC)
    days: float = 14.0
    """Nothing new begins later; what still waits then is pending."""
    lifetime_days: float = 6.0
    """maximal_queue_lifetime: what waits longer expires."""
    format: str = "rfc3339"
    zone: tzinfo = UTC
    short_ids: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError with one sentence about the first value that makes no sense."""
        for wrong, sentence in (
            (self.messages < 0, "messages must not be negative"),
            (self.days <= 0 or self.lifetime_days <= 0, "days and lifetime must be positive"),
            (not self.hosts or not self.clients, "at least one host and one client are needed"),
            (self.start.tzinfo is None, "start needs an offset from UTC, such as Z"),
            (self.format not in FORMATS, f"format must be one of {', '.join(FORMATS)}"),
        ):
            if wrong:
                raise ValueError(sentence)

    @property
    def begin(self) -> int:
        """The start, in µs since the epoch."""
        return int(self.start.timestamp()) * SECOND

    @property
    def end(self) -> int:
        """When the last thing may begin, in µs since the epoch."""
        return self.begin + int(self.days * DAY)

    @property
    def lifetime(self) -> int:
        """How long a message may wait, in µs."""
        return int(self.lifetime_days * DAY)
