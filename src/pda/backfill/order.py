"""Which files are meant, and which of them is the older one.

Owns what rotation makes of names: numbers (`mail.log.12.gz`), dates (logrotate's `dateext`,
postlogd's `.YYYYMMDD-hhmmss`), both in one folder. Opens nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from glob import glob, has_magic
from pathlib import Path
from typing import NamedTuple

_DAY = 86_400_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PACKED = re.compile(r"\.(?:gz|bz2|xz|zst)$")
# More than five digits are a date.
_NUMBER = re.compile(r"\.(\d{1,5})$")
# 20260131, 2026-01-31; behind it a time (postlogd: -hhmmss), an hour, or the epoch (-%s).
_DATE = re.compile(
    r"(?<!\d)(?P<day>(?:19|20)\d\d(?P<dash>-?)[01]\d(?P=dash)[0-3]\d)"
    r"(?:-?(?P<clock>\d{6}|\d{4}|\d{2})(?!\d)|-(?P<epoch>\d{9,10})(?!\d)|(?!\d))"
)


class Found(NamedTuple):
    """A file's place in the order; the smallest is the oldest."""

    at: int
    """µs since the epoch."""
    number: int
    """Its rotation, negative."""
    name: str


def expanded(paths: Iterable[Path], pattern: str) -> list[Path]:
    """Directories become what in them has such a name, patterns what they match; each file once.

    What matches nothing stays, for whoever opens it to tell.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            some = [one for one in path.glob(pattern) if not one.is_dir()] or [path]
        elif has_magic(str(path)) and not path.exists():
            some = [Path(name) for name in glob(str(path))] or [path]  # noqa: PTH207 any folder
        else:
            some = [path]
        found |= dict.fromkeys(some)
    return list(found)


def oldest_first(paths: Iterable[Path]) -> list[Path]:
    """In the order in which they were written, as far as names and modification times tell.

    Of one log a greater number is older, whatever the times; dates count before times.
    """
    logs: dict[tuple[Path, str], list[tuple[Found, Path]]] = {}
    for path in paths:
        base, number = _base(path.name)
        named, modified = named_time(path.name), _modified(path)
        found = Found(modified if named is None else named, -number, path.name)
        logs.setdefault((path.parent, base), []).append((found, path))
    ordered = [one for log in logs.values() for one in _by_number(log)]
    return [path for _, path in sorted(ordered)]


def _by_number(log: list[tuple[Found, Path]]) -> Iterator[tuple[Found, Path]]:
    """A file with a number is no younger than those with a smaller one, the log itself than any."""
    dated = [one for one in log if named_time(one[1].name) is not None]
    yield from dated
    newest = max((found.at + 1 for found, _ in dated), default=0)
    at: int | None = None
    for found, path in sorted(set(log) - set(dated), key=lambda one: one[0].number, reverse=True):
        own = found.at if found.number else max(found.at, newest)
        at = own if at is None else min(at, own)
        yield found._replace(at=at), path


def newest_within(paths: list[Path], budget: int) -> list[Path]:
    """Of files in order, the newest ones whose sizes together stay within so many octets."""
    kept: list[Path] = []
    for path in reversed(paths):
        budget -= size(path)
        if budget < 0:
            break
        kept.insert(0, path)
    return kept


def named_time(name: str) -> int | None:
    """When a file was rotated, by the date in its name: the end of that day, or its time."""
    found = _dated(name)
    return found[0] if found else None


def _dated(name: str) -> tuple[int, str] | None:
    """That moment, and the name without it."""
    plain = _PACKED.sub("", name)
    for found in reversed(list(_DATE.finditer(plain))):
        at = _moment(found)
        if at is not None:
            return at, plain[: found.start()] + plain[found.end() :]
    return None


def _moment(found: re.Match[str]) -> int | None:
    if found["epoch"]:
        return int(found["epoch"]) * 1_000_000
    clock = (found["clock"] or "").ljust(6, "0")
    try:
        at = datetime.strptime(found["day"].replace("-", "") + clock + "Z", "%Y%m%d%H%M%S%z")
    except ValueError:
        return None
    micros = (at - _EPOCH) // timedelta(microseconds=1)
    return micros if found["clock"] else micros + _DAY - 1


def size(path: Path) -> int:
    """Octets; opening tells what is wrong with a file that has none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _base(name: str) -> tuple[str, int]:
    """The log that a file was rotated from, and how often that was."""
    if dated := _dated(name):
        return dated[1].rstrip("-._"), 0
    plain = _PACKED.sub("", name)
    found = _NUMBER.search(plain)
    return (plain[: found.start()], int(found[1])) if found else (plain, 0)


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns // 1000
    except OSError:
        return 0
