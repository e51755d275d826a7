"""Syslog headers: when, where, which service, and the text behind them.

Owns every header that reaches a listener or stands in a file: RFC 3164, RFC 3339, RFC 5424, the
original's `MailLogFormat` and what collectors make of them. Knows no clock: the time a line was
received is handed in, and settles the year and the repeated hour of stamps that lack them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TypeVar

from pda.maillog.events import SUBSECOND, ZONED, Header

_MONTHS = {m: n for n, m in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)}
_SECOND = 1_000_000
_DAY = 86_400_000_000
_HOUR = 3_600_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_PRI = re.compile(r"<\d{1,3}>")
# 2025-09-01T10:00:00.123456+02:00, any fraction, any offset form (RFC 3339, ISO 8601).
_ISO = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)[T ](?P<time>\d\d:\d\d:\d\d)(?:[.,](?P<fraction>\d+))?"
    r"(?P<offset>Z|[+-]\d\d(?::?\d\d)?)?(?P<year>(?!))? "
)
# 2025 Sep 01 10:00:00.123: the original's template. It cuts out characters 12 to 23 of an RFC 3339
# stamp, which are part of the offset when the clock has no fraction.
_MAIL_LOG_FORMAT = re.compile(
    r"(?P<day>\d{4} [A-Z][a-z]{2} [ \d]?\d) (?P<time>\d\d:\d\d:\d\d)"
    r"(?:\.(?P<fraction>\d+))?(?P<offset>Z|[+-]\d\d(?::\d{0,2})?)?(?P<year>(?!))? "
)
# Sep  1 10:00:00 (RFC 3164), zero-padded by postlogd, not padded by some, with the year behind it
# by ctime().
_BSD = re.compile(
    r"(?P<day>[A-Z][a-z]{2} [ \d]?\d) (?P<time>\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d+))?"
    r"(?P<offset>(?!))?(?P<year> \d{4})? "
)
# RFC 5424 §6, with PRI taken off: VERSION SP TIMESTAMP SP HOSTNAME SP APP-NAME SP PROCID SP MSGID.
_RFC5424 = re.compile(
    r"1 (?P<stamp>\S+ )(?P<hostname>\S+) (?P<tag>\S+) (?P<procid>\S+) \S+ "
    r"(?:-|(?:\[(?:[^\]\"\\]|\\.|\"(?:[^\"\\]|\\.)*\")*\])+) ?(?P<text>.*)",
    re.DOTALL,
)
# A host name has neither `[` nor `/` and ends in a letter or digit (rsyslog's pmrfc3164.c): what
# ends in `:` or `]` is the tag already. metalog puts the tag in brackets and has no host.
_HOST_AND_TAG = re.compile(
    r" *(?:(?P<hostname>[A-Za-z0-9._:-]*[A-Za-z0-9]) +(?:[a-z0-9]+\.[a-z]+ (?=\S+: ))?)?"
    r"(?:(?P<tag>[^\s\[\]:]+)(?:\[(?P<procid>\d+)\])?:(?: |$)|\[(?P<metalog>[^\s\[\]:]+)\] )"
    r"(?P<text>.*)",
    re.DOTALL,
)
# rsyslog's own forward templates cut the tag at 32 characters (`%syslogtag:1:32%`).
_CUT_TAG = re.compile(
    r" *(?:(?P<hostname>[A-Za-z0-9._:-]*[A-Za-z0-9]) )?(?=\S{32} )"
    r"(?P<tag>[^\s\[\]:]+)(?:\[(?P<procid>\d*)\]?)? (?P<text>.*)",
    re.DOTALL,
)
_STAMPS = (_ISO, _MAIL_LOG_FORMAT, _BSD)
_WHOLE = {stamp: re.compile(stamp.pattern + _HOST_AND_TAG.pattern, re.DOTALL) for stamp in _STAMPS}
"""The usual line in one match: a stamp, then host and tag."""
_ZGREP = re.compile(r"[^\s:]+:(?=[A-Z][a-z]{2} [ \d]?\d \d\d:|\d{4}[- ])")
_SOLARIS = re.compile(r"\[ID \d+ \w+\.\w+\] ")
_REPEATED = re.compile(r"message repeated (\d{1,9}) times: \[ (.*?)\]?$", re.DOTALL)
_LATEST = _DAY * 365 * 200
"""Some time in 2169; no log is of before 1970 either."""
_SEVERITIES = frozenset("EMERG ALERT CRIT ERR ERROR WARN WARNING NOTICE INFO DEBUG".split())
_CACHE = 20_000
_SHORTEST_STAMP = len("Sep 1 10:00:00")
_STAMP_PARTS = ("time", "fraction", "offset", "year")
_MORE_IN_TEXT = (" ", "[ID ", "message repeated ")

_T = TypeVar("_T")


class HeaderReader:
    """Reads headers of one source: its zone for stamps without one, its mail host if they lack it.

    It remembers the stamps, hosts and tags it has just read, nothing that would change an answer.
    """

    def __init__(self, zone: tzinfo = UTC, hostname: str = "") -> None:
        self._zone = zone
        self._hostname = hostname
        self._hour = -1
        self._seconds: dict[str, tuple[int, int]] = {}
        self._sources: dict[str, tuple[str, str, str, int | None]] = {}

    def read(self, line: str, received_at: int) -> Header | None:
        """The header and text of a line; None where there is no header.

        `received_at` in µs since the epoch: for a file, when its last line was written.
        """
        line = line.strip("\r\n\0")
        start = 0
        if line.startswith("<") and (pri := _PRI.match(line)):
            start = pri.end()
            if line.startswith("1 ", start):
                return self._rfc5424(line[start:], received_at)
        return self._usual(line, start, received_at) or self._legacy(line, start, received_at)

    def _usual(self, line: str, start: int, received_at: int) -> Header | None:
        """A line in a common form, of a host and process that were read before."""
        end, colon = _bounds(line, start)
        source = self._sources.get(line[end + 1 : colon])
        if source is None or colon < 0:
            return None
        time = self._usual_time(line[start:end], received_at)
        text = line[colon + 2 :]
        if time is None or text.startswith(_MORE_IN_TEXT):
            return None
        at, grade = time
        hostname, syslog_name, program, procid = source
        return Header(at, grade, hostname, syslog_name, program, procid, text)

    def _usual_time(self, stamp: str, received_at: int) -> tuple[int, int] | None:
        """µs since the epoch, and the grade; a second is read once."""
        if received_at // _HOUR != self._hour:
            self._hour = received_at // _HOUR
            self._seconds.clear()
        # As far as the fraction has at most six digits; with more of them `whole` has no form.
        whole, _, rest = stamp.partition(".")
        whole, fraction = (whole + rest[6:], rest[:6]) if rest else (stamp, "")
        second = self._seconds.get(whole)
        if second is None:
            form = _form(whole, 0)
            found = form.fullmatch(f"{whole} ") if form else None
            if found is None:
                return None
            second = self._time(found, received_at)
            _keep(self._seconds, whole, second)
        if not fraction:
            return second
        if not fraction.isdecimal():
            return None
        return second[0] + int(fraction.ljust(6, "0")), second[1] | SUBSECOND

    def _legacy(self, line: str, start: int, received_at: int) -> Header | None:
        form = _form(line, start)
        if form is None:
            return self._without_stamp(line, start, received_at)
        found = _WHOLE[form].match(line, start)
        if found is None:
            return self._unusual(form, line, start, received_at)
        at, grade = self._time(found, received_at)
        header = self._header(at, grade, found)
        self._remember(found, start, header)
        return header

    def _remember(self, found: re.Match[str], start: int, header: Header) -> None:
        """For the next line of this host and process."""
        line = found.string
        end, colon = _bounds(line, start)
        stamp_end = max(map(found.end, _STAMP_PARTS))
        if (stamp_end, found.start("text")) == (end, colon + 2):
            source = header.hostname, header.syslog_name, header.program, header.procid
            _keep(self._sources, line[end + 1 : colon], source)

    def _unusual(
        self, form: re.Pattern[str], line: str, start: int, received_at: int
    ) -> Header | None:
        """A second stamp behind a collector's own (which knows the zone), or a tag cut short."""
        stamp = form.match(line, start)
        if stamp is None:
            return self._without_stamp(line, start, received_at)
        end = stamp.end()
        second = _form(line, end)
        inner = second.match(line, end) if second else None
        if inner is not None:
            end = inner.end()
        found = _HOST_AND_TAG.match(line, end) or _CUT_TAG.match(line, end)
        if found is None:
            return None
        return self._header(*self._time(stamp, received_at), found)

    def _without_stamp(self, line: str, start: int, received_at: int) -> Header | None:
        prefix = _ZGREP.match(line, start)
        if prefix is not None:
            return self._legacy(line, prefix.end(), received_at)
        if not start:
            return None
        # RFC 3164 §4.3.2: a packet without a stamp counts as sent when it was received.
        found = _HOST_AND_TAG.match(line, start)
        return None if found is None else self._header(received_at, ZONED | SUBSECOND, found)

    def _rfc5424(self, line: str, received_at: int) -> Header | None:
        found = _RFC5424.match(line)
        if found is None:
            return None
        stamp = _ISO.match(found["stamp"])
        if stamp is None and found["stamp"] != "- ":
            return None
        at, grade = self._time(stamp, received_at) if stamp else (received_at, ZONED | SUBSECOND)
        hostname, tag, procid = (_nil(found[name]) for name in ("hostname", "tag", "procid"))
        text = found["text"].removeprefix("\ufeff").removeprefix(" ").removeprefix("\ufeff")
        return self._make(at, grade, (hostname, tag, procid), text)

    def _header(self, at: int, grade: int, found: re.Match[str]) -> Header:
        hostname, tag, procid = found.group("hostname", "tag", "procid")
        if tag is None:
            tag = found["metalog"]
        if hostname is None or hostname in _SEVERITIES:
            hostname = ""
        return self._make(at, grade, (hostname, tag, procid), found["text"])

    def _make(self, at: int, grade: int, who: tuple[str, str, str | None], text: str) -> Header:
        hostname, tag, procid = who
        syslog_name, _, program = tag.rpartition("/")
        if text.startswith(" "):
            text = text.lstrip(" ")
        if text.startswith("[ID "):
            text = _SOLARIS.sub("", text, count=1)
        repeat = 0
        if text.startswith("message repeated "):
            repeat, text = _repeated(text)
        pid = int(procid) if procid and procid.isdecimal() and len(procid) <= 10 else None
        return Header(
            at, grade, hostname or self._hostname, syslog_name, program, pid, text, repeat
        )

    def _time(self, stamp: re.Match[str], received_at: int) -> tuple[int, int]:
        """µs since the epoch, and the grade, of a stamp."""
        day, time, fraction, offset, year = stamp.group("day", "time", "fraction", "offset", "year")
        if year:
            day += year
        at = self._second(day, time, offset, received_at)
        if not 0 <= at < _LATEST:  # a moment that cannot be; the line counts as just received
            at = received_at // _SECOND * _SECOND
        grade = ZONED if offset and len(offset) != 4 else 0
        if not fraction:
            return at, grade
        return at + int(fraction[:6].ljust(6, "0")), grade | SUBSECOND

    def _second(self, day: str, time: str, offset: str | None, received_at: int) -> int:
        hour, minute, second = int(time[:2]), int(time[3:5]), min(int(time[6:]), 59)
        try:
            if day[:4].isdecimal():
                date = _date_with_year(day)
                local = datetime(*date, hour, minute, second)  # noqa: DTZ001 zone follows
            elif len(day) > 6:
                date = int(day[-4:]), _MONTHS[day[:3]], int(day[4:-5])
                local = datetime(*date, hour, minute, second)  # noqa: DTZ001 zone follows
            else:
                return self._yearless(day, (hour, minute, second), received_at)
        except (ValueError, KeyError):
            return received_at // _SECOND * _SECOND
        if offset and len(offset) != 4:
            return _micros(local.replace(tzinfo=UTC)) - _offset(offset)
        return self._in_zone(local, received_at)

    def _yearless(self, day: str, time: tuple[int, int, int], received_at: int) -> int:
        """The latest year that does not put the stamp more than a day after its reception."""
        month, number = _MONTHS[day[:3]], int(day[4:])
        latest = _EPOCH + timedelta(microseconds=received_at + _DAY)
        for year in range(latest.year + 1, max(latest.year - 9, 1), -1):
            try:
                local = datetime(year, month, number, *time)  # noqa: DTZ001 zone follows
            except ValueError:  # 29 February belongs to a leap year
                continue
            at = self._in_zone(local, received_at)
            if at <= received_at + _DAY:
                return at
        raise ValueError(day)

    def _in_zone(self, local: datetime, received_at: int) -> int:
        """A local time; in the hour that a clock change repeats, the one nearest to reception."""
        first = _micros(local.replace(tzinfo=self._zone))
        again = _micros(local.replace(tzinfo=self._zone, fold=1))
        return min(first, again, key=lambda at: abs(received_at - at))


def _bounds(line: str, start: int) -> tuple[int, int]:
    """Where the stamp and the tag of a usual line end: at a blank, and at a colon and a blank."""
    end = line.find(" ", start + _SHORTEST_STAMP)
    return end, line.find(": ", end + 1)


def _keep(memory: dict[str, _T], key: str, value: _T) -> None:
    if len(memory) >= _CACHE:
        memory.clear()
    memory[key] = value


def _form(line: str, start: int) -> re.Pattern[str] | None:
    """Which stamp a line seems to begin with."""
    head = line[start : start + 5]
    if head[:1].isdecimal():
        return _ISO if head[4:] == "-" else _MAIL_LOG_FORMAT
    return _BSD if head[:3] in _MONTHS else None


def _date_with_year(day: str) -> tuple[int, int, int]:
    if day[4] == "-":
        return int(day[:4]), int(day[5:7]), int(day[8:])
    return int(day[:4]), _MONTHS[day[5:8]], int(day[9:])


def _offset(text: str) -> int:
    """µs east of UTC of `Z`, `+02:00`, `+0200` or `+02`."""
    if text == "Z":
        return 0
    digits = text[1:].replace(":", "")
    minutes = int(digits[:2]) * 60 + int(digits[2:] or 0)
    return (-minutes if text[0] == "-" else minutes) * 60_000_000


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _nil(value: str) -> str:
    """RFC 5424's NILVALUE `-` stands for nothing."""
    return "" if value == "-" else value


def _repeated(text: str) -> tuple[int, str]:
    found = _REPEATED.match(text)
    return (int(found[1]), found[2]) if found else (0, text)
