"""The rule workbench: a rule tried, saved, and refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
from quart import Response

from pda.config import RuleSettings
from pda.rulebook import RuleBook
from pda.store import audit
from tests.support import attempt, message
from tests.web.support import Web, user, web

PATH = "/rules/workbench"
LIST = b"""<bounces>
  <regex id="full" category="mailbox-full" on="reply"><or>quota</or></regex>
</bounces>
"""
HOSTILE = "the <b>zebra</b> is 'out' & \"about\""
LINES = message(deliveries=[
    attempt("bounced", reason=f"550 5.7.1 {HOSTILE}", dsn="5.7.1", to="a@example.org"),
    attempt("bounced", reason="550 5.2.2 over quota", dsn="5.2.2", to="b@example.org"),
])  # fmt: skip
USERS = [user("root", "admin"), user("ann"), user("shop", "client", "shop")]
RULE = {
    "id": "zebra",
    "category": "policy",
    "type": "",
    "on": "reply",
    "patterns": "zebra\r\ngiraffe",
}


@contextmanager
def bench(folder: Path, source: str | None = None) -> Iterator[tuple[Web, Path]]:
    """The web over a store of these failures, and the file with the rules in force."""
    rules = folder / "rules.xml"
    rules.write_bytes(LIST)
    with web(folder, LINES, users=USERS) as app:
        app.service.rulebook = RuleBook(RuleSettings(str(rules) if source is None else source))
        yield app, rules


async def send(app: Web, who: str = "root", **fields: str) -> Response:
    digest = app.service.rulebook.edition.digest
    body = urlencode({**RULE, "digest": digest, **fields}).encode()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    return await app.get(PATH, method="POST", data=body, headers=form, user=who)


async def said(response: Response) -> str:
    return await response.get_data(as_text=True)


@pytest.mark.parametrize("who", ["root", "ann"])
async def test_a_rule_is_tried(tmp_path: Path, who: str) -> None:
    with bench(tmp_path) as (app, rules):
        response = await send(app, who)
        text = await said(response)
    assert response.status_code == 200
    assert "1 failed attempt, also where an earlier rule decides" in text
    assert "Verdicts that would change" in text
    assert "policy <small>soft</small>" in text
    assert "zebra\ngiraffe</textarea>" in text
    assert rules.read_bytes() == LIST
    assert ('value="save"' in text) is (who == "root")


async def test_hostile_text_is_escaped(tmp_path: Path) -> None:
    with bench(tmp_path) as (app, _):
        texts = [
            await said(await send(app)),
            await said(await send(app, patterns="</textarea><script>", id='"><script>')),
            await app.text(f"{PATH}?saved=%3Cscript%3E", user="root"),
        ]
    assert "&lt;b&gt;zebra&lt;/b&gt;" in texts[0]
    assert "<b>zebra" not in texts[0]
    assert "&lt;/textarea&gt;&lt;script&gt;" in texts[1]
    for text in texts:
        assert "<script>" not in text


@pytest.mark.parametrize(
    ("fields", "mistake"),
    [
        ({"patterns": "("}, "line 5: RE2 refuses"),
        ({"id": "full"}, "line 4: id &#39;full&#39; is already used in line 3"),
        ({"patterns": ""}, "neither an &lt;or&gt; nor a condition"),
        ({"patterns": "quota"}, "can never win"),
        ({"category": "nonsense"}, "is not one of"),
    ],
)
async def test_mistakes_are_told_and_not_saved(
    tmp_path: Path, fields: dict[str, str], mistake: str
) -> None:
    with bench(tmp_path) as (app, rules):
        tried = await send(app, **fields)
        saved = await send(app, do="save", **fields)
        assert mistake in await said(tried)
        assert "The list would have mistakes" in await said(saved)
    assert (tried.status_code, saved.status_code) == (200, 409)
    assert rules.read_bytes() == LIST


async def test_a_rule_is_saved(tmp_path: Path) -> None:
    with bench(tmp_path) as (app, rules):
        response = await send(app, do="save", before="full")
        assert response.status_code == 303
        assert response.headers["Location"] == f"{PATH}?saved=zebra"
        book = app.service.rulebook
        book.adopt(book.read())
        assert [rule.id for rule in book.rules.rules] == ["zebra", "full"]
        assert app.service.asked == ["reload"]
        deeds = audit.rows(app.store.connection, None, 10)
        assert "is saved and in force" in await app.text(f"{PATH}?saved=zebra", user="root")
    assert ("user root", "put rule", "zebra") in [(d.who, d.action, d.target) for d in deeds]
    assert b"<or>giraffe</or>" in rules.read_bytes()


@pytest.mark.parametrize(("who", "do", "status"), [
    ("ann", "save", 403), ("shop", "save", 403), ("shop", "try", 403), ("shop", "download", 403),
])  # fmt: skip
async def test_who_may_not(tmp_path: Path, who: str, do: str, status: int) -> None:
    with bench(tmp_path) as (app, rules):
        assert (await send(app, who, do=do)).status_code == status
        assert (await app.get(PATH, user="shop")).status_code == 403
        assert f'href="{PATH}"' not in await app.text("/bounces", user="shop")
        assert app.service.asked == []
    assert rules.read_bytes() == LIST


@pytest.mark.parametrize("how", ["file", "form", "gone"])
async def test_a_list_that_was_changed_meanwhile_is_kept(tmp_path: Path, how: str) -> None:
    other = LIST.replace(b'id="full"', b'id="other"')
    with bench(tmp_path) as (app, rules):
        digest = app.service.rulebook.edition.digest
        rules.write_bytes(other)
        if how == "form":  # the rules were read again after the form was made
            app.service.rulebook.adopt(app.service.rulebook.read())
        if how == "gone":
            rules.unlink()
        response = await send(app, do="save", digest=digest)
        assert response.status_code == 409
        why = "cannot be read" if how == "gone" else "was changed meanwhile"
        assert why in await said(response)
        assert app.service.asked == []
    assert rules.exists() is (how != "gone")
    assert how == "gone" or rules.read_bytes() == other


async def test_the_list_of_pda_is_not_written_but_can_be_had(tmp_path: Path) -> None:
    with bench(tmp_path, source="") as (app, _):
        page = await app.text(PATH, user="root")
        refused = await said(await send(app, do="save"))
        got = await send(app, do="download")
        xml = await got.get_data(as_text=False)
    assert 'value="save"' not in page
    assert "set [rules] file to its path" in page
    assert "set [rules] file to its path" in refused
    assert got.headers["Content-Disposition"].startswith("attachment")
    assert b'<regex id="zebra" category="policy" on="reply">' in xml


async def test_an_unknown_reply_leads_here(tmp_path: Path) -> None:
    with bench(tmp_path) as (app, _):
        page = await app.text("/bounces", user="root")
        assert f'action="{PATH}"' in page
        text = await said(
            await send(app, stub='<regex id="new-a" on="reply"><or>^the .b</or></regex>')
        )
        broken = await send(app, stub="<regex")
    assert "^the .b</textarea>" in text
    assert 'value="new-a"' in text
    assert broken.status_code == 409
    assert "not well-formed" in await said(broken)
