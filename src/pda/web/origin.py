"""Where a request was made: by this service's own pages, by a program, or by another site's page.

A browser adds what it knows of the user (a password, a cookie, being on this machine) to requests
that a stranger's page makes too. It also says which page made it, in headers that no script can
set: `Sec-Fetch-Site` (to https: and this machine), else `Origin` with every POST, PUT and DELETE.
Programs send neither. Owns what these headers say; knows no route.
"""

from __future__ import annotations

from typing import Final

from werkzeug.datastructures import Headers

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""They change nothing, here as everywhere (RFC 9110)."""


def same_origin(headers: Headers, host_url: str) -> bool:
    """Whether a request may change something: not one that another site made a browser send."""
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("Origin")
    return origin is None or origin == host_url.removesuffix("/")


def says_origin(headers: Headers) -> bool:
    """Whether a browser has said where it was made, as each does of what may change something."""
    return "Sec-Fetch-Site" in headers or "Origin" in headers
