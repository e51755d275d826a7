"""What holds for every route of `/api/v1`, whoever adds one: it is described, named in the README,
refuses bad input with a problem document that says why, and shows no client another one's mail.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import pytest
from quart import Response

from pda.store.database import OperationalError
from pda.web.app import as_refused
from pda.web.ports import Settings
from tests.support import attempt, line, message
from tests.web.described import STREAMS, Described, routes
from tests.web.support import Web, user, web

ROOT = Path(__file__).parent.parent.parent
LINES = message(deliveries=[attempt(), attempt("bounced", reason="550 5.1.1 who?", dsn="5.1.1")])
PROBLEM = {"type", "title", "status", "detail"}
LIST = b'<bounces><regex id="own" category="policy" on="reply"><or>who</or></regex></bounces>'


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Web]:
    with web(tmp_path, LINES) as app:
        yield app


async def ask(app: Web, route: Described, url: str = "", **how: Any) -> Response:
    """The answer of a route; with a usable body unless another one is given."""
    how.setdefault("data", LIST if route.takes == "application/xml" else route.example_body())
    return await app.get(url or route.url(**route.required()), method=route.method, **how)


async def problem(response: Response) -> dict[str, Any]:
    """A problem document; nothing of the code is in it."""
    body = await response.get_data(as_text=False)
    assert response.headers["Content-Type"] == "application/problem+json", body
    found: dict[str, Any] = msgspec.json.decode(body)
    assert found.keys() - {"errors"} == PROBLEM
    assert found["status"] == response.status_code
    assert found["detail"]
    assert b"Traceback" not in body
    assert b".py" not in body
    return found


async def test_every_route_is_described(app: Web) -> None:
    described = {(one.method, one.path) for one in await routes(app)}
    served = {
        (method, rule.rule.replace("<path:", "{").replace("<", "{").replace(">", "}"))
        for rule in app.app.url_map.iter_rules()
        if rule.rule.startswith("/api/v1")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert served == described


async def test_every_route_is_in_the_readme(app: Web) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    # A parameter of the path stands there in capitals.
    paths = {re.sub(r"{(\w+)}", lambda m: m[1].upper(), one.path) for one in await routes(app)}
    missing = {path for path in paths if f"`{path}`" not in readme}
    assert not missing


async def test_operations_have_names_of_their_own(app: Web) -> None:
    names = [one.operation["operationId"] for one in await routes(app)]
    assert len(set(names)) == len(names)
    assert all(one.operation["summary"] for one in await routes(app))


async def test_every_route_has_examples(app: Web) -> None:
    """They have the members of what they are examples of, each of them."""
    document = msgspec.json.decode(await app.text("/openapi.json"))
    for route in await routes(app):
        parts = [one for s, one in route.operation["responses"].items() if s.startswith("2")]
        for part in (*parts, route.operation.get("requestBody", {})):
            if (shown := part.get("content", {}).get("application/json")) is not None:
                assert "example" in shown, route.name
                known = document["components"]["schemas"]
                assert not unlike(shown["example"], shown["schema"], known), route.name


def unlike(value: Any, schema: dict[str, Any], known: dict[str, Any]) -> list[str]:
    """What of an example is not as its schema says: members that are not known, or that it lacks."""
    choices = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    schema = known[choices[0]["$ref"].rpartition("/")[2]] if "$ref" in choices[0] else choices[0]
    if isinstance(value, dict) and "properties" in schema:
        members = schema["properties"]
        wrong = [*(value.keys() - members), *(set(schema.get("required", ())) - value.keys())]
        within = [unlike(value[name], members[name], known) for name in value.keys() & members]
    elif isinstance(value, list):
        wrong, within = [], [unlike(one, schema["items"], known) for one in value if value]
    else:
        wrong, within = [], []
    return [*wrong, *(one for some in within for one in some)]


# --- Bad input ---------------------------------------------------------------------------------


async def test_unknown_and_repeated_parameters_are_named(app: Web) -> None:
    for route in await routes(app):
        found = await problem(await ask(app, route, route.url(colour="red", **route.required())))
        assert found["status"] == 400, route.name
        assert [one["name"] for one in found["errors"]] == ["colour"], route.name
        for parameter in route.parameters:
            name = parameter["name"]
            found = await problem(await ask(app, route, f"{route.url()}?{name}=1&{name}=1"))
            assert name in {one["name"] for one in found["errors"]}, (route.name, name)


async def test_values_that_do_not_fit_are_named(app: Web) -> None:
    for route in await routes(app):
        for parameter in route.parameters:
            schema, name = parameter["schema"], parameter["name"]
            if schema.get("type") == "string" and "enum" not in schema:
                bad = "x" * 5000 if "maxLength" in schema else None
            else:
                bad = "\N{SNOWMAN}"
            if bad is not None and schema.get("type") != "array":
                query = route.required() | {name: bad}
                found = await problem(await ask(app, route, route.url(**query)))
                assert found["status"] == 400, (route.name, name)
                assert [one["name"] for one in found["errors"]] == [name], (route.name, name)


async def test_every_text_that_is_asked_for_is_bounded(app: Web) -> None:
    endless = [
        (route.name, one["name"])
        for route in await routes(app)
        for one in route.parameters
        if one["schema"].get("type") == "string"
        and not {"maxLength", "enum", "pattern"} & one["schema"].keys()
    ]
    assert not endless


@pytest.mark.parametrize(
    "value", ["\0", "'; DROP TABLE entry; --", "%", "\ud7ff", "💥" * 200, "-1", ""]
)
async def test_hostile_values_are_answered_as_described(app: Web, value: str) -> None:
    for route in await routes(app):
        if route.name in STREAMS:
            continue
        for parameter in route.parameters:
            query = route.required() | {parameter["name"]: value}
            response = await ask(app, route, route.url(path=value or "x", **query))
            assert response.status_code in route.statuses, (route.name, query)
            assert response.status_code < 500, (route.name, query)
            if response.status_code >= 400:
                await problem(response)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff", b"null", b'{"colour": "red"}', b"<a/>"]
)
async def test_bad_bodies(app: Web, body: bytes) -> None:
    for route in await routes(app):
        if route.takes is not None:
            found = await problem(await ask(app, route, data=body))
            assert found["status"] in {400, 422} & route.statuses, route.name


async def test_large_bodies(app: Web) -> None:
    for route in await routes(app):
        if route.takes is not None:
            found = await problem(await ask(app, route, data=b" " * 5 * 1024 * 1024))
            assert found["status"] == 413, route.name


async def test_methods_that_a_path_does_not_have(app: Web) -> None:
    known: dict[str, set[str]] = {}
    for route in await routes(app):
        known.setdefault(route.url(), set()).add(route.method)
    for url, methods in known.items():
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - methods:
            response = await app.get(url, method=method)
            assert (await problem(response))["status"] == 405, (method, url)
            assert methods <= set(response.headers["Allow"].split(", "))


async def test_paths_that_are_not_there(app: Web) -> None:
    for path in ("/api/v1", "/api/v1/", "/api/v1/nonsense", "/api/v2"):
        assert (await problem(await app.get(path)))["status"] == 404


# --- Failures ----------------------------------------------------------------------------------


async def test_nobody_is_let_in(tmp_path: Path) -> None:
    with web(tmp_path, LINES, users=[user("root", "admin")]) as app:
        for route in await routes(app, user="root"):
            response = await ask(app, route)
            assert (await problem(response))["status"] == 401, route.name
            assert response.headers["WWW-Authenticate"]


async def test_a_store_that_is_too_slow_is_busy(tmp_path: Path) -> None:
    busy = 0
    with web(tmp_path, LINES) as app:
        described = await routes(app)
    with web(tmp_path, settings=Settings(request_timeout=0)) as app:
        for route in described:
            if route.name in STREAMS:
                continue
            response = await ask(app, route)
            assert response.status_code in route.statuses - {500}, route.name
            if response.status_code >= 400:
                busy += (await problem(response))["status"] == 503
    assert busy > 5


def test_a_locked_store_is_busy() -> None:
    refused = as_refused(OperationalError("database is locked"))
    assert (refused.status, refused.headers) == (503, {"Retry-After": "1"})
    assert "again" in refused.sentence


async def test_a_broken_store_is_a_failure_without_a_word_about_the_code(tmp_path: Path) -> None:
    failed = 0
    with web(tmp_path, LINES) as app:
        described = await routes(app)
        for table in ("entry", "attempt", "outcome", "import", "host", "client"):
            app.store.connection.execute(f"ALTER TABLE {table} RENAME TO gone_{table}")
        for route in described:
            if route.name in STREAMS:
                continue
            response = await ask(app, route)
            if response.status_code >= 400:
                found = await problem(response)
                failed += found["status"] == 500
                assert "gone" not in found["detail"], route.name
    assert failed > 5


# --- One client and another --------------------------------------------------------------------

MINE, THEIRS = "shop", "zebra"
CLIENTS = [
    *message(message_id="<98494.1.1@shop>", sender="s@shop.example", deliveries=[
        attempt("bounced", to="a@shop.example", reason="550 5.1.1 shop who?", dsn="5.1.1"),
    ]),
    *message("4jXPlN1VQlzJb2", message_id="<98494.2.2@zebra>", sender="z@zebra.example", deliveries=[
        attempt("bounced", queue_id="4jXPlN1VQlzJb2", to="z@zebra.example",
                reason="550 5.1.1 zebra who?", dsn="5.1.1"),
        attempt("deferred", queue_id="4jXPlN1VQlzJb2", to="b@zebra.example",
                reason="450 4.2.0 zebra sleeps", dsn="4.2.0"),
    ]),
    line("4jXPlN1VQlzJb2: info: header client-id: zebra from localhost[127.0.0.1];"
         " from=<z@zebra.example> to=<z@zebra.example> proto=ESMTP helo=<h>", program="cleanup"),
]  # fmt: skip
THEIR_VALUES = ["zebra", "z@zebra.example", "zebra.example", "4jXPlN1VQlzJb2", "98494.2.2"]
BODIES = {
    "POST /api/v1/classify": '{"reason": "550 5.1.1 who?"}',  # nothing stored is looked at
    "POST /api/v1/lookup": '{"addresses": ["§"], "message_ids": ["§"]}',
    "POST /api/v1/webhooks": '{"url": "https://192.0.2.1/", "client": "§"}',
    "POST /api/v1/suppressions": '{"address": "§", "mail": "never", "client": "§"}',
}
"""What a client asks with a body; § stands for what belongs to another one."""


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Web]:
    users = [user("boss"), user("shop", "client", MINE)]
    with web(tmp_path, CLIENTS, users=users) as app:
        yield app


async def told(
    app: Web, route: Described, url: str, who: str = "shop", value: str = "shop"
) -> tuple[int, str]:
    data = BODIES[route.name].replace("§", value).encode() if route.name in BODIES else None
    response = await ask(app, route, url, user=who, data=data)
    return response.status_code, await response.get_data(as_text=True)


async def test_there_is_something_to_hide(two: Web) -> None:
    shown = [
        route.name
        for route in await routes(two, user="boss")
        if route.method == "GET"
        and route.name not in STREAMS
        and "zebra" in (await told(two, route, route.url(), "boss"))[1]
    ]
    assert {
        "GET /api/v1/outcomes", "GET /api/v1/attempts", "GET /api/v1/messages",
        "GET /api/v1/clients", "GET /api/v1/rules/stats",
    } <= set(shown)  # fmt: skip


async def test_a_client_sees_nothing_of_another(two: Web) -> None:
    for route in await routes(two, user="boss"):
        if route.name in STREAMS:
            continue
        if route.takes is not None and route.name not in BODIES:
            status, _ = await told(two, route, route.url(**route.required()))
            assert status == 403, (
                f"{route.name}: say in BODIES how a client asks for another's data"
            )
        for number in range(5):
            _, body = await told(two, route, route.url(str(number), **route.required()))
            assert "zebra" not in body.lower(), route.name
        for form in ("ndjson", "csv"):
            if "format" in {one["name"] for one in route.parameters}:
                _, body = await told(two, route, route.url(format=form))
                assert "shop" in body, route.name
                assert "zebra" not in body, route.name


async def test_another_client_looks_like_an_unknown_one(two: Web) -> None:
    for route in await routes(two, user="boss"):
        if route.name in STREAMS:
            continue
        texts = [
            one["name"]
            for one in route.parameters
            if "enum" not in one["schema"] and one["schema"].get("type") == "string"
        ]
        for theirs, name in product(THEIR_VALUES, [*texts, None] if route.takes else texts):
            if name == "after":  # a place, not a filter: what is behind it is the asker's own
                continue
            there, not_there = [
                await told(
                    two, route, route.url(path, **route.required() | ({name: value} if name else {})),
                    value=value,
                )
                for path, value in (("2", theirs), ("7", "nobody@x.example"))
            ]  # fmt: skip
            assert (there[0], same(there[1], theirs, "2")) == (
                not_there[0],
                same(not_there[1], "nobody@x.example", "7"),
            ), (route.name, name, theirs)


def same(body: str, value: str, path: str) -> str:
    """What does not hang on what was asked for."""
    return body.replace(value, "…").replace(f" {path}", " …").replace(f'"{path}"', '"…"')


async def test_the_originals_interface_hides_it_too(two: Web) -> None:
    for place in ("", "/rcptEmail/z@zebra.example", "/queue/4jXPlN1VQlzJb2", "/message/98494.2.2"):
        for query in ("", "?groupBy=rcptEmail", "?lastOrFirst=true"):
            theirs, nobodys, mixed, all_of_it = [
                msgspec.json.decode(await two.text(f"/agent-read/{name}{place}{query}", user=who))[
                    "result"
                ]
                for name, who in (
                    (THEIRS, "shop"),
                    ("nobody", "shop"),
                    (MINE, "shop"),
                    (THEIRS, "boss"),
                )
            ]
            assert theirs == nobodys
            assert not place or mixed == nobodys
            assert all_of_it
    for path in ("/agent-read", "/agent-status", *(f"/agent-status/{each}" for each in (
        "rcpt-address-counts", "rcpt-addresses", "unknown-bounces", "index-age", "memory-usage",
        "index-memory-footprint", "indexed-log-files", "server-info",
    ))):  # fmt: skip
        assert "zebra" not in await two.text(path, user="shop")
