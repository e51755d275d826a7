"""Lists of the API: which rows, in which order and form, page by page and as a whole."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pda.store.queries import AttemptRow, Bounds, MessageRow, OutcomeRow
from pda.web import lists
from pda.web.formats import Selectable
from pda.web.ports import Settings
from pda.web.rows import Attempt, Message, Outcome
from tests.support import attempt, message
from tests.web.support import Web, user, web

LINES = [
    *message("4jXPlN1VQlzJb1", message_id="<98494.1.1@shop>", deliveries=[
        attempt("deferred", queue_id="4jXPlN1VQlzJb1", to="a@x.example", reason="450 4.2.0 later",
                dsn="4.2.0"),
        attempt("sent", queue_id="4jXPlN1VQlzJb1", to="a@x.example", delay="61",
                at="2026-03-10T10:01:01.000000+00:00"),
        attempt("bounced", queue_id="4jXPlN1VQlzJb1", to="b@y.example", dsn="5.1.1",
                reason="550 5.1.1 <b@y.example>: User unknown"),
    ]),
    *message("4jXPlN1VQlzJb2", message_id="<98494.2.2@post>", sender="=cmd@example.com", deliveries=[
        attempt("sent", queue_id="4jXPlN1VQlzJb2", to="c@x.example",
                at="2026-03-11T10:00:00.000000+00:00"),
    ]),
]  # fmt: skip


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Web]:
    with web(tmp_path, LINES) as app:
        yield app


async def page(app: Web, path: str, **how: Any) -> dict[str, Any]:
    response = await app.get(f"/api/v1/{path}", **how)
    body = await response.get_data(as_text=False)
    assert response.status_code == 200, body
    found: dict[str, Any] = msgspec.json.decode(body)
    return found


async def names(app: Web, path: str, **how: Any) -> list[str]:
    """First letters of the recipients, or ends of the queue ids of messages."""
    kind = path.partition("?")[0]
    rows = (await page(app, path, **how))[kind]
    return [row["queue_id"][-1] if kind == "messages" else row["recipient"][0] for row in rows]


async def test_a_page_looks_at_no_more_than_is_set(tmp_path: Path) -> None:
    with web(tmp_path, LINES, settings=Settings(page=Bounds(entries=1))) as app:
        first = await page(app, "messages?sender=news@example.com")
        assert (first["messages"], first["complete"]) == ([], False)
        rest = await page(app, f"messages?sender=news@example.com&after={first['next']}")
        assert ([one["client_id"] for one in rest["messages"]], rest["complete"]) == (
            ["shop"],
            True,
        )
        exported = await app.get("/api/v1/messages?sender=news@example.com&format=ndjson")
        assert (await exported.get_data(as_text=True)).count("\n") == 1


@pytest.mark.parametrize(
    ("published", "row"), [(Attempt, AttemptRow), (Outcome, OutcomeRow), (Message, MessageRow)]
)
def test_rows_are_published_member_by_member(
    published: type[Selectable], row: type[msgspec.Struct]
) -> None:
    assert published.__struct_fields__ == row.__struct_fields__


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("outcomes?order=oldest", ["a", "b", "c"]),
        ("outcomes", ["c", "b", "a"]),
        ("outcomes?client=shop", ["b", "a"]),
        ("outcomes?client=nobody", []),
        ("outcomes?recipient=a@X.example", ["a"]),
        ("outcomes?domain=X.EXAMPLE", ["c", "a"]),
        ("outcomes?text=CMD", ["c"]),
        ("outcomes?sender=news@example.com", ["b", "a"]),
        ("outcomes?queue_id=4jXPlN1VQlzJb2", ["c"]),
        ("outcomes?message_id=98494.2.2", ["c"]),
        ("outcomes?message_id=<98494.2.2@post>", ["c"]),
        ("outcomes?host=mx1", ["c", "b", "a"]),
        ("outcomes?host=mx2", []),
        ("outcomes?state=finally-ok", ["a"]),
        ("outcomes?bounce_type=hard", ["b"]),
        ("outcomes?category=invalid-recipient", ["b"]),
        ("outcomes?dsn=5.1", ["b"]),
        ("outcomes?dsn=5.11", []),
        ("outcomes?status=bounced", ["b"]),
        ("outcomes?relay=mx.example.org", ["c", "b", "a"]),
        ("outcomes?from=2026-03-11T00:00:00Z", ["c"]),
        ("outcomes?to=2026-03-11T00:00:00Z", ["b", "a"]),
        ("outcomes?client=shop&state=hard-bounce&dsn=5", ["b"]),
        ("attempts?status=deferred", ["a"]),
        ("attempts?state=finally-ok&order=oldest", ["a", "a"]),
        ("messages?order=oldest", ["1", "2"]),
        ("messages?recipient=c@x.example", ["2"]),
        ("messages?status=bounced", ["1"]),
        ("messages?limit=1", ["2"]),
    ],
)  # fmt: skip
async def test_filters(app: Web, query: str, found: list[str]) -> None:
    assert sorted(await names(app, query)) == sorted(found)
    if query.startswith("messages") or "order" in query:
        assert await names(app, query) == found


async def test_a_page_goes_on_behind_the_one_before_while_rows_arrive(app: Web) -> None:
    seen, after = [], ""
    for number in range(3, 6):
        found = await page(app, f"outcomes?order=oldest&limit=1&after={after}")
        seen += [row["recipient"] for row in found["outcomes"]]
        after = found["next"]
        app.store.add(message(f"4jXPlN1VQlzJb{number}", message_id=f"<98494.{number}.2@post>",
            deliveries=[attempt(queue_id=f"4jXPlN1VQlzJb{number}", to=f"{number}@z.example")]))  # fmt: skip
    rest = await page(app, f"outcomes?order=oldest&after={after}")
    seen += [row["recipient"] for row in rest["outcomes"]]
    assert seen == [
        "a@x.example", "b@y.example", "c@x.example", "3@z.example", "4@z.example", "5@z.example",
    ]  # fmt: skip
    assert (rest["next"], rest["complete"]) == (None, True)


async def test_times_and_members(app: Web) -> None:
    (row,) = (await page(app, "attempts?recipient=b@y.example"))["attempts"]
    assert tuple(row) == Attempt.__struct_fields__
    assert row["at"] == "2026-03-10T10:00:01.500000Z"
    (row,) = (await page(app, "messages?client=post"))["messages"]
    assert (row["born"], row["expired_at"]) == ("2026-03-10T10:00:00Z", None)
    (row,) = (await page(app, "outcomes?client=post&fields=state,recipient"))["outcomes"]
    assert list(row.items()) == [("state", "delivered"), ("recipient", "c@x.example")]


async def test_csv(app: Web) -> None:
    response = await app.get("/api/v1/outcomes?format=csv&order=oldest&fields=recipient,sender")
    assert response.headers["Content-Type"] == "text/csv"
    assert response.headers["Content-Disposition"] == 'attachment; filename="outcomes.csv"'
    head, *rows = csv.reader(io.StringIO(await response.get_data(as_text=True), newline=""))
    assert head == ["recipient", "sender"]
    assert rows[-1] == ["c@x.example", "'=cmd@example.com"]
    assert len(rows) == 3


async def test_ndjson_by_the_header(app: Web) -> None:
    accept = {"Accept": "application/x-ndjson"}
    response = await app.get("/api/v1/attempts?order=oldest", headers=accept)
    assert response.headers["Content-Type"] == "application/x-ndjson"
    lines = (await response.get_data(as_text=False)).splitlines()
    assert [msgspec.json.decode(line, type=Attempt).recipient[0] for line in lines] in (
        list("abac"),
        list("baac"),
    )
    assert "Vary" in response.headers


@pytest.mark.parametrize("form", ["csv", "ndjson"])
@pytest.mark.parametrize(("limit", "rows"), [("", 3), ("&limit=2", 2), ("&limit=9", 3)])
async def test_an_export_is_the_same_in_however_many_parts(
    app: Web, monkeypatch: pytest.MonkeyPatch, form: str, limit: str, rows: int
) -> None:
    path = f"/api/v1/outcomes?format={form}{limit}"
    whole = await app.text(path)
    monkeypatch.setattr(lists, "_EXPORTED", 1)
    assert await app.text(path) == whole
    assert len(whole.splitlines()) == rows + (form == "csv")


async def test_an_export_of_nothing_has_its_head(app: Web) -> None:
    path = "/api/v1/outcomes?client=nobody&fields=state&format="
    assert await app.text(f"{path}csv") == "state\r\n"
    assert await app.text(f"{path}ndjson") == ""


async def test_a_cursor_that_is_none(app: Web) -> None:
    response = await app.get("/api/v1/outcomes?after=nonsense")
    found = msgspec.json.decode(await response.get_data(as_text=False))
    assert (response.status_code, found["errors"][0]["name"]) == (400, "after")


async def test_a_client_asks_for_its_own_only(tmp_path: Path) -> None:
    with web(tmp_path, LINES, users=[user("shop", "client", "shop")]) as app:
        assert await names(app, "outcomes", user="shop") == ["b", "a"]
        assert await names(app, "outcomes?client=shop", user="shop") == ["b", "a"]
        assert await names(app, "outcomes?client=post", user="shop") == []
        assert await names(app, "outcomes?recipient=c@x.example", user="shop") == []
        assert await app.text("/api/v1/outcomes?client=post&format=ndjson", user="shop") == ""
