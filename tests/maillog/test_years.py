"""The year of stamps without one, from the order of a file's lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pda.maillog.syslog import HeaderReader
from pda.maillog.years import Years, first_moment, lacks_years, moment_reader


def micros(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def bsd(at: datetime) -> bytes:
    """A line without a year."""
    return f"{at:%b} {at.day:2d} {at:%H:%M:%S} mx1 postfix/smtp[1]: T".encode()


def iso(at: datetime) -> bytes:
    return f"{at:%Y-%m-%dT%H:%M:%S}+00:00 mx1 postfix/smtp[1]: T".encode()


def read(lines: Sequence[bytes], written_at: datetime, chunk: int = 1000) -> list[int]:
    """The moments of all lines, read in chunks, as an import does."""
    moment, reader = moment_reader(HeaderReader(UTC)), HeaderReader(UTC)
    chunks = [lines[n : n + chunk] for n in range(0, len(lines), chunk)]
    written = micros(written_at)
    years = Years(moment, first_moment(chunks, moment, written))
    found = []
    for some in chunks:
        pieces = list(years.pieces(some))
        assert [line for piece, _ in pieces for line in piece] == list(some)
        for piece, at in pieces:
            headers = [reader.read(line.decode(errors="replace"), at) for line in piece]
            found += [header.at for header in headers if header is not None]
    return found


def span(begin: str, end: str, step: timedelta) -> Iterator[datetime]:
    at, last = utc(begin), utc(end)
    while at <= last:
        yield at
        at += step


CASES = {
    "a week over New Year": ("2024-12-29", "2025-01-04", timedelta(minutes=7), "2025-01-04"),
    "read a year later, known by its time": ("2019-12-30", "2020-01-02", timedelta(hours=1), "2020-01-02"),
    "a day": ("2021-05-05", "2021-05-06", timedelta(seconds=50), "2021-05-06"),
    "a whole year": ("2021-01-01", "2021-12-31T23:59:59", timedelta(hours=3), "2021-12-31T23:59:59"),
    "five years": ("2018-03-01", "2023-02-28", timedelta(hours=29), "2023-02-28"),
    "five years, few lines": ("2018-03-01", "2023-02-28", timedelta(days=9), "2023-02-28"),
    "a leap day": ("2024-02-20", "2024-03-05", timedelta(hours=1), "2024-03-05"),
    "a leap year in a copy of later": ("2024-02-20", "2024-03-05", timedelta(hours=1), "2026-08-01"),
    "a leap year and the next, in a copy": ("2024-02-01", "2025-06-01", timedelta(hours=7), "2026-08-01"),
    "leap days": ("2015-03-01", "2025-02-28", timedelta(days=1), "2025-02-28"),
    "one line": ("2024-12-31", "2024-12-31", timedelta(days=1), "2024-12-31"),
    "written a few seconds before its last line": ("2024-12-30", "2025-01-01T00:00:04", timedelta(seconds=97), "2025-01-01"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("chunk", [37, 100_000])
def test_files_without_years(name: str, chunk: int) -> None:
    begin, end, step, written = CASES[name]
    moments = list(span(begin, end, step))
    lines = [bsd(at) for at in moments]
    found = read(lines, utc(written), chunk)
    assert found == [micros(at) for at in moments]


def test_stamps_that_get_a_year_tell_those_before_them() -> None:
    """Debian 12 changed the format in the middle of a file, and the file was copied years later."""
    moments = list(span("2019-12-20", "2020-01-10", timedelta(hours=1)))
    lines = [bsd(at) if n < 400 else iso(at) for n, at in enumerate(moments)]
    assert read(lines, datetime(2026, 8, 1, tzinfo=UTC)) == [micros(at) for at in moments]


def test_stamps_that_lose_their_year_follow_those_before_them() -> None:
    moments = list(span("2025-12-20", "2026-01-10", timedelta(hours=1)))
    lines = [iso(at) if n < 100 else bsd(at) for n, at in enumerate(moments)]
    assert read(lines, datetime(2026, 1, 10, tzinfo=UTC)) == [micros(at) for at in moments]


def test_lines_a_little_out_of_order_and_a_clock_that_was_wrong_at_boot() -> None:
    moments = list(span("2023-11-01", "2024-02-01", timedelta(hours=2)))
    moments[500:505] = reversed(moments[500:505])
    lines = [bsd(at) for at in moments]
    for n in (100, 600, 1000):
        lines[n] = b"Jan  1 00:00:12 mx1 postfix/smtp[1]: T"
    found = read(lines, moments[-1])
    for n, at in enumerate(moments):
        if n not in {100, 600, 1000}:
            assert found[n] == micros(at)


def test_lines_without_a_stamp_change_nothing() -> None:
    moments = list(span("2024-12-29", "2025-01-04", timedelta(hours=1)))
    lines = [line for at in moments for line in (b"junk", bsd(at), b"", b"\xff\0")]
    assert read(lines, moments[-1], 10) == [micros(at) for at in moments]


def test_nothing_is_no_failure() -> None:
    moment = moment_reader(HeaderReader(UTC))
    assert first_moment([], moment, 5) == 5
    assert first_moment([[], [b"junk"]], moment, 5) == 5
    assert list(Years(moment, 5).pieces([])) == []
    assert list(Years(moment, 5).pieces([b"junk"])) == [([b"junk"], 5)]


@pytest.mark.parametrize(
    ("line", "lacking"),
    [
        (b"Dec 31 23:59:59 mx1 postfix/smtp[1]: T", True),
        (b"<22>Feb 29 23:59:59 mx1 postfix/smtp[1]: T", True),
        (b"Dec 31 23:59:59 2025 mx1 postfix/smtp[1]: T", False),
        (b"2025-12-31T23:59:59+01:00 mx1 postfix/smtp[1]: T", False),
        (b"2025 Dec 31 23:59:59.123 mx1 postfix/smtp[1]: T", False),
        (b"<22>1 2025-12-31T23:59:59Z mx1 postfix/smtp 1 - - T", False),
        (b"junk", False),
    ],
)
def test_which_stamps_lack_a_year(line: bytes, lacking: bool) -> None:
    now = micros(datetime(2026, 3, 1, tzinfo=UTC))
    moment = moment_reader(HeaderReader(UTC))
    assert lacks_years([b"", b"junk", line], moment, now) is lacking


def test_a_zone_with_summer_time() -> None:
    prague = ZoneInfo("Europe/Prague")
    local = [at.astimezone(prague) for at in span("2022-12-01", "2023-07-01", timedelta(hours=5))]
    moment = moment_reader(HeaderReader(prague))
    years = Years(moment, first_moment([[bsd(at) for at in local]], moment, micros(local[-1])))
    assert years.step(bsd(local[0])) == micros(local[0])


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 40 * 365), st.lists(st.integers(0, 170 * 86_400), min_size=1, max_size=60),
    st.integers(0, 86_400), st.sampled_from([1, 5, 1000]),
)  # fmt: skip
def test_any_file_whose_lines_lie_less_than_half_a_year_apart(
    begin: int, gaps: list[int], later: int, chunk: int
) -> None:
    at = datetime(1985, 1, 1, tzinfo=UTC) + timedelta(days=begin)
    moments = [at]
    for gap in gaps:
        at += timedelta(seconds=gap)
        moments.append(at)
    found = read([bsd(at) for at in moments], at + timedelta(seconds=later), chunk)
    assert found == [micros(at) for at in moments]
