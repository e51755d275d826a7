"""Rows in each form, and which form is chosen."""

from __future__ import annotations

import csv
import io

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from pda.texts import cell, column
from pda.web.formats import Form, Members, Selectable, chosen, fields_of
from pda.web.values import Columns, read_text


class Row(Selectable, frozen=True):
    """A row."""

    name: str
    count: int
    why: str | None = None


def columns(rows: list[Row]) -> Columns:
    return list(zip(*map(msgspec.structs.astuple, rows), strict=True))


ROWS = [Row("a,b", 1), Row('=HYPERLINK("x")', -2, "ä")]


@pytest.mark.parametrize(
    ("form", "accept", "expected"),
    [
        (None, "", "json"),
        (None, "*/*", "json"),
        (None, "text/html,application/xhtml+xml,*/*;q=0.8", "json"),
        (None, "text/csv", "csv"),
        (None, "application/x-ndjson, application/json;q=0.5", "ndjson"),
        (None, "application/json, text/csv;q=0.5", "json"),
        (None, "image/png", "json"),
        ("csv", "application/json", "csv"),
        ("json", "text/csv", "json"),
    ],
)
def test_the_form_that_is_asked_for(form: Form | None, accept: str, expected: Form) -> None:
    assert chosen(form, parse_accept_header(accept, MIMEAccept)) == expected


def test_csv_writes_what_is_true_or_not_as_json_does() -> None:
    assert column([True, False, None]) == ["true", "false", ""]


def test_csv() -> None:
    members = Members(Row)
    first, rest = (
        members.lines("csv", columns(ROWS[:1]), head=True),
        members.lines("csv", columns(ROWS[1:]), head=False),
    )
    assert first == b'name,count,why\r\n"a,b",1,\r\n'
    assert rest.decode() == '"\'=HYPERLINK(""x"")",-2,ä\r\n'


def test_ndjson() -> None:
    lines = Members(Row).lines("ndjson", columns(ROWS), head=True)
    assert lines.splitlines()[0] == b'{"name":"a,b","count":1,"why":null}'
    assert [msgspec.json.decode(line, type=Row) for line in lines.splitlines()] == ROWS


@pytest.mark.parametrize(
    ("names", "csv_head", "json"),
    [
        (["why", "name"], b"why,name\r\n", {"why": None, "name": "a,b"}),
        (["count"], b"count\r\n", {"count": 1}),
        (["count", "count"], b"count\r\n", {"count": 1}),
    ],
)
def test_some_members_in_their_order(
    names: list[str], csv_head: bytes, json: dict[str, object]
) -> None:
    members = Members(Row, names)
    assert members.lines("csv", [], head=True) == csv_head
    assert list(members.objects(columns(ROWS[:1]))) == [json]
    assert msgspec.json.decode(members.lines("ndjson", columns(ROWS[:1]), head=True)) == json


def test_a_member_that_is_not_there() -> None:
    assert read_text(fields_of(Row), "why,name") == ("why", "name")
    with pytest.raises(ValueError, match="one of name, count, why is expected"):
        read_text(fields_of(Row), "name,colour")


@given(st.text())
def test_no_cell_is_a_formula_whatever_the_text(text: str) -> None:
    lines = Members(Row).lines("csv", columns([Row(text, 1)]), head=False).decode()
    (cells,) = csv.reader(io.StringIO(lines, newline=""))
    assert not cells[0].startswith(("=", "+", "-", "@", "\t", "\r"))
    if text.isprintable() and text.isalnum():
        assert cells[0] == text


@given(
    st.lists(
        st.builds(
            Row,
            st.text() | st.text(',"=a\r\n', max_size=3),
            st.integers(),
            st.none() | st.text(max_size=2),
        )
    ),
    st.sampled_from([(), ("name",), ("why", "count")]),
)
def test_csv_is_what_pythons_own_writer_makes(rows: list[Row], names: tuple[str, ...]) -> None:
    expected = io.StringIO()
    writer = csv.writer(expected, lineterminator="\r\n")
    kept = names or Row.__struct_fields__
    writer.writerows([[cell(getattr(row, name)) for name in kept] for row in rows])
    assert (
        Members(Row, names).lines("csv", columns(rows), head=False).decode() == expected.getvalue()
    )
