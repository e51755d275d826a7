"""A new rule in a list, and a list in the place of its file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pda import shipped
from pda.drafts import compose, drafted, replace_file
from pda.maillog import bounce
from pda.maillog.bounce.rules import read
from pda.web.ports import Draft

LIST = b"""<?xml version="1.0"?>
<!-- kept -->
<bounces>
  <regex type="hard" category="no such user"><or>cat</or></regex>
  <!-- kept too -->
  <regex id="b" category="policy" on="reply"><or>dog</or></regex>
</bounces>
"""
DRAFT = Draft(id="new", category="mailbox-full", patterns=("cow", "a<b & c"))


@pytest.mark.parametrize(
    ("before", "order"),
    [("", ["regex-1", "b", "new"]), ("b", ["regex-1", "new", "b"]), ("regex-1", ["new", "regex-2", "b"])],
)  # fmt: skip
def test_the_place_of_a_rule(before: str, order: list[str]) -> None:
    draft = Draft(id="new", category="policy", patterns=("cow",), before=before)
    xml = compose(LIST, draft)
    assert [rule.id for rule in read(xml).rules] == order
    assert b"<!-- kept -->" in xml
    assert b"<!-- kept too -->" in xml


def test_how_a_rule_is_written() -> None:
    written = b"""
  <regex id="new" category="mailbox-full" on="reply">
    <or>cow</or>
    <or>a&lt;b &amp; c</or>
  </regex>
</bounces>
"""
    assert compose(LIST, DRAFT).endswith(written)


def test_other_rules_stay_as_they_are() -> None:
    before = shipped.rule_list()
    after = read(compose(before, DRAFT)).rules
    assert [rule.patterns for rule in after[:-1]] == [rule.patterns for rule in read(before).rules]
    changed = set(compose(before, DRAFT).splitlines()) - set(before.splitlines())
    assert len(changed) < 20


@pytest.mark.parametrize(
    ("draft", "said"),
    [(Draft(id="n", before="nobody"), "no rule 'nobody'"), (Draft(id="a\x00"), "control character")],
)  # fmt: skip
def test_what_has_no_place(draft: Draft, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        compose(LIST, draft)


@given(st.text(), st.text(), st.text())
def test_hostile_text_stays_text(name: str, category: str, pattern: str) -> None:
    draft = Draft(id=name, category=category, on="text", patterns=(pattern,))
    try:
        xml = compose(LIST, draft)
    except ValueError:
        return
    again = drafted(xml[xml.rindex(b"<regex") : xml.rindex(b"</bounces>")].decode())
    assert again.patterns == (pattern,)
    assert xml.count(b"<regex") == 3


def test_a_rule_to_start_from() -> None:
    stub = '<regex id="new-x" category="policy" on="reply" dsn="5\\.7"><or>^a&lt;b$</or><sample>x</sample></regex>'
    wanted = Draft(id="new-x", category="policy", dsn=r"5\.7", patterns=("^a<b$",))
    assert drafted(stub) == wanted


@pytest.mark.parametrize("stub", ["", "<regex", "<!DOCTYPE x [<!ENTITY a 'b'>]><regex id='&a;'/>"])
def test_no_rule_to_start_from(stub: str) -> None:
    with pytest.raises(bounce.RuleError):
        drafted(stub)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path, link = tmp_path / "rules.xml", tmp_path / "link.xml"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    replace_file(link, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o7777 == 0o640
    assert link.is_symlink()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link.xml", "rules.xml"]


def test_nothing_is_left_where_a_file_cannot_be_replaced(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        replace_file(tmp_path / "rules.xml", b"new")
    assert list(tmp_path.iterdir()) == []
