"""Syslog headers: when, where, which service, and the text behind them.

Owns every header that reaches a listener or stands in a file: RFC 3164, RFC 3339, RFC 5424, the
original's `MailLogFormat` and what collectors make of them. Knows no clock: the time a line was
received is handed in, and settles the year and the repeated hour of stamps that lack them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TypeVar

import msgspec

from pda.maillog.events import SUBSECOND, ZONED, Header

_WEEKDAYS = frozenset("Mon Tue Wed Thu Fri Sat Sun".split())
_MONTHS = {m: n for n, m in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)}
_SECOND = 1_000_000
_DAY = 86_400_000_000
_HOUR = 3_600_000_000
_MINUTE = 60_000_000
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
# Sep  1 10:00:00 (RFC 3164), zero-padded by postlogd, not padded by some, with the day of the week
# before it and the year behind it by ctime().
_BSD = re.compile(
    r"(?:[A-Z][a-z]{2} (?=[A-Z]))?(?P<day>[A-Z][a-z]{2} [ \d]?\d) (?P<time>\d\d:\d\d:\d\d)"
    r"(?:\.(?P<fraction>\d+))?(?P<offset>(?!))?(?P<year> \d{4})? "
)
# RFC 5424 §6, with PRI taken off: VERSION SP TIMESTAMP SP HOSTNAME SP APP-NAME SP PROCID SP MSGID.
_RFC5424 = re.compile(
    r"1 (?P<stamp>\S+ )(?P<hostname>\S+) (?P<tag>\S+) (?P<procid>\S+) \S+ "
    r"(?:-|(?:\[(?:[^\]\"\\]|\\.|\"(?:[^\"\\]|\\.)*\")*\])+) ?(?P<text>.*)",
    re.DOTALL,
)
# A host name has neither `[` nor `/` and ends in a letter or digit (rsyslog's pmrfc3164.c): what
# ends in `:` or `]` is the tag already. metalog puts the tag in brackets and has no host. There is
# no blank behind the tag where a template joins it to a text out of the journal.
_HOST_AND_TAG = re.compile(
    r" *(?:(?P<hostname>[A-Za-z0-9._:-]*[A-Za-z0-9]) +(?:[a-z0-9]+\.[a-z]+ (?=\S+: ))?)?"
    r"(?:(?P<tag>[^\s\[\]:]+)(?:\[(?P<procid>\d+)\]: ?|:(?: |$))|\[(?P<metalog>[^\s\[\]:]+)\] )"
    r"(?P<text>.*)",
    re.DOTALL,
)
# rsyslog's own forward templates cut the tag at 32 characters (`%syslogtag:1:32%`).
_CUT_TAG = re.compile(
    r" *(?:(?P<hostname>[A-Za-z0-9._:-]*[A-Za-z0-9]) )?(?=\S{32} )"
    r"(?P<tag>[^\s\[\]:]+)(?:\[(?P<procid>\d*)\]?)? (?P<text>.*)",
    re.DOTALL,
)
_STAMP = r"(?=(?:[A-Z][a-z]{2} )?[A-Z][a-z]{2} [ \d]?\d \d\d:|\d{4}-\d\d-|\d{4} [A-Z])"
# A collector writes its own stamp, or that and a host, in front of the line as it came.
_COLLECTOR = re.compile(rf"(?:[A-Za-z0-9._:-]*[A-Za-z0-9] )?{_STAMP}")
_STAMPS = (_ISO, _MAIL_LOG_FORMAT, _BSD)
_WHOLE = {stamp: re.compile(stamp.pattern + _HOST_AND_TAG.pattern, re.DOTALL) for stamp in _STAMPS}
"""The usual line in one match: a stamp, then host and tag."""
_ZGREP = re.compile(rf"[^\s:]+:{_STAMP}")
_PROCID = re.compile(r"[0-9]{1,10}")
_SOLARIS = re.compile(r"\[ID \d+ \w+\.\w+\] ")
_REPEATED = re.compile(r"message repeated (\d{1,9}) times: \[ (.*?)\]?$", re.DOTALL)
_LATEST = _DAY * 365 * 200
"""Some time in 2169; no log is of before 1970 either."""
_SEVERITIES = frozenset("EMERG ALERT CRIT ERR ERROR WARN WARNING NOTICE INFO DEBUG".split())
_CACHE, _SECONDS = 20_000, 2000
"""Of what comes again, and of seconds, which do so for a short while only."""
_STAMP_PARTS = ("time", "fraction", "offset", "year")
_SCALES: list[int] = [10 ** (6 - digits) for digits in range(7)]
"""µs of the last of so many digits."""
MILLIS = {f"{n:03}": n * 1000 for n in range(1000)}
"""µs of three digits behind a second's point, as most stamps have them that have any."""
_MORE_IN_TEXT = (" ", "[ID ", "message repeated ")
"""What a text begins with that is more than what the program wrote."""

_K = TypeVar("_K")
_T = TypeVar("_T")


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Who writes, as far as the header says."""

    seconds: dict[str, int]
    """When those seconds began that stamps in front of it name: µs since the epoch."""
    minutes: dict[str, int]
    """The same of minutes, and of hours where they are alike in all."""
    grade: int
    hostname: str
    syslog_name: str
    program: str


class HeaderReader:
    """Reads headers of one source: its zone for stamps without one, its mail host if they lack it.

    It remembers the stamps, hosts and tags it has just read, nothing that would change an answer.
    """

    def __init__(self, zone: tzinfo = UTC, hostname: str = "") -> None:
        self._zone = zone
        self._hostname = hostname
        self._hour = -1
        self._stamps: dict[str, tuple[dict[str, int], dict[str, int]]] = {}
        """By zone, as it stands behind the stamp: see `Origin`."""
        self._minutes: dict[tuple[str, str, str | None, str | None], int] = {}
        self.origins: dict[str, Origin] = {}
        """Those read before, by what stands between a stamp and `[PID]: `."""

    def read(self, line: str, received_at: int) -> Header | None:
        """The header and text of a line; None where there is no header.

        `received_at` in µs since the epoch: for a file, when its last line was written.
        """
        self.begin(received_at)
        line = line.strip("\r\n\0")
        pri = _PRI.match(line) if line.startswith("<") else None
        if pri is None:
            return self._legacy(line, received_at, is_packet=False)
        line = line[pri.end() :]
        if line.startswith("1 "):
            return self._rfc5424(line, received_at)
        return self._legacy(line, received_at, is_packet=True)

    def begin(self, received_at: int) -> bool:
        """Before the first line that was received at that time; whether it forgot all it knew."""
        if received_at // _HOUR == self._hour:
            return False
        # What time a stamp without zone or year stands for depends on it.
        self._hour = received_at // _HOUR
        self._stamps.clear()
        self._minutes.clear()
        self.origins.clear()
        return True

    def of_known(self, before: Sequence[str], behind: str, received_at: int) -> Header | None:
        """The header of a line whose origin is known; None where it is to be read as a whole.

        `before` its process id: the stamp, its fraction, the key of the origin; `behind` all.
        """
        stamp, fraction, who = before
        origin = self.origins[who]
        procid, _, text = behind[1:].partition("]: ")
        if not _PROCID.fullmatch(procid) or not text or text.startswith(_MORE_IN_TEXT):
            return None
        at = origin.seconds.get(stamp) or self.new_second(origin, before, received_at)
        if at is None:
            return None
        grade = origin.grade
        if fraction:
            at, grade = at + micros(fraction), grade | SUBSECOND
        hostname, syslog_name, program = origin.hostname, origin.syslog_name, origin.program
        return Header(at, grade, hostname, syslog_name, program, int(procid), text)

    def new_second(self, origin: Origin, before: Sequence[str], received_at: int) -> int | None:
        """When the second began that a stamp names: µs since the epoch; None if that is no stamp.

        What stands `before` the process id: the stamp, its fraction, the key of the origin, ….
        """
        stamp, who = before[0], before[2]
        minute = origin.minutes.get(stamp[:-2])
        if minute is None:
            minute = self._new_minute(origin, stamp, who, received_at)
            if minute is None:
                return None
            _keep(origin.minutes, stamp[:-2], minute)
        second = minute + int(stamp[-2:]) * _SECOND
        _keep(origin.seconds, stamp, second, _SECONDS)
        return second

    def _new_minute(self, origin: Origin, stamp: str, who: str, received_at: int) -> int | None:
        hour, number = stamp[:-5], int(stamp[-5:-3])
        begun = origin.minutes.get(hour)
        if begun is None and (begun := self._even_hour(hour, who, received_at)) is not None:
            _keep(origin.minutes, hour, begun)
        if begun is None or number >= 60:
            return self._begin_of(stamp, who, received_at)
        return begun + number * _MINUTE

    def _even_hour(self, hour: str, who: str, received_at: int) -> int | None:
        """When an hour began in which no clock is changed, and all of which is in one year.

        Clocks are changed at a full or half hour.
        """
        minutes = (f"{hour}{minute}:00" for minute in ("00", "30", "59"))
        begun, half, last = (self._begin_of(one, who, received_at) for one in minutes)
        if begun is None or (half, last) != (begun + 30 * _MINUTE, begun + 59 * _MINUTE):
            return None
        return begun

    def _begin_of(self, stamp: str, who: str, received_at: int) -> int | None:
        """When a stamp's minute began; None if that is no stamp, or of no moment."""
        form = _form(stamp)
        found = form.match(f"{stamp}{who}") if form else None
        if found is None or found.end("time") != len(stamp):
            return None
        begun = self._minute_of(found, received_at)
        return begun if 0 <= begun < _LATEST - 2 * _HOUR else None

    def _remember(self, found: re.Match[str], header: Header) -> None:
        """For the next line of this host and program."""
        line, fraction = found.string, found["fraction"]
        begin = found.end("fraction") if fraction else found.end("time")
        if header.procid is None or found.end("procid") + 3 != found.start("text"):
            return
        # A fraction has at most six digits, else it is none of µs.
        if (fraction and len(fraction) > 6) or line[begin - 1 : begin + 1].isdecimal():
            return
        zone = line[begin : max(map(found.end, _STAMP_PARTS))]
        origin = Origin(
            *self._stamps.setdefault(zone, ({}, {})),
            header.grade & ZONED,
            header.hostname,
            header.syslog_name,
            header.program,
        )
        _keep(self.origins, line[begin : found.start("procid") - 1], origin)

    def _legacy(self, line: str, received_at: int, *, is_packet: bool) -> Header | None:
        form = _form(line)
        if form is None:
            return self._without_stamp(line, received_at, is_packet=is_packet)
        found = _WHOLE[form].match(line)
        if found is None:
            return self._unusual(form, line, received_at, is_packet=is_packet)
        header = self._header(*self._time(found, received_at), found)
        self._remember(found, header)
        return header

    def _unusual(
        self, form: re.Pattern[str], line: str, received_at: int, *, is_packet: bool
    ) -> Header | None:
        """A second stamp behind a collector's own, or a tag cut short."""
        stamp = form.match(line)
        if stamp is None:
            return self._without_stamp(line, received_at, is_packet=is_packet)
        end = stamp.end()
        own = _COLLECTOR.match(line, end)
        second = _form(line[own.end() :]) if own else None
        inner = second.match(line, own.end()) if own and second else None
        if inner is not None:
            end = inner.end()
            stamp = _better(stamp, inner)
        found = _HOST_AND_TAG.match(line, end) or _CUT_TAG.match(line, end)
        if found is None:
            return None
        return self._header(*self._time(stamp, received_at), found)

    def _without_stamp(self, line: str, received_at: int, *, is_packet: bool) -> Header | None:
        prefix = _ZGREP.match(line)
        if prefix is not None:
            return self._legacy(line[prefix.end() :], received_at, is_packet=is_packet)
        if not is_packet:
            return None
        # RFC 3164 §4.3.2: a packet without a stamp counts as sent when it was received.
        found = _HOST_AND_TAG.match(line)
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
        time, fraction, offset = stamp.group("time", "fraction", "offset")
        at = self._minute_of(stamp, received_at) + min(int(time[6:]), 59) * _SECOND
        if not 0 <= at < _LATEST:  # a moment that cannot be; the line counts as just received
            at = received_at // _SECOND * _SECOND
        grade = ZONED if _is_zone(offset) else 0
        if not fraction:
            return at, grade
        return at + micros(fraction[:6]), grade | SUBSECOND

    def _minute_of(self, stamp: re.Match[str], received_at: int) -> int:
        """When its minute began: µs since the epoch, less than none where that cannot be."""
        day, time, offset, year = stamp.group("day", "time", "offset", "year")
        key = day, time[:5], offset, year
        minute = self._minutes.get(key)  # no zone changes its offset within one
        if minute is None:
            minute = self._minute(day + (year or ""), time, offset, received_at)
            _keep(self._minutes, key, minute)
        return minute

    def _minute(self, day: str, time: str, offset: str | None, received_at: int) -> int:
        hour, minute = int(time[:2]), int(time[3:5])
        try:
            if day[:4].isdecimal():
                date = _date_with_year(day)
                local = datetime(*date, hour, minute)  # noqa: DTZ001 zone follows
            elif len(day) > 6:
                date = int(day[-4:]), _MONTHS[day[:3]], int(day[4:-5])
                local = datetime(*date, hour, minute)  # noqa: DTZ001 zone follows
            else:
                return self._yearless(day, (hour, minute), received_at)
        except (ValueError, KeyError):
            return -_DAY
        if offset and _is_zone(offset):
            return _micros(local.replace(tzinfo=UTC)) - _offset(offset)
        return self._in_zone(local, received_at)

    def _yearless(self, day: str, time: tuple[int, int], received_at: int) -> int:
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


def micros(fraction: str) -> int:
    """µs of up to six digits behind a second's point."""
    return int(fraction) * _SCALES[len(fraction)]


def _keep(memory: dict[_K, _T], key: _K, value: _T, most: int = _CACHE) -> None:
    if len(memory) >= most:
        memory.clear()
    memory[key] = value


def _form(line: str) -> re.Pattern[str] | None:
    """Which stamp a line seems to begin with."""
    if line[:1].isdecimal():
        return _ISO if line[4:5] == "-" else _MAIL_LOG_FORMAT
    return _BSD if line[:3] in _MONTHS or line[:3] in _WEEKDAYS else None


def _better(outer: re.Match[str], inner: re.Match[str]) -> re.Match[str]:
    """Of a collector's stamp and that of who wrote the line: which one tells the moment.

    Its own one, where that has a zone, or a year that the collector's lacks. Else the zone is
    known of the collector alone.
    """
    if _is_zone(inner["offset"]) or (_has_year(inner) and not _has_year(outer)):
        return inner
    return outer


def _is_zone(offset: str | None) -> bool:
    """Whether all of it is there: the original's template may cut it to `+02:`."""
    return bool(offset) and len(offset or "") != 4


def _has_year(stamp: re.Match[str]) -> bool:
    return bool(stamp["year"]) or stamp["day"][0].isdecimal()


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
