"""The description of `/api/v1`, made from the declared routes: OpenAPI 3.1, and a page to read.

Owns how a `Route` is written as an OpenAPI operation, with its examples (data/examples.json, by
route), and `/openapi.json` and `/api`. The page shows the document and nothing else, and needs no
script. Knows no route by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Any, Final, TypeAlias

import msgspec
from quart import Response, render_template, request

from pda.web.formats import Selectable
from pda.web.problems import CONTENT_TYPE, Problem
from pda.web.routes import JSON, Route, Router, Who
from pda.web.values import is_list, not_none, schema_of

Object: TypeAlias = dict[str, Any]
Examples: TypeAlias = dict[str, Object]
"""By route: its `body` and its `answer`."""

_ABOUT: Final = """\
What became of the mail that applications handed to Postfix. Times are RFC 3339 in UTC, durations
seconds, sizes octets. Log in with HTTP Basic or a bearer token; the role client sees its own client
id only: whatever belongs to others is not there for it. Every error is a problem document
(RFC 9457)."""
_ERRORS: Final = {
    400: "The request is not as described here: `errors` names each parameter and why.",
    401: "Nobody is logged in.",
    403: "Whoever is logged in may not do this, or another site asks for it.",
    408: "The body did not come whole in time.",
    413: "The body is too large.",
    421: "This host name is not served here.",
    429: "Too much at a time: try again after the seconds in `Retry-After`.",
    500: "A mistake of pda's; its log says more.",
    503: "The database is busy or the answer took too long: ask for less, or again later.",
}
_OF_BODIES: Final = (408, 413)
_WHO: Final = {
    Who.ANYBODY: "Every role may ask; a client about its own client id.",
    Who.WHOLE: "For the roles admin and reader.",
    Who.ADMIN: "For the role admin.",
}


class Description:
    """Answers what there is to ask."""

    def __init__(self, router: Router, version: str) -> None:
        self._router = router
        self._version = version
        self._document: Object = {}

    def register(self) -> None:
        """Takes its paths; what is added to the router afterwards is described too."""
        self._router.app.add_url_rule("/openapi.json", "openapi", self.openapi)
        self._router.app.add_url_rule("/api", "api", self.page)
        self._router.app.jinja_env.filters["pretty"] = _pretty

    async def openapi(self) -> Response:
        """The description for programs."""
        return Response(msgspec.json.encode(self._served()), content_type=JSON)

    async def page(self) -> str:
        """The description for people."""
        return await render_template("api.html", document=self._served())

    def _served(self) -> Object:
        self._document = self._document or document(self._router.routes, self._version, _examples())
        return self._document | {"servers": [{"url": request.root_path or "/"}]}


def document(routes: Iterable[Route], version: str, examples: Examples) -> Object:
    """The OpenAPI document of these routes."""
    routes, schemas = list(routes), _Schemas()
    paths: dict[str, Object] = {}
    for route in routes:
        of_path = paths.setdefault(route.operation.path, {})
        of_path[route.operation.method.lower()] = _described(
            route, schemas, examples.get(route.name, {})
        )
    errors = {str(status): _error(said, schemas) for status, said in _ERRORS.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "pda", "version": version, "description": _ABOUT},
        "security": [{"basic": []}, {"token": []}],
        "tags": [{"name": name} for name in dict.fromkeys(route.group for route in routes)],
        "paths": paths,
        "components": {
            "schemas": schemas.finished(),
            "responses": errors,
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "token": {"type": "http", "scheme": "bearer"},
            },
        },
    }


class _Schemas:
    """JSON Schemas of types; those of structs stand under their names, and are referred to."""

    def __init__(self) -> None:
        self.components: dict[str, Object] = {}

    def of(self, kind: Any) -> Object:
        """The schema of a type."""
        (schema,), named = msgspec.json.schema_components(
            [kind], schema_hook=schema_of, ref_template="#/components/schemas/{name}"
        )
        for name, one in named.items():
            assert self.components.setdefault(name, one) == one, f"two types are named {name}"
        return schema

    def finished(self) -> dict[str, Object]:
        """All of them."""
        partly = {kind.__name__ for kind in Selectable.__subclasses__()}
        return {
            name: one | {"required": []} if name in partly else one
            for name, one in self.components.items()
        }


def _described(route: Route, schemas: _Schemas, shown: Object) -> Object:
    operation = route.operation
    described: Object = {
        "tags": [route.group],
        "operationId": route.view.__name__,
        "summary": route.summary,
        "description": f"{route.description}\n\n{_WHO[operation.who]}".strip(),
        "parameters": list(_parameters(route, schemas)),
        "responses": {
            str(route.status): _answer(route, schemas, shown.get("answer")),
            **_errors(route, schemas),
        },
    }
    if route.body is not None:
        described["requestBody"] = _body(route, schemas, shown.get("body"))
    return described


def _parameters(route: Route, schemas: _Schemas) -> Iterator[Object]:
    for name, kind in route.path.items():
        yield _parameter(name, "path", schemas.of(kind)) | {"required": True}
    for each in msgspec.structs.fields(route.query) if route.query else ():
        schema = schemas.of(not_none(each.type))
        if each.default not in (None, msgspec.NODEFAULT):
            schema["default"] = each.default
        parameter = _parameter(each.encode_name, "query", schema) | {"required": each.required}
        yield parameter | ({"style": "form", "explode": False} if is_list(each.type) else {})


def _parameter(name: str, where: str, schema: Object) -> Object:
    described = schema.pop("description", None)
    assert described, f"the {where} parameter {name} is not described"
    return {"name": name, "in": where, "description": described, "schema": schema}


def _body(route: Route, schemas: _Schemas, example: object) -> Object:
    kind = str if route.body is bytes else route.body
    return {
        "required": True,
        "content": {route.operation.takes: _content(schemas.of(kind), example)},
    }


def _answer(route: Route, schemas: _Schemas, example: object) -> Object:
    if not route.answers:
        return {"description": "Done."}
    content = {
        media: _content(schemas.of(kind), example if media == JSON else None)
        for media, kind in route.answers.items()
    }
    return {"description": HTTPStatus(route.status).phrase, "content": content}


def _errors(route: Route, schemas: _Schemas) -> Object:
    own = {str(s): _error(said, schemas) for s, said in route.operation.errors.items()}
    usual = [status for status in _ERRORS if status not in _OF_BODIES or route.body is not None]
    return {str(s): {"$ref": f"#/components/responses/{s}"} for s in usual} | own


def _error(said: str, schemas: _Schemas) -> Object:
    return {"description": said, "content": {CONTENT_TYPE: _content(schemas.of(Problem))}}


def _content(schema: Object, example: object = None) -> Object:
    if example is None:
        return {"schema": schema}
    return {"schema": schema, "example": example}


@cache
def _examples() -> Examples:
    octets = files("pda").joinpath("data", "examples.json").read_bytes()
    return msgspec.json.decode(octets, type=Examples)


def _pretty(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
