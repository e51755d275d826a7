"""How a route of `/api/v1` is declared, and what follows from its declaration.

A room's method says what it takes by its parameters and what it answers by its return type;
`Operation` adds its path and the rest. From that follow who may ask, validation, encoding, and the
entry in the OpenAPI document (`openapi`). Knows no question and no page.

quart-schema, which does much of this, knows JSON answers only (neither CSV, NDJSON nor problem
details), no examples and no errors, and does not say which parameter is wrong.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from enum import Enum
from typing import Any, Final, TypeVar, get_type_hints

import msgspec
from quart import Response, g, request
from quart.app import Quart

from pda.web.auth import Principal
from pda.web.errors import Invalid, Mistake, Refused
from pda.web.values import is_text, read_json, read_text, read_texts

JSON: Final = "application/json"
_MARK: Final = "_pda_operation"
_MOST_BODY: Final = 1024 * 1024
_View = TypeVar("_View", bound=Callable[..., Awaitable[object]])


class Who(Enum):
    """Who may ask, and what is said to the others."""

    ANYBODY = ""
    """A client principal too, about its own client id."""
    WHOLE = "this is about the whole service; your user sees one client only"
    ADMIN = "this needs the role admin"

    def admits(self, principal: Principal) -> bool:
        """Whether this principal may ask."""
        if self is Who.ADMIN:
            return principal.is_admin
        return self is Who.ANYBODY or principal.client_id is None


@dataclass(frozen=True, slots=True)
class Operation:
    """Declares a method as the view of a route: `@Operation("GET", "/api/v1/things/{id}")`.

    The method's parameters are named `query` (a struct of the query's parameters), `body` (a
    struct, or bytes), `principal`, or as in the path, each with its type. It returns a struct, None
    (204), or what is encoded already: msgspec.Raw (JSON) or a Response. The first line of its
    docstring is the summary, the rest the description; both are published.
    """

    method: str
    path: str
    """With its parameters in braces; a text that ends it may hold slashes."""
    _: KW_ONLY
    who: Who = Who.ANYBODY
    answers: object = None
    """Where the method returns what is encoded already: the type, or types by media type."""
    status: int = 200
    takes: str = JSON
    """Media type of the body, where the method has a parameter `body`."""
    most_body: int = _MOST_BODY
    """Octets."""
    errors: Mapping[int, str] = field(default_factory=dict)
    """Statuses that are its own, and when."""

    def __call__(self, view: _View) -> _View:
        """The method as it is, marked."""
        setattr(view, _MARK, self)
        return view


class Route:
    """A declared method of a room, with its types."""

    def __init__(self, group: str, view: Callable[..., Awaitable[object]]) -> None:
        self.group = group
        self.operation: Operation = getattr(view, _MARK)
        self.view = view
        self.summary, _, rest = (inspect.getdoc(view) or "").partition("\n")
        self.description = rest.strip()
        hints = get_type_hints(view, include_extras=True)
        returned = hints.pop("return")
        self.takes_principal = hints.pop("principal", None) is not None
        self.query: type[msgspec.Struct] | None = hints.pop("query", None)
        self.body: type | None = hints.pop("body", None)
        self.path: dict[str, Any] = hints
        assert set(hints) == set(re.findall(r"{(\w+)}", self.operation.path)), self.name
        self.answers = _answers(self.operation.answers, returned)

    @property
    def name(self) -> str:
        """`METHOD /path`."""
        return f"{self.operation.method} {self.operation.path}"

    @property
    def status(self) -> int:
        """Of an answer that is none of the errors."""
        return self.operation.status if self.answers else 204

    @property
    def rule(self) -> str:
        """The path as the application's map takes it."""
        return re.sub(r"{(\w+)}", self._placeholder, self.operation.path)

    def _placeholder(self, parameter: re.Match[str]) -> str:
        name = parameter[1]
        is_last = parameter.end() == len(parameter.string)
        return f"<path:{name}>" if is_last and is_text(self.path[name]) else f"<{name}>"

    async def answer(self, **path: str) -> Response:
        """The answer to the current request; raises `Refused`."""
        who: Who = self.operation.who
        if not who.admits(g.principal):
            raise Refused(403, who.value)
        values = self._read_path(path) | self._read_query()
        if self.takes_principal:
            values["principal"] = g.principal
        if self.body is not None:
            values["body"] = await self._read_body(self.body)
        return self._respond(await self.view(**values))

    def _read_path(self, path: Mapping[str, str]) -> dict[str, Any]:
        values, mistakes = {}, []
        for name, text in path.items():
            try:
                values[name] = read_text(self.path[name], text)
            except ValueError as error:
                mistakes.append(Mistake("path", name, str(error)))
        if mistakes:
            raise Invalid(mistakes)
        return values

    def _read_query(self) -> dict[str, Any]:
        texts = dict(request.args.lists())
        values = read_texts(self.query or _Nothing, texts, "query")
        return {"query": values} if self.query else {}

    async def _read_body(self, kind: type) -> object:
        most = self.operation.most_body
        if (request.content_length or 0) > most:
            raise Refused(413, f"the body is larger than {most} octets")
        body = await request.get_data(as_text=False)
        assert isinstance(body, bytes)
        if len(body) > most:
            raise Refused(413, f"the body is larger than {most} octets")
        return body if kind is bytes else read_json(kind, body)

    def _respond(self, answer: object) -> Response:
        if isinstance(answer, Response):
            return answer
        if answer is None:
            return _nothing()
        return Response(msgspec.json.encode(answer), self.status, content_type=JSON)


def _nothing() -> Response:
    """Neither content nor anything that describes some (RFC 9110)."""
    response = Response("", 204)
    for name in ("Content-Type", "Content-Length"):
        del response.headers[name]
    return response


class _Nothing(msgspec.Struct, frozen=True):
    """The query of what takes none."""


class Router:
    """The routes of `/api/v1`: it adds them to the application, and knows them afterwards."""

    def __init__(self, app: Quart) -> None:
        self.app = app
        self.routes: list[Route] = []

    def add(self, group: str, room: object) -> None:
        """Every declared method of a room, under a heading in the documentation."""
        for route in (Route(group, view) for view in _declared(room)):
            self.routes.append(route)
            self.app.add_url_rule(
                route.rule, route.name, route.answer, methods=[route.operation.method]
            )


def _declared(room: object) -> Iterator[Callable[..., Awaitable[object]]]:
    """In the order in which they stand."""
    for name, function in vars(type(room)).items():
        if hasattr(function, _MARK):
            yield getattr(room, name)


def _answers(declared: object, returned: Any) -> dict[str, Any]:
    """Types by media type; none for an answer without content."""
    if isinstance(declared, Mapping):
        return dict(declared)
    kind = returned if declared is None else declared
    return {} if kind is type(None) else {JSON: kind}
