"""What is printed: nothing in it is obeyed by a terminal or a spreadsheet, and nothing is cut."""

from __future__ import annotations

import csv
import io
import json
import re

import msgspec
import pytest

from pda import output, output_imports
from pda.prospects import ImportState, Prospect
from pda.store.queries import StateCount
from pda.times import rfc3339
from tests.support import NOW

HOSTILE = {
    "escape sequence": "\x1b]0;owned\x07\x1b[2J",
    "C1": "\x9b2J\x90",
    "DEL and backspace": "a\x7f\x08\x08",
    "another direction": "\u202egnp.exe\u2066\u200f",
    "line ends": "a\nb\rc\x85d\u2028e\x0b\x0c",
    "NUL": "a\0b",
    "markup": "[bold red]x[/] [link=http://evil]y \\[",
    "emoji": ":warning: :x: ok",
    "wide": "x" * 5000 + "end",
    "letters": "žluťoučký 配送 ü@exämple.org",
}
OBEYED = re.compile("[\0-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class Row(msgspec.Struct, frozen=True):
    """A row with all that rows have."""

    text: str
    at: int = NOW
    expired_at: int = 0
    number: int = -5
    nothing: str | None = None
    flag: bool = False
    rule: str = "hidden in a table"


def printed(
    capfd: pytest.CaptureFixture[str], rows: list[msgspec.Struct], form: str
) -> tuple[str, str]:
    output.rows(rows, form)
    return capfd.readouterr()


@pytest.mark.parametrize("form", ["table", "ndjson", "csv"])
@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_obeyed(capfd: pytest.CaptureFixture[str], form: str, name: str) -> None:
    out, _ = printed(capfd, [Row(HOSTILE[name])], form)
    assert not OBEYED.search(out)
    assert out.count("\n") == {"table": 5, "ndjson": 1, "csv": 2}[form]


@pytest.mark.parametrize("name", HOSTILE)
def test_ndjson_says_all_as_it_is(capfd: pytest.CaptureFixture[str], name: str) -> None:
    out, _ = printed(capfd, [Row(HOSTILE[name])], "ndjson")
    assert json.loads(out) == {
        "text": HOSTILE[name], "at": rfc3339(NOW), "expired_at": None, "number": -5,
        "nothing": None, "flag": False, "rule": "hidden in a table",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["markup", "emoji", "wide", "letters"])
def test_a_table_shows_text_as_it_is(capfd: pytest.CaptureFixture[str], name: str) -> None:
    out, err = printed(capfd, [Row(HOSTILE[name]), Row("x")], "table")
    assert HOSTILE[name] in out
    assert "hidden" not in out
    assert rfc3339(NOW) in out
    assert err == "2 rows\n"


def test_control_characters_are_shown(capfd: pytest.CaptureFixture[str]) -> None:
    for form in ("table", "csv"):
        out, _ = printed(capfd, [Row(HOSTILE["escape sequence"])], form)
        assert r"\x1b]0;owned\x07\x1b[2J" in out


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@sum(a)", "\t=1", "\r=1", '=1,"x"\n=2'])
def test_no_cell_of_csv_is_a_formula(capfd: pytest.CaptureFixture[str], text: str) -> None:
    out, _ = printed(capfd, [Row(text)], "csv")
    header, cells = csv.reader(io.StringIO(out))
    assert header == list(Row.__struct_fields__)
    assert cells[0].startswith("'")
    assert cells[3] == "-5"  # a number is one


def test_csv_keeps_quotes_commas_and_letters(capfd: pytest.CaptureFixture[str]) -> None:
    text = 'he said "no", ž'
    out, _ = printed(capfd, [Row(text)], "csv")
    assert next(iter(csv.DictReader(io.StringIO(out))))["text"] == text


@pytest.mark.parametrize("form", ["table", "ndjson", "csv"])
def test_nothing_found(capfd: pytest.CaptureFixture[str], form: str) -> None:
    out, err = printed(capfd, [], form)
    assert (out, err) == ("", "nothing found\n" if form == "table" else "")


def test_rows_of_a_question(capfd: pytest.CaptureFixture[str]) -> None:
    out, _ = printed(capfd, [StateCount("shop", "delivered", 3)], "csv")
    assert out == "client_id,state,recipients\nshop,delivered,3\n"


def test_the_result_of_an_import(capfd: pytest.CaptureFixture[str]) -> None:
    name = "/var/log/" + "long/" * 40 + "mail.log\x1b[2J"
    states = [
        ImportState(name, 9, lines=7, attempts=5, new=3, unknown=1, seconds=0.25),
        ImportState("b", 0, lines=2, error="b is\x1b damaged"),
    ]
    output_imports.imported(states, as_json=False)
    out, err = capfd.readouterr()
    assert "long/mail.log\\x1b[2J" in out
    assert ["7", "5", "3", "2", "1", "0.2"] in [
        re.findall(r"[\d.]+", row)[-6:] for row in out.splitlines()
    ]
    assert re.search(r"all\D+ 9 .* 5 .* 3 .* 2 .* 1 ", out)
    assert err == "b is\\x1b damaged\n"
    output_imports.imported(states, as_json=True)
    out, _ = capfd.readouterr()
    first, second = json.loads(out)["files"]
    assert (first["name"], first["lines"], first["new"], first["known"]) == (name, 7, 3, 2)
    assert second["error"] == "b is\x1b damaged"
    assert "\x1b" not in out


def test_what_would_be_imported(capfd: pytest.CaptureFixture[str]) -> None:
    found = [Prospect("a\x07", 12, "read"), Prospect("b", 0, "known already")]
    output_imports.prospects(found, as_json=False)
    out, _ = capfd.readouterr()
    assert re.search(r"a\\x07 .* 12 .* read", out)
    output_imports.prospects(found, as_json=True)
    out, _ = capfd.readouterr()
    assert [one["todo"] for one in json.loads(out)["files"]] == ["read", "known already"]


def test_progress_is_told_once_a_second_at_the_most(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("pda.output_imports.time.monotonic", lambda: now)
    progress = output_imports.Progress([9])
    for tenths in range(35):
        now = 100 + tenths / 10
        progress.report(ImportState("a\x07", 9, lines=tenths))
    assert capfd.readouterr().err == "".join(f"a\\x07: {n} lines\n" for n in (10, 20, 30))


STATUS = {
    "version": "1.2", "started_at": NOW, "last_line_at": 0, "problem": "the disk is full",
    "listeners": [{"protocol": "udp", "address": "[::1]:5514",
                   "counters": {"lines": 7}, "dropped": {"kernel_drops": 2, "bad_tls": 3}},
                  {"protocol": "tcp", "address": "[::1]:5514",
                   "counters": {"lines": 8}, "dropped": {}}],
    "lines": {"events": 5, "ignored": 2}, "fates": {"new": 4, "known": 1, "lost": 0, "ignored": 2},
    "journal": {"waiting": 3, "read_again": 2, "damaged": 1},
    "lost_before": {"mx1": 9}, "sizes": {"open entries": 4},
    "rules": {"rules": 87, "source": "my.xml", "loaded_at": NOW, "refused": "", "refused_at": 0,
              "judged_at": NOW, "entries": 9, "entries_left": 0, "changed": 3},
    "imports": [],
}  # fmt: skip


def test_status(capfd: pytest.CaptureFixture[str]) -> None:
    output.status(STATUS)
    assert capfd.readouterr().out == (
        "pda 1.2, running since 2026-03-10T12:00:00Z\nlast line: none yet\n"
        "PROBLEM: the disk is full\n"
        "udp [::1]:5514: 7 lines; dropped or refused: 2 kernel drops, 3 bad tls\n"
        "tcp [::1]:5514: 8 lines; dropped or refused: none\n"
        "lines: 5 events, 2 ignored\neach line once: 4 new, 1 known, 2 ignored\n"
        "journal: 3 lines wait, 2 were read again, 1 places cannot be read\n"
        "LOST before they were sent: 9 lines of mx1\n"
        "rules: 87 from my.xml, in force since 2026-03-10T12:00:00Z\n"
        "history: judged by them, 3 verdicts changed\nsizes: open entries 4\n"
    )
    output.status({**STATUS, "problem": "", "last_line_at": NOW})
    out = capfd.readouterr().out
    assert "last line: 2026-03-10T12:00:00Z" in out
    assert "PROBLEM" not in out


def test_status_shows_a_running_import(capfd: pytest.CaptureFixture[str]) -> None:
    running = {"name": "a\x07", "octets": 5, "size": 9, "lines": 3, "finished": False}
    done = {**running, "name": "b", "finished": True}
    stream = {**running, "name": "-", "size": 0}
    output.status({**STATUS, "imports": [done, running, stream]})
    out = capfd.readouterr().out
    assert "importing a\\x07: 5 of 9 octets, 3 lines\nimporting -: 3 lines\n" in out
    assert "importing b" not in out


def test_status_of_rules_that_were_refused(capfd: pytest.CaptureFixture[str]) -> None:
    rules = {"refused": "line 2: \x1b[1m", "refused_at": NOW, "judged_at": 0, "entries_left": 4}
    output.status({**STATUS, "rules": {**STATUS["rules"], **rules}})  # type: ignore[dict-item]
    out = capfd.readouterr().out
    assert "REFUSED at 2026-03-10T12:00:00Z: line 2: \\x1b[1m" in out
    assert "being judged, 4 of 9 queue entries left, 3 verdicts changed so far" in out
