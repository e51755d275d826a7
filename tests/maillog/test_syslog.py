"""Headers in every form, and the time they tell."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pda.maillog.events import SUBSECOND, ZONED, Header
from pda.maillog.pipeline import Pipeline
from pda.maillog.syslog import HeaderReader
from tests.support import RULES

PRAGUE = ZoneInfo("Europe/Prague")


def micros(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1_000_000)


def read(line: str, received: str = "2026-11-23T12:00:00+00:00") -> Header:
    header = HeaderReader(PRAGUE).read(line, micros(received))
    assert header is not None
    return header


FORMS = [
    # line, time, grade, hostname, syslog name, program, pid
    ("Sep  1 10:00:00 mx1 postfix/qmgr[42]: T", "2026-09-01T08:00:00", 0, "mx1", "postfix", "qmgr", 42),
    ("Sep 01 10:00:00 mx1 postfix/qmgr[42]: T", "2026-09-01T08:00:00", 0, "mx1", "postfix", "qmgr", 42),
    ("<22>Sep  1 10:00:00 mx1 postfix/qmgr[42]: T", "2026-09-01T08:00:00", 0, "mx1", "postfix", "qmgr", 42),
    ("<22>Sep  1 10:00:00 postfix/qmgr[42]: T", "2026-09-01T08:00:00", 0, "", "postfix", "qmgr", 42),
    ("2026-09-01T10:00:00+02:00 mx1 postfix/qmgr[42]: T", "2026-09-01T08:00:00", 1, "mx1", "postfix", "qmgr", 42),
    ("2026-09-01T08:00:00Z mx1 postfix/qmgr[42]: T", "2026-09-01T08:00:00", 1, "mx1", "postfix", "qmgr", 42),
    ("2026-09-01T08:00:00+0000 mx1 postfix/qmgr[42]: T", "2026-09-01T08:00:00", 1, "mx1", "postfix", "qmgr", 42),
    ("2026-09-01T04:30:00-03:30 mx1 postfix/qmgr[42]: T", "2026-09-01T08:00:00", 1, "mx1", "postfix", "qmgr", 42),
    ("2026-09-01T10:00:00.123456+02:00 mx1 postfix/qmgr[42]: T", "2026-09-01T08:00:00.123456", 3, "mx1", "postfix", "qmgr", 42),
    ("2026-09-01T10:00:00.5+02:00 mx1 postfix/qmgr[42]: T", "2026-09-01T08:00:00.5", 3, "mx1", "postfix", "qmgr", 42),
    ("2026-09-01T10:00:00.123456789+02 mx1 postfix/qmgr[42]: T", "2026-09-01T08:00:00.123456", 3, "mx1", "postfix", "qmgr", 42),
    ("2026-09-01T10:00:00 mx1 postfix/qmgr[42]: T", "2026-09-01T08:00:00", 0, "mx1", "postfix", "qmgr", 42),
    ("2026 Sep 01 10:00:00.123 mx1 postfix/qmgr[42]: T", "2026-09-01T08:00:00.123", 2, "mx1", "postfix", "qmgr", 42),
    ("2026 Sep 01 10:00:00+02: mx1 postfix/qmgr[42]: T", "2026-09-01T08:00:00", 0, "mx1", "postfix", "qmgr", 42),
    ("<22>1 2026-09-01T10:00:00.123456+02:00 mx1 postfix 42 - -  T", "2026-09-01T08:00:00.123456", 3, "mx1", "", "postfix", 42),
    ("<22>1 2026-09-01T10:00:00+02:00 mx1 postfix/qmgr 42 - - T", "2026-09-01T08:00:00", 1, "mx1", "postfix", "qmgr", 42),
    ('<22>1 2026-09-01T08:00:00Z mx1 postfix/qmgr 42 - [sd a="\\"]"][b c="d"] \ufeffT', "2026-09-01T08:00:00", 1, "mx1", "postfix", "qmgr", 42),
    ("<22>1 - - postfix/qmgr - - - T", "2026-11-23T12:00:00", 3, "", "postfix", "qmgr", None),
    ("Apr 07 00:41:31 2016 barracuda outbound/qmgr: T", "2016-04-06T22:41:31", 0, "barracuda", "outbound", "qmgr", None),
    ("Thu Nov  5 19:00:00 2026 mx1 postfix/qmgr[42]: T", "2026-11-05T18:00:00", 0, "mx1", "postfix", "qmgr", 42),
    ("<22>Thu Nov 26 19:00:00 2015 postfix/qmgr: T", "2015-11-26T18:00:00", 0, "", "postfix", "qmgr", None),
    ("mail.log:Thu Nov 05 19:00:00 mx1 postfix/qmgr[42]: T", "2026-11-05T18:00:00", 0, "mx1", "postfix", "qmgr", 42),
    ("2026-06-16T13:53:50+02:00 relay Tue Jun 16 11:53:45 2026 gate postfix/smtpd[1]: T", "2026-06-16T11:53:50", 1, "gate", "postfix", "smtpd", 1),
    ("Jun 16 13:53:50 relay Mon Jun 16 13:53:45 2025 gate postfix/smtpd[1]: T", "2025-06-16T11:53:45", 0, "gate", "postfix", "smtpd", 1),
    ("Jun 16 13:53:50 2025-06-16T13:53:45.5 gate postfix/smtpd[1]: T", "2025-06-16T11:53:45.5", 2, "gate", "postfix", "smtpd", 1),
    ("Jun 16 13:53:50 relay 2025-06-16T13:53:45.5-01:00 gate postfix/smtpd[1]: T", "2025-06-16T14:53:45.5", 3, "gate", "postfix", "smtpd", 1),
    ("2025 Jun 16 13:53:50.5 relay 2025-06-16T13:53:45Z gate postfix/smtpd[1]: T", "2025-06-16T13:53:45", 1, "gate", "postfix", "smtpd", 1),
    ("2026-06-16T13:53:50+02:00 relay 2026-06-16T11:53:45Z gate postfix/smtpd[1]: T", "2026-06-16T11:53:45", 1, "gate", "postfix", "smtpd", 1),
    ("2026-06-16T13:53:50+02:00 relay 2026-06-16T11:53:45 gate postfix/smtpd[1]: T", "2026-06-16T11:53:50", 1, "gate", "postfix", "smtpd", 1),
    ("Mar 14 01:03:56 [postfix/smtp] T", "2026-03-14T00:03:56", 0, "", "postfix", "smtp", None),
    ("Mar 22 07:45:01 mx1 mail.info postfix/smtp[1]: T", "2026-03-22T06:45:01", 0, "mx1", "postfix", "smtp", 1),
    ("Mar 22 07:45:01 mx1 postfix/smtp[1]: [ID 197553 mail.info] T", "2026-03-22T06:45:01", 0, "mx1", "postfix", "smtp", 1),
    ("2026-06-16T13:53:50+02:00 Jun 16 11:53:50 gate postfix/smtpd[1]: T", "2026-06-16T11:53:50", 1, "gate", "postfix", "smtpd", 1),
    ("Jun 16 13:53:50 relay.example Jun 16 11:53:50 gate postfix/smtpd[1]: T", "2026-06-16T11:53:50", 0, "gate", "postfix", "smtpd", 1),
    ("2026-06-16T13:53:50+02:00 relay 2026-06-16T11:53:50Z gate postfix/smtpd[1]: T", "2026-06-16T11:53:50", 1, "gate", "postfix", "smtpd", 1),
    ("2026 Sep 01 10:00:00.123 mx1 postfix/qmgr[42]:T", "2026-09-01T08:00:00.123", 2, "mx1", "postfix", "qmgr", 42),
    ("2026-09-18T05:39:24+00:00 INFO    postfix/smtp[990]: T", "2026-09-18T05:39:24", 1, "", "postfix", "smtp", 990),
    ("/var/log/mail.log.2.gz:Apr 07 10:00:00 mx1 postfix/smtp[1]: T", "2026-04-07T08:00:00", 0, "mx1", "postfix", "smtp", 1),
    ("<22>postfix/smtp[1]: T", "2026-11-23T12:00:00", 3, "", "postfix", "smtp", 1),
    ("Sep  1 10:00:00 2001:db8::1 postfix/submission/smtpd[7]: T", "2026-09-01T08:00:00", 0, "2001:db8::1", "postfix/submission", "smtpd", 7),
]  # fmt: skip


@pytest.mark.parametrize("case", FORMS, ids=lambda case: case[0][:60])
def test_every_form(case: tuple[str, str, int, str, str, str, int | None]) -> None:
    header = read(case[0])
    at = micros(case[1] + "+00:00")
    assert header == Header(at, case[2], case[3], case[4], case[5], case[6], "T")


@pytest.mark.parametrize(
    ("tag", "program"),
    [
        ("postfix-outbound/submission/smtpd[1234567]:", "smtp"),
        ("postfix/submission/smtpd[1234567]:", "smtpd"),
        ("postfix/submission/smtpd[12345678]:", "smtpd"),
    ],
)
def test_a_tag_cut_at_32_characters(tag: str, program: str) -> None:
    header = read(f"<22>Sep  1 10:00:00 mx1 {tag[:32]} 4XkABC: client=a[192.0.2.1]")
    assert (header.program, header.text) == (program, "4XkABC: client=a[192.0.2.1]")


def test_an_uncut_tag_without_colon_is_none() -> None:
    assert HeaderReader().read("Sep  1 10:00:00 mx1 postfix/smtp some text", 0) is None


@pytest.mark.parametrize("junk", ["", "\0\0", "GET / HTTP/1.1", "<22>", "<22>1 x", "Sep 99", "Ω"])
def test_junk_has_no_header(junk: str) -> None:
    assert HeaderReader().read(junk, 0) is None


def test_repeated_lines_say_how_often() -> None:
    header = read("Sep  1 10:00:00 mx1 postfix/smtp[1]: message repeated 3 times: [ a [b] c]")
    assert (header.repeat, header.text) == (3, "a [b] c")


def test_line_ends_and_nul_runs_fall_off() -> None:
    assert read("\0\0Sep  1 10:00:00 mx1 postfix/smtp[1]: T\r").text == "T"


@pytest.mark.parametrize(
    ("stamp", "received", "meant"),
    [
        ("Dec 31 23:59:59", "2026-01-01T00:10:00+01:00", "2025-12-31T23:59:59+01:00"),
        ("Jan  1 00:00:01", "2025-12-31T23:59:58+01:00", "2026-01-01T00:00:01+01:00"),
        ("Jan  1 00:00:01", "2026-12-31T12:00:00+01:00", "2027-01-01T00:00:01+01:00"),
        ("Jan  2 12:00:01", "2026-12-31T12:00:00+01:00", "2026-01-02T12:00:01+01:00"),
        ("Feb 29 10:00:00", "2026-03-01T10:00:00+01:00", "2024-02-29T10:00:00+01:00"),
        # The hour that the end of summer time repeats, and the one that its beginning leaves out.
        ("Oct 25 02:30:00", "2026-10-25T02:30:01+02:00", "2026-10-25T02:30:00+02:00"),
        ("Oct 25 02:30:00", "2026-10-25T02:30:01+01:00", "2026-10-25T02:30:00+01:00"),
        ("Mar 29 03:00:01", "2026-03-29T03:00:02+02:00", "2026-03-29T03:00:01+02:00"),
        ("Mar 29 01:59:59", "2026-03-29T03:00:02+02:00", "2026-03-29T01:59:59+01:00"),
    ],
)
def test_year_and_hour_come_from_reception(stamp: str, received: str, meant: str) -> None:
    assert read(f"{stamp} mx1 postfix/smtp[1]: T", received).at == micros(meant)


def test_one_reader_follows_the_clock_over_new_year() -> None:
    """What it remembers of a stamp does not outlive the hour it was received in."""
    reader = HeaderReader(UTC)
    line = "Jan  1 00:00:01 mx1 postfix/smtp[1]: T"
    for year in (2025, 2026, 2027):
        header = reader.read(line, micros(f"{year}-01-01T00:00:02+00:00"))
        assert header is not None
        assert header.at == micros(f"{year}-01-01T00:00:01+00:00")


def test_the_sources_host_fills_in_for_a_missing_one() -> None:
    header = HeaderReader(UTC, "mx9").read("<22>Sep  1 10:00:00 postfix/smtp[1]: T", 0)
    assert header is not None
    assert header.hostname == "mx9"


def test_grades_rank_stamps() -> None:
    assert SUBSECOND + ZONED > SUBSECOND > ZONED > 0


# Of each usual form some lines that share seconds, hosts and programs, and are nearly alike.
USUAL = [
    "2026-09-01T10:00:00.123456+02:00 mx1 postfix/smtp[42]: T: x",
    "2026-09-01T10:00:00+02:00 mx1 postfix/smtp[43]: T",
    "2026-09-01T10:00:00.5 mx1 postfix/smtp[42]: [ID 1 mail.info] T",
    "2026 Sep 01 10:00:00.123 mx1 postfix/qmgr[1]: T",
    "<22>Sep  1 10:00:00 mx1 postfix/qmgr[1]: message repeated 2 times: [ T]",
    "2026-09-01T10:00:00+02:00 mx1 postfix/smtp[43]:",
    "Sep  1 10:00:00 2026 mx1 postfix/qmgr[1]: T",
    "Sep  1 10:00:00 2026: postfix/qmgr[1]:  T",
    "Tue Sep  1 10:00:00 2026 mx1 postfix/qmgr[1]: T",
]


@given(
    st.sampled_from(USUAL),
    st.integers(0, 60),
    st.integers(0, 3),
    st.text(" .:,[]<>0/TZ+-x", max_size=3),
)
def test_what_a_reader_remembers_changes_no_answer(line: str, at: int, cut: int, put: str) -> None:
    """A reader that has read every form agrees with a new one, on whatever comes next."""
    warm = HeaderReader(PRAGUE)
    for usual in USUAL:
        warm.read(usual, 0)
    changed = line[:at] + put + line[at + cut :]
    for one in (changed, line, changed):
        assert warm.read(one, 0) == HeaderReader(PRAGUE).read(one, 0)


@given(
    st.sampled_from(USUAL),
    st.integers(0, 60),
    st.integers(0, 3),
    st.text(" .:,[]<>0/TZ+-x", max_size=3),
)
@example(USUAL[0], 0, 0, "<>")  # no PRI
def test_lines_in_a_row_say_what_each_says_alone(line: str, at: int, cut: int, put: str) -> None:
    """The pipeline looks at known origins first, and at stamps only where it has to."""
    text = "4jXPlN1VQlzJbSD: removed"
    usual = [one.replace(": T", f": {text}").encode() for one in USUAL]
    changed = (line[:at] + put + line[at + cut :]).replace(": T", f": {text}").encode()
    source = Pipeline(RULES).source(PRAGUE)
    source.read(usual, 0)
    for one in (changed, line.encode(), changed):
        assert source.read([one], 0) == Pipeline(RULES).source(PRAGUE).read([one], 0)
