"""Declared routes: what is read, refused and answered, and the document that describes them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta
from quart import g
from quart_trio import QuartTrio
from quart_trio.testing import TrioClient

from pda.web.auth import Principal
from pda.web.errors import Refused
from pda.web.openapi import document
from pda.web.problems import problem
from pda.web.routes import Operation, Route, Router, Who
from pda.web.values import Moment, When, publisher
from tests.web.support import web


class Query(msgspec.Struct, frozen=True):
    """What may be asked."""

    limit: Annotated[int, Meta(ge=1, le=9, description="At the most.")] = 5
    since: Annotated[Moment | None, Meta(description="Since when.")] = msgspec.field(
        default=None, name="from"
    )
    states: Annotated[tuple[Literal["open", "shut"], ...], Meta(description="Which.")] = ()
    text: Annotated[str | None, Meta(description="A text.")] = None


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is sent."""

    names: list[str]


class Answer(msgspec.Struct, frozen=True):
    """What is answered."""

    said: str


class Room:
    """Declares a route of each kind."""

    @Operation("GET", "/api/v1/doors")
    async def doors(self, query: Query) -> Answer:
        """Which doors there are.

        More about doors.
        """
        return Answer(f"{query.limit} {query.since!r} {query.states} {query.text}")

    @Operation("GET", "/api/v1/doors/{number}/{name}")
    async def door(
        self,
        number: Annotated[int, Meta(description="Which.")],
        name: Annotated[str, Meta(description="Its name.")],
        principal: Principal,
    ) -> Answer:
        """One door."""
        return Answer(f"{number} {name} {principal.name}")

    @Operation("POST", "/api/v1/doors", status=201, most_body=100, errors={409: "It is there."})
    async def new(self, body: Body) -> Answer:
        """A new door."""
        if body.names == ["taken"]:
            raise Refused(409, "it is there")
        return Answer(" ".join(body.names))

    @Operation("PUT", "/api/v1/raw", who=Who.WHOLE, takes="text/plain", answers={"text/csv": str})
    async def raw(self, body: bytes) -> None:
        """Octets."""

    @Operation("DELETE", "/api/v1/all", who=Who.ADMIN, answers=Answer)
    async def remove(self) -> msgspec.Raw:
        """Removes all."""
        return msgspec.Raw(b'{"said":"gone"}')


class Asking:
    """Asks a small application as somebody."""

    def __init__(self) -> None:
        self.app = QuartTrio("doors")
        self.router = Router(self.app)
        self.router.add("Doors", Room())
        self.principal = Principal("ann", "admin")
        self.app.before_request(self._enter)
        self.app.register_error_handler(Refused, problem)

    async def _enter(self) -> None:
        g.principal = self.principal

    async def __call__(self, path: str, method: str = "GET", **how: Any) -> tuple[int, Any]:
        response = await TrioClient(self.app).open(path, method=method, **how)
        body = await response.get_data(as_text=False)
        return response.status_code, msgspec.json.decode(body) if body else None


@pytest.fixture
def asked() -> Asking:
    return Asking()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "5 None () None"),
        ("?limit=9&text=", "9 None () "),
        (
            "?from=1970-01-01T00:00:01Z&states=open,shut&text=null",
            "5 1000000 ('open', 'shut') null",
        ),
        ("?from=1000000000", "5 1000000000000 () None"),
        ("?text=a%2Cb%20c%C3%A4", "5 None () a,b cä"),
    ],
)
async def test_queries_are_read(asked: Asking, query: str, said: str) -> None:
    assert await asked(f"/api/v1/doors{query}") == (200, {"said": said})


@pytest.mark.parametrize(
    ("query", "mistakes"),
    [
        ("limit=0", {"limit": "'0': expected int >= 1"}),
        ("limit=", {"limit": "'': expected int, got str"}),
        ("limit=1&limit=2", {"limit": "is given more than once"}),
        ("colour=red", {"colour": "is not known; known are limit, from, states, text"}),
        ("states=open,wide", {"states": "'open,wide': one of open, shut is expected"}),
        (
            "from=yesterday&limit=x",
            {
                "from": "'yesterday': 'yesterday' is no time such as 2026-11-23 or"
                " 2026-11-23T10:00:00+01:00",
                "limit": "'x': expected int, got str",
            },
        ),
    ],
)
async def test_every_mistake_of_a_query_is_named(
    asked: Asking, query: str, mistakes: dict[str, str]
) -> None:
    status, answer = await asked(f"/api/v1/doors?{query}")
    assert (status, answer["status"], answer["title"]) == (400, 400, "Bad Request")
    assert {one["name"]: one["detail"] for one in answer["errors"]} == mistakes
    assert {one["where"] for one in answer["errors"]} == {"query"}
    assert all(name in answer["detail"] for name in mistakes)


async def test_paths_are_read(asked: Asking) -> None:
    assert await asked("/api/v1/doors/3/a%2Fb@c") == (200, {"said": "3 a/b@c ann"})
    status, answer = await asked("/api/v1/doors/three/a")
    assert (status, answer["errors"][0]["where"], answer["errors"][0]["name"]) == (
        400, "path", "number",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status", "where"),
    [
        (b'{"names": ["a", "b"]}', 201, ""),
        (b'{"names": ["taken"]}', 409, ""),
        (b'{"names": ["a", 1]}', 400, "names[1]"),
        (b'{"names": [], "colour": 1}', 400, ""),
        (b"{}", 400, ""),
        (b"", 400, ""),
        (b"\xff", 400, ""),
        (b'{"names": ["\xff"]}', 400, ""),
        (b'{"names": ["' + b"x" * 100 + b'"]}', 413, ""),
    ],
)
async def test_bodies_are_read(asked: Asking, body: bytes, status: int, where: str) -> None:
    found, answer = await asked("/api/v1/doors", "POST", data=body)
    assert found == status
    if status == 400:
        assert [(one["where"], one["name"]) for one in answer["errors"]] == [("body", where)]


async def test_who_may_ask(asked: Asking) -> None:
    statuses = {}
    for principal in (
        Principal("a", "admin"),
        Principal("r", "reader"),
        Principal("c", "client", "c"),
    ):
        asked.principal = principal
        statuses[principal.role] = [
            (await asked("/api/v1/doors"))[0],
            (await asked("/api/v1/raw", "PUT", data=b"x"))[0],
            (await asked("/api/v1/all", "DELETE"))[0],
        ]
    assert statuses == {
        "admin": [200, 204, 200],
        "reader": [200, 204, 403],
        "client": [200, 403, 403],
    }


def test_what_is_declared_is_described(asked: Asking) -> None:
    described = document(
        asked.router.routes, "1", {"GET /api/v1/doors": {"answer": {"said": "of the example"}}}
    )
    doors = described["paths"]["/api/v1/doors"]
    assert (doors["get"]["summary"], doors["get"]["tags"]) == ("Which doors there are.", ["Doors"])
    assert doors["get"]["description"].startswith("More about doors.")
    assert [one["name"] for one in doors["get"]["parameters"]] == [
        "limit",
        "from",
        "states",
        "text",
    ]
    assert doors["get"]["parameters"][0] == {
        "name": "limit", "in": "query", "required": False, "description": "At the most.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 9, "default": 5},
    }  # fmt: skip
    assert doors["get"]["responses"]["200"]["content"]["application/json"] == {
        "schema": {"$ref": "#/components/schemas/Answer"}, "example": {"said": "of the example"},
    }  # fmt: skip
    assert "413" not in doors["get"]["responses"]
    assert doors["post"]["responses"]["409"]["description"] == "It is there."
    assert {"400", "401", "403", "413", "429", "500", "503"} <= doors["post"]["responses"].keys()
    assert doors["post"]["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Body"
    }
    assert described["components"]["schemas"]["Answer"]["description"] == "What is answered."
    raw = described["paths"]["/api/v1/raw"]["put"]
    assert list(raw["requestBody"]["content"]) == ["text/plain"]
    assert list(raw["responses"]["200"]["content"]) == ["text/csv"]


def test_a_parameter_without_a_description_is_a_mistake() -> None:
    class Bare(msgspec.Struct):
        limit: int = 1

    class Wrong:
        @Operation("GET", "/api/v1/wrong")
        async def wrong(self, query: Bare) -> Answer:
            """Wrong."""
            return Answer(str(query))

    Wrong.wrong.__annotations__.update(query=Bare)
    with pytest.raises(AssertionError, match="limit is not described"):
        document([Route("Wrong", Wrong().wrong)], "1", {})


def test_times_are_published() -> None:
    class Kept(msgspec.Struct):
        name: str
        at: int
        first_at: int
        last_at: int

    class Published(msgspec.Struct):
        name: str
        at: Annotated[When, Meta(description="When.")]
        first_at: Annotated[When | None, Meta(description="When first.")]
        last_at: When | None

    publish = publisher(Published)
    assert publish(Kept("a", 0, 0, 0)) == Published("a", "1970-01-01T00:00:00Z", None, None)
    late = publish(Kept("a", 0, 1_500_000, 1_500_000))
    assert late.first_at == late.last_at == "1970-01-01T00:00:01.500000Z"


async def test_the_served_document_and_its_page(tmp_path: Path) -> None:
    with web(tmp_path) as app:
        described = msgspec.json.decode(await app.text("/openapi.json"))
        page = await app.text("/api")
    assert described["openapi"] == "3.1.0"
    assert described["info"]["version"] == "1.2.3"
    for path, operations in described["paths"].items():
        for method, one in operations.items():
            assert f"{method.upper()} {path}" in page
            assert f'id="{one["operationId"]}"' in page
    assert "<script>" not in page
    assert "style=" not in page
