"""Settings that are read again: what of them takes effect at once, and what needs a restart.

Owns which ones are which.
"""

from __future__ import annotations

import msgspec

from pda.config import Settings

LIVE = frozenset(["alerts", "log", "retention"])
"""Sections that take effect at once. What certificates and rule lists hold is read again anyway."""


class Reread(msgspec.Struct, frozen=True):
    """What other settings come to."""

    settings: Settings
    """Those in force from now on."""
    taken: list[str]
    """Keys whose new values are in force."""
    waiting: list[str]
    """Keys whose new values need a restart."""

    def __str__(self) -> str:
        parts = []
        if self.taken:
            parts.append(f"in force now: {', '.join(self.taken)}")
        if self.waiting:
            parts.append(f"in force after a restart: {', '.join(self.waiting)}")
        return "; ".join(parts) or "no setting is another one"


def reread(now: Settings, new: Settings) -> Reread:
    """What changes when these settings are read in the place of those in force."""
    keys = [
        f"{section.name}.{key}"
        for section in msgspec.structs.fields(Settings)
        for key in _other_keys(getattr(now, section.name), getattr(new, section.name))
    ]
    live = {name: getattr(new, name) for name in LIVE}
    return Reread(
        settings=msgspec.structs.replace(now, **live),
        taken=[key for key in keys if key.partition(".")[0] in LIVE],
        waiting=[key for key in keys if key.partition(".")[0] not in LIVE],
    )


def _other_keys(now: msgspec.Struct, new: msgspec.Struct) -> list[str]:
    names = [field.name for field in msgspec.structs.fields(now)]
    return [name for name in names if getattr(now, name) != getattr(new, name)]
