"""Requests to every route that the served description names, and what they are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from tests.web.support import Web

STREAMS = frozenset(["GET /api/v1/stream"])
"""Routes whose answers do not end."""


@dataclass(frozen=True)
class Described:
    """A route as the served description has it."""

    method: str
    path: str
    operation: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def parameters(self) -> list[dict[str, Any]]:
        return [one for one in self.operation["parameters"] if one["in"] == "query"]

    @property
    def statuses(self) -> set[int]:
        return {int(status) for status in self.operation["responses"]}

    @property
    def takes(self) -> str | None:
        """The media type of its body."""
        body = self.operation.get("requestBody")
        return next(iter(body["content"])) if body else None

    def example_body(self) -> bytes | None:
        """As the description shows it."""
        if self.takes is None:
            return None
        example = self.operation["requestBody"]["content"][self.takes].get("example")
        return b"" if example is None else msgspec.json.encode(example)

    def url(self, path: str = "1", **query: str) -> str:
        """With every parameter of the path as given, and this query."""
        filled = self.path
        while "{" in filled:
            head, _, rest = filled.partition("{")
            filled = head + quote(path, safe="") + rest.partition("}")[2]
        return filled + (f"?{urlencode(query)}" if query else "")

    def required(self) -> dict[str, str]:
        """A usable value for each parameter that has to be given."""
        return {one["name"]: _usable(one["schema"]) for one in self.parameters if one["required"]}


def _usable(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return str(schema["enum"][0])
    return str(
        schema.get("examples", [schema.get("minimum", "1")])[0]
        if "examples" in schema
        else schema.get("minimum", 1)
    )


async def routes(app: Web, **how: Any) -> list[Described]:
    """All that is described."""
    document = msgspec.json.decode(await app.text("/openapi.json", **how))
    return list(_routes(document))


def _routes(document: dict[str, Any]) -> Iterator[Described]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield Described(method.upper(), path, operation)
