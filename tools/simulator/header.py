"""What stands in front of the text: one function for each form a log or a listener may see."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Final, TypeAlias

from tools.simulator.plan import SECOND

Line: TypeAlias = tuple[int, str, str, str]
"""When (µs since the epoch), host, tag with its colon, text."""

TAG_LIMIT: Final = 32
"""RSYSLOG_ForwardFormat forwards `%syslogtag:1:32%`."""


def rfc3339(at: datetime) -> tuple[str, str]:
    """The whole second, and the offset from UTC."""
    text = at.isoformat(timespec="seconds")
    return text[:19], text[19:]


def rfc3164(at: datetime) -> str:
    """Without year and zone; the day padded with a blank."""
    return f"{at:%b} {at.day:2d} {at:%H:%M:%S}"


def pri(text: str) -> int:
    """Facility mail; severity warning where Postfix says so, else info."""
    return 20 if text.startswith("warning:") else 22


@lru_cache(maxsize=1024)
def app_name_and_procid(tag: str) -> str:
    """RFC 5424 has a field for each half of a tag."""
    name, _, procid = tag.rstrip(":").partition("[")
    return f"{name} {procid.rstrip(']') or '-'}"


Write: TypeAlias = Callable[[Iterable[Line]], list[str]]


def writer(form: str, zone: tzinfo) -> Write:
    """The function that writes lines in one of `plan.FORMATS`; clock times in that zone."""

    @lru_cache(maxsize=8)
    def bsd(second: int) -> str:
        return rfc3164(datetime.fromtimestamp(second, zone))

    @lru_cache(maxsize=8)
    def original(second: int) -> str:
        return f"{datetime.fromtimestamp(second, zone):%Y %b %d %H:%M:%S}"

    begin, head, offset = -SECOND, "", ""

    def stamp(at: int) -> str:
        nonlocal begin, head, offset
        if not 0 <= at - begin < SECOND:
            begin = at - at % SECOND
            head, offset = rfc3339(datetime.fromtimestamp(begin // SECOND, zone))
        return f"{head}.{at - begin:06d}{offset}"

    forms: dict[str, Write] = {
        "rfc3339": lambda lines: [
            f"{stamp(at)} {host} {tag} {text}" for at, host, tag, text in lines
        ],
        "rfc3164": lambda lines: [
            f"{bsd(at // SECOND)} {host} {tag} {text}" for at, host, tag, text in lines
        ],
        "maillog": lambda lines: [
            f"{original(at // SECOND)}.{at % SECOND // 1000:03d} {host} {tag} {text}"
            for at, host, tag, text in lines
        ],
        "rfc5424": lambda lines: [
            f"<{pri(text)}>1 {stamp(at)} {host} {app_name_and_procid(tag)} - - {text}"
            for at, host, tag, text in lines
        ],
        "forward": lambda lines: [
            f"<{pri(text)}>{stamp(at)} {host} {tag[:TAG_LIMIT]} {text}"
            for at, host, tag, text in lines
        ],
        "traditional-forward": lambda lines: [
            f"<{pri(text)}>{bsd(at // SECOND)} {host} {tag[:TAG_LIMIT]} {text}"
            for at, host, tag, text in lines
        ],
    }
    return forms[form]
