"""What a page is about: a range of time, a client, a host; as it stands in the URL.

Owns the parameters `range`, `from`, `to`, `client`, `host` and the links that keep them. So a view
can be sent to a colleague. Times are µs since the epoch; `until` is not part of the range.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

import msgspec

from pda.times import moment, rfc3339
from pda.web.errors import Refused

MINUTE: Final = 60_000_000
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
RANGES: Final = {"1h": HOUR, "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY}
NAMES: Final = {"1h": "hour", "24h": "24 hours", "7d": "7 days", "30d": "30 days"}
USUAL: Final = "24h"
ALWAYS: Final = "all"
"""The range of lists that are looked through, unless another is asked for."""
_ZONE: Final = re.compile(r"([zZ]|[+-]\d\d:?\d\d|^\d{9,15}|^\d{4}-\d\d-\d\d)$")
"""What needs no zone of its own; a field for a time sends none, and means UTC."""
_LEAST: Final = MINUTE
_MOST: Final = 3660 * DAY
SHORT: Final = 6 * HOUR
"""Up to so long a range is shown to the minute."""
_FINE_STEPS: Final = (MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE)
_STEPS: Final = (HOUR, 3 * HOUR, 6 * HOUR, DAY, 7 * DAY)
_FINE_BUCKETS: Final = 48
_BUCKETS: Final = 90
"""At most so many bars stand side by side; of a short range fewer, as there is less in each."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """The range and the filters of a page."""

    since: int
    until: int
    preset: str = USUAL
    """A key of `RANGES`; empty for a range of one's own."""
    client: str | None = None
    host: str | None = None

    @property
    def length(self) -> int:
        return self.until - self.since

    @property
    def name(self) -> str:
        """As it follows on `last`; empty for a range of one's own."""
        return NAMES.get(self.preset, "")

    def before(self) -> View:
        """The period before, as long as this one."""
        return msgspec.structs.replace(
            self, since=self.since - self.length, until=self.since, preset=""
        )

    def step(self, finest: int = MINUTE) -> int:
        """Length of a bar: round, not finer than `finest`, and not too many of them."""
        if finest < HOUR and self.is_short:
            return next(s for s in _FINE_STEPS if self.length <= s * _FINE_BUCKETS)
        fitting = (s for s in _STEPS if s >= finest and self.length <= s * _BUCKETS)
        return next(fitting, _STEPS[-1])

    @property
    def is_short(self) -> bool:
        """Whether it may be shown to the minute."""
        return self.length <= SHORT

    def parameters(self) -> dict[str, str]:
        """As they stand in a URL."""
        found = {}
        if not self.preset:
            found.update({"from": rfc3339(self.since), "to": rfc3339(self.until)})
        else:
            found["range"] = self.preset
        if self.client is not None:
            found["client"] = self.client
        if self.host is not None:
            found["host"] = self.host
        return found

    def link(self, path: str, **changes: object) -> str:
        """A link that keeps the view; `changes` sets other parameters, None removes one.

        `from_` stands for `from`; a range of one's own takes the place of `range` and vice versa.
        What is usual at that path is left out.
        """
        named = {name.rstrip("_"): value for name, value in changes.items()}
        wanted: dict[str, object] = {**self.parameters()}
        if "range" in named or "from" in named:
            wanted = {k: v for k, v in wanted.items() if k not in ("range", *_TIMES)}
        wanted.update({
            k: rfc3339(v) if k in _TIMES and isinstance(v, int) else v for k, v in named.items()
        })  # fmt: skip
        if wanted.get("range") == usual_of(path):
            del wanted["range"]
        return link(path, wanted)


def link(path: str, parameters: Mapping[str, object]) -> str:
    """A path with those parameters that are not None."""
    kept = {name: value for name, value in parameters.items() if value is not None}
    return f"{path}?{urlencode(kept, safe=':@,')}" if kept else path


def usual_of(path: str) -> str:
    """The range that a page has where the URL names none."""
    listing = path.startswith(("/messages", "/recipients"))
    return ALWAYS if listing else USUAL


_TIMES: Final = frozenset(("from", "to"))


def usual(now: int) -> View:
    """The view of who says nothing."""
    return View(since=now - RANGES[USUAL], until=now)


def read(
    parameters: Mapping[str, str], now: int, own_client: str | None, usual: str = USUAL
) -> View:
    """The view that a URL describes; who may see one client only sees that.

    Raises `Refused` with what is not understood.
    """
    client = own_client if own_client is not None else parameters.get("client")
    if client == _ALL:
        client = None
    since, until, preset = _range(parameters, now, usual)
    return View(
        since=since,
        until=until,
        preset=preset,
        client=client,
        host=parameters.get("host") or None,
    )


_ALL: Final = "*"
"""What a form sends for all clients: the empty id is one."""


def _range(parameters: Mapping[str, str], now: int, usual: str) -> tuple[int, int, str]:
    if parameters.get("from") or parameters.get("to"):
        until = _moment(parameters, "to") or now
        since = _moment(parameters, "from") or until - RANGES[USUAL]
        if not _LEAST <= until - since <= _MOST:
            raise Refused(400, "the range has to begin a minute or more before it ends")
        return since, until, ""
    preset = parameters.get("range") or usual
    if preset == ALWAYS:
        return now - _MOST, now, preset
    if preset not in RANGES:
        raise Refused(400, f"there is no range {preset!r}; there are {', '.join(RANGES)}")
    return now - RANGES[preset], now, preset


def _moment(parameters: Mapping[str, str], name: str) -> int:
    text = parameters.get(name)
    try:
        return moment(text if _ZONE.search(text) else f"{text}Z") if text else 0
    except ValueError as error:
        raise Refused(400, f"parameter {name!r}: {error}") from None
