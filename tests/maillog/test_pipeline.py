"""What became of lines: what is not known is counted by program, and its shapes are kept."""

from __future__ import annotations

from string import ascii_lowercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pda.maillog.pipeline import Pipeline, Tally
from tests.maillog.test_forgery import in_quotes
from tests.support import LONG_ID, NOW, RULES, line

KEPT = 100
WORDS = [f"{a}{b} thing" for a in ascii_lowercase for b in ascii_lowercase]


def tally(*lines: bytes) -> Tally:
    pipeline = Pipeline(RULES)
    pipeline.source().read(lines, NOW)
    assert pipeline.tally.lines == len(lines)
    return pipeline.tally


def test_lines_of_one_shape_are_one() -> None:
    found = tally(
        line("ABCDEF: new thing 4711 of <a@b.example>", program="smtpd"),
        line(f"{LONG_ID}: new thing 5 of <c@d.example>", program="smtpd"),
        line("ABCDEF: new thing 5 of <c@d.example>", program="smtp"),
        line("NOQUEUE: new thing", program="smtp"),
        line("new thing", program="smtp"),
        # Begin as a common text does.
        line("ABCDEF: from=<a@b.example>, but new", program="qmgr"),
        line(f"{LONG_ID}: from=<c@d.example>, but new", program="qmgr"),
    )
    assert found.unknown == 7
    assert found.shapes == {
        "smtpd: ID new thing N of ADDR": 2,
        "smtp: ID new thing N of ADDR": 1,
        "smtp: NOQUEUE new thing": 1,
        "smtp: new thing": 1,
        "qmgr: ID from ADDR but new": 2,
    }


def test_they_are_counted_by_program() -> None:
    found = tally(
        line("new", program="smtp"), line("new", program="smtp"), line("new", program="qmgr"),
        line("new", program="of@somebody.example"),
        b"2026-03-10T10:00:00Z mx1 sshd[1]: new",
    )  # fmt: skip
    assert found.kinds == {
        ("smtp", "unknown"): 2, ("qmgr", "unknown"): 1, ("other", "unknown"): 1, ("other", "ignored"): 1,
    }  # fmt: skip
    assert found.shapes == {"smtp: new": 2, "qmgr: new": 1, "ADDR: new": 1}


def test_the_last_hundred_are_kept() -> None:
    first, *others = (line(word) for word in WORDS[: KEPT + 50])
    found = tally(first, *others[:KEPT], first, *others[KEPT:])
    assert len(found.shapes) == KEPT
    kept = [*WORDS[51 : KEPT + 1], WORDS[0], *WORDS[KEPT + 1 : KEPT + 50]]
    assert [*found.shapes] == [f"smtp: {word}" for word in kept]
    assert set(found.shapes.values()) == {1}  # the first one had been forgotten


def test_one_that_comes_again_stays() -> None:
    found = tally(*[line(word) for other in WORDS[1:KEPT] for word in (WORDS[0], other)])
    found.add(tally(*map(line, WORDS[KEPT : KEPT + 50])))
    assert len(found.shapes) == KEPT
    assert found.shapes[f"smtp: {WORDS[0]}"] == KEPT - 1
    assert f"smtp: {WORDS[1]}" not in found.shapes


SECRET = "zqzq"


@given(
    st.lists(
        st.one_of(
            st.sampled_from([
                f"{SECRET}@b.example", f"<{SECRET}@b.example>", f"<{SECRET}>", f"to=<{SECRET}@b>,",
                f"<{in_quotes(f'john {SECRET} > doe')}@b.example>", f"host {SECRET}.example[192.0.2.1]",
                f"<{in_quotes(f'{SECRET}> ')}", f"<a {SECRET}", f"{SECRET}9{SECRET}9{SECRET}: x",
            ]),
            st.text("ab =,;:()", max_size=200),
        ),
        max_size=8,
    ).map(" ".join),
    st.sampled_from(["ABCDEF: ", "", "NOQUEUE: "]),
)  # fmt: skip
@pytest.mark.parametrize("begin", ["new thing", "from=<", "client=", "info: "])
def test_they_name_nobody(begin: str, text: str, queue_id: str) -> None:
    shapes = tally(line(f"{queue_id}{begin} {text}"), line("x", program=f"x.{SECRET}@b")).shapes
    assert not any(SECRET in shape or "abcdef" in shape.lower() for shape in shapes)
    assert all(len(shape) <= 200 for shape in shapes)
