"""What is said to somebody whose request cannot be served.

Owns the one exception for it; how it is shown depends on the interface that was asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType


class Refused(Exception):  # noqa: N818 it says what happened
    """A request that is not served: HTTP status and a sentence for the one who asks."""

    def __init__(
        self, status: int, sentence: str, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.headers = headers
