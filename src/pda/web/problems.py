"""The one shape of every error of `/api/v1`: problem details (RFC 9457).

Owns their members. `type` is always `about:blank`: the status says which kind it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Final

import msgspec
from msgspec import Meta
from quart import Response

from pda.web.errors import Mistake, Refused

CONTENT_TYPE: Final = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a request was not served (RFC 9457)."""

    type: Annotated[str, Meta(description="Always `about:blank`.")]
    title: Annotated[str, Meta(description="The status in words.")]
    status: Annotated[int, Meta(description="The HTTP status, again.")]
    detail: Annotated[str, Meta(description="What is wrong, and what to do, in a sentence.")]
    errors: Annotated[
        Sequence[Mistake], Meta(description="Each mistake of a request that is not as described.")
    ] = ()


def problem(refused: Refused) -> Response:
    """An error as a problem document."""
    title = HTTPStatus(refused.status).phrase
    body = Problem("about:blank", title, refused.status, refused.sentence, refused.mistakes)
    return Response(msgspec.json.encode(body), refused.status, content_type=CONTENT_TYPE)
