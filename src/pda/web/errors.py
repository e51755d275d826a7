"""What is said to somebody whose request cannot be served.

Owns the one exception for it; how it is shown depends on the interface that was asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec


class Mistake(msgspec.Struct, frozen=True):
    """One thing that is wrong with a request."""

    where: str
    """`query`, `path` or `body`."""
    name: str
    """The parameter, or the place in the body: `limit`, `addresses[3]`; empty for the whole."""
    detail: str
    """Why it is wrong."""


class Refused(Exception):  # noqa: N818 it says what happened
    """A request that is not served: HTTP status and a sentence for the one who asks."""

    mistakes: Sequence[Mistake] = ()

    def __init__(
        self, status: int, sentence: str, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.headers = headers


class Invalid(Refused):
    """A request that is not as its route describes it, and everything that is wrong with it."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__(400, "; ".join(map(_sentence, mistakes)))
        self.mistakes = mistakes


def _sentence(mistake: Mistake) -> str:
    name = f" {mistake.name!r}" if mistake.name else ""
    return f"{mistake.where}{name}: {mistake.detail}"
