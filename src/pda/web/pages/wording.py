"""How values are written on pages: times, numbers, sizes, parts of addresses.

Owns the filters of the templates. A narrow no-break space stands before units and between
thousands. Knows no page.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from markupsafe import Markup

_THIN: Final = "\N{NARROW NO-BREAK SPACE}"
_UNITS: Final = (("day", 86400), ("hour", 3600), ("minute", 60))


def utc(at: int) -> str:
    """µs since the epoch, to the second."""
    return f"{datetime.fromtimestamp(at // 1_000_000, UTC):%Y-%m-%d %H:%M:%S}"


def stamp(at: int) -> Markup:
    """A moment as an element: UTC here, in the viewer's zone where scripts run, exact on hover."""
    exact = _exact(at)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(exact, exact, utc(at))


def _exact(at: int) -> str:
    return f"{utc(at).replace(' ', 'T')}.{at % 1_000_000:06}Z"


def bar(at: int) -> Markup:
    """When a bar of a chart begins: a whole minute."""
    text = utc(at)[:16]
    return Markup('<time datetime="{}Z">{}</time>').format(text.replace(" ", "T"), text)


def ago(at: int) -> str:
    """How long ago, in the largest unit that fits."""
    seconds = max(0, int(time.time() - at / 1_000_000))
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{counted(seconds // length, unit)} ago"
    return f"{seconds} s ago"


def since(at: int) -> Markup:
    """How long ago, as an element: exact on hover."""
    return Markup('<time data-ago datetime="{}" title="{}">{}</time>').format(
        _exact(at), _exact(at), ago(at)
    )


def counted(count: int, unit: str) -> str:
    """A number with its noun."""
    if count != 1:
        unit = f"{unit[:-1]}ies" if unit.endswith("y") and unit != "day" else f"{unit}s"
    return f"{number(count)} {unit}"


def number(value: float) -> str:
    """With thin spaces between thousands; a fraction only below ten."""
    text = f"{value:,.1f}" if value < 10 and value != int(value) else f"{value:,.0f}"
    return text.replace(",", _THIN)


def rate(value: float) -> str:
    """How many a second; what is not nothing is not shown as nothing."""
    return "< 0.1" if 0 < value < 0.05 else number(round(value, 1))


def percent(value: float) -> str:
    """One digit after the point; never rounded up to all."""
    return f"{min(value, 99.9) if value < 100 else value:.1f}{_THIN}%"


def change(now: float, before: float) -> str:
    """By how much a number differs from that of the period before."""
    if not before:
        return "new" if now else "as before"
    share = 100 * (now - before) / before
    if abs(share) < 0.5:
        return "as before"
    if share > 999:
        return f"×{_THIN}{now / before:.0f}"
    return f"{'+' if share > 0 else '−'}{abs(share):.0f}{_THIN}%"


def points(now: float, before: float) -> str:
    """By how many percentage points a rate differs from that of the period before."""
    gap = now - before
    if abs(gap) < 0.05:
        return "as before"
    return f"{'+' if gap > 0 else '−'}{abs(gap):.1f}{_THIN}pp"


def seconds(value: float) -> str:
    """A duration in the unit that makes it short."""
    if value < 0.0005:
        return f"0{_THIN}s"
    for least, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if value >= least:
            return f"{number(round(value / least, 1))}{_THIN}{unit}"
    return f"{value * 1000:.0f}{_THIN}ms"


def octets(value: float) -> str:
    """In the unit that makes it short."""
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f}{_THIN}{unit}"
        value /= 1024
    return f"{value:.1f}{_THIN}GiB"


def segment(text: str) -> str:
    """A text as one segment of a path."""
    return quote(text, safe="")


FILTERS: Final = {
    "utc": utc,
    "stamp": stamp,
    "bar": bar,
    "ago": since,
    "counted": counted,
    "number": number,
    "percent": percent,
    "rate": rate,
    "seconds": seconds,
    "octets": octets,
    "segment": segment,
}
